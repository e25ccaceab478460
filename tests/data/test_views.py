"""Groups of samples whose items are seen through two masks, by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedrec.data.batches import Samples, Sampling, draw_samples, sample_counts
from fedrec.data.fixed import fixed_samples
from fedrec.data.population import Population
from fedrec.data.tiles import lay_out
from fedrec.data.views import MASKS, group_size, grouped_counts, kept_numbers
from tests.data.test_batches import everyone, populations
from tests.training.cohorts import population_of, random_population

SPEC = Sampling(negatives=4, views=True)


def drawn(population: Population, spec: Sampling = SPEC, number: int = 1) -> Samples:
    return draw_samples(population, everyone(population), 0, number, spec)


def test_sizes_by_hand() -> None:
    """Twelve interactions with four negatives each take sixty samples, two wide ones 200."""
    assert [group_size(width) for width in (1, 2, 5, 100)] == [64, 64, 60, 200]
    assert grouped_counts(np.array([0, 5, 60, 65]), 5).tolist() == [0, 60, 60, 120]


def test_a_user_fills_up_groups_of_its_own() -> None:
    population = population_of([range(13), [7]], num_items=30)
    samples = drawn(population)
    assert samples.window == 60
    assert samples.client.tolist() == [0] * 120 + [1] * 60
    assert samples.weight.tolist() == [1.0] * 65 + [0.0] * 55 + [1.0] * 5 + [0.0] * 55
    assert (samples.fields["item"][65:120] == samples.fields["item"][0]).all()
    assert len(set(samples.order.tolist())) == 3  # a group is shuffled as one


@given(populations(), st.booleans(), st.booleans())
def test_samples_are_those_without_views(
    population: Population, pairwise: bool, pooled: bool
) -> None:
    """Beside masks and filling nothing changes, and each item of a group takes part once."""
    spec = Sampling(negatives=3, pairwise=pairwise, pooled=pooled, views=True)
    plain = drawn(population, Sampling(negatives=3, pairwise=pairwise, pooled=pooled))
    samples = drawn(population, spec)
    assert np.bincount(samples.client, minlength=population.num_clients).tolist() == (
        sample_counts(population, spec).tolist()
    )
    counts = samples.weight > 0
    kept = plain.weight > 0
    for name, column in plain.fields.items():
        assert samples.fields[name][counts].tolist() == column[kept].tolist()
    told = samples.label.astype(int)
    assert (told % 2)[counts].tolist() == plain.label[kept].astype(int).tolist()
    takes = told // 2 > 0
    assert not takes[~counts].any()
    for at in range(0, len(told), samples.window):
        group = slice(at, at + samples.window)
        items = samples.fields["item"][group]
        assert sorted(items[takes[group]]) == sorted(set(items[counts[group]].tolist()))


def test_masks_are_drawn_anew_each_round_and_held_exactly() -> None:
    population = random_population((9, 3), 40)
    spec = Sampling(negatives=2, views=True, fixed=True)
    assert fixed_samples(population, 0, spec) is None
    first, second = (drawn(population, spec, number) for number in (1, 2))
    assert (first.fields["item"] == second.fields["item"]).all()
    assert (first.label != second.label).any()
    assert max(first.label.max(), second.label.max()) <= 2 * MASKS**2 + 1 < 2**24
    laid = lay_out(first, 0, 1, 32)
    assert laid.source.shape[1] == first.window  # a group is a tile, whatever the cohort


def test_kept_numbers() -> None:
    kept = kept_numbers(50, 0.3, 0)
    assert kept.shape == (MASKS, 50)
    assert set(np.unique(kept)) == {0.0, 1.0}
    assert kept.mean() == pytest.approx(0.7, abs=0.02)
    assert (kept != kept_numbers(50, 0.3, 1)).any()
