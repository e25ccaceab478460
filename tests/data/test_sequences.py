"""Windows of sequences by hand; nothing but earlier training items enters them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedrec.data.batches import Samples, Sampling, draw_negatives, draw_samples, sample_counts
from fedrec.data.fixed import fixed_samples
from fedrec.data.population import Population
from fedrec.data.sequences import negative_fields, window_counts
from fedrec.data.tiles import lay_out
from tests.data.test_batches import columns, everyone, other_held_out, populations
from tests.training.cohorts import population_of, random_population

SPEC = Sampling(negatives=2, window=2)


def drawn(population: Population, spec: Sampling = SPEC, number: int = 1) -> Samples:
    return draw_samples(population, everyone(population), 0, number, spec)


def test_windows_by_hand() -> None:
    """Three pairs in windows of two: the first is padded in front, the last ends with 1."""
    population = population_of([[5, 3, 8, 1], [7], [2, 6]], num_items=9)
    samples = drawn(population)
    assert samples.client.tolist() == [0, 0, 0, 0, 2, 2]
    assert samples.fields["input"].tolist() == [5, 5, 3, 8, 2, 2]
    assert samples.fields["item"].tolist() == [3, 3, 8, 1, 6, 6]
    assert samples.weight.tolist() == [0, 1, 1, 1, 0, 1]
    assert samples.window == 2
    assert samples.num_clients == 3


@given(st.integers(1, 9), st.integers(1, 4))
def test_a_target_is_one_of_the_next_items(size: int, ahead: int) -> None:
    """Items are numbered in the order of time."""
    population = population_of([range(size)], num_items=20)
    spec, seen = Sampling(negatives=1, window=3, ahead=ahead), set()
    for number in range(40):
        samples = drawn(population, spec, number)
        places = np.flatnonzero(samples.weight)
        assert samples.fields["input"][places].tolist() == list(range(size - 1))
        step = samples.fields["item"][places] - samples.fields["input"][places]
        left = size - 1 - samples.fields["input"][places]
        assert ((step >= 1) & (step <= np.minimum(ahead, left))).all()
        seen |= set(step.tolist())
    assert seen == set(range(1, min(ahead, size - 1) + 1))


def test_counts_by_hand() -> None:
    assert window_counts(np.array([0, 1, 2, 5, 6]), 4).tolist() == [0, 0, 1, 1, 2]


def test_negatives_are_those_drawn_for_the_target() -> None:
    population = random_population((6, 1, 4), 20)
    samples = drawn(population)
    negatives, _ = draw_negatives(population, everyone(population), 0, 1, SPEC)
    starts = population.indptr
    for n in np.flatnonzero(samples.weight):
        user, item = samples.client[n], samples.fields["item"][n]
        at = starts[user] + population.items[starts[user] : starts[user + 1]].tolist().index(item)
        assert [samples.fields[f][n] for f in negative_fields(2)] == negatives[at].tolist()


@given(populations(), st.integers(2, 5), st.booleans())
def test_every_item_after_the_first_is_a_target_once(
    population: Population, window: int, pooled: bool
) -> None:
    spec = Sampling(negatives=1, window=window, pooled=pooled)
    samples = drawn(population, spec)
    assert np.bincount(samples.client, minlength=population.num_clients).tolist() == (
        sample_counts(population, spec).tolist()
    )
    for user in range(population.num_users):
        items = population.items[population.indptr[user] : population.indptr[user + 1]].tolist()
        full = len(items) == population.num_items  # no negative is left, so no place counts
        mine = (samples.client == user) & (samples.weight > 0)
        pairs = zip(samples.fields["input"][mine], samples.fields["item"][mine], strict=True)
        assert list(pairs) == ([] if full else list(zip(items, items[1:], strict=False)))
        assert not np.isin(samples.fields["negative_0"][mine], items).any()
        padding = (samples.client == user) & (samples.weight == 0)
        assert np.isin(samples.fields["input"][padding], items).all()  # touches no further row


@given(populations(), st.integers(0, 2**31), st.integers(2, 5))
def test_held_out_items_change_no_window(population: Population, seed: int, window: int) -> None:
    spec = Sampling(negatives=2, window=window, ahead=1 + seed % 3)
    other = other_held_out(population, np.random.default_rng(seed))
    ours, theirs = drawn(population, spec), drawn(other, spec)
    assert columns(ours) == columns(theirs)
    assert (lay_out(ours, 4, 2, 3).source == lay_out(theirs, 4, 2, 3).source).all()


@given(st.lists(st.integers(0, 20), min_size=1, max_size=5), st.integers(0, 9), st.integers(1, 3))
def test_tiles_are_whole_windows_in_order(sizes: list[int], batch: int, epochs: int) -> None:
    """Each window is seen once in an epoch, and its places stand as they were."""
    samples = drawn(random_population(sizes, 30), Sampling(negatives=1, window=3))
    laid = lay_out(samples, batch, epochs, 32)
    if not len(laid.batch):
        assert not samples.weight.any()
        return
    real = laid.weight.any(1)
    assert laid.source.shape[1] == 3
    first = laid.source[real, 0]
    assert (laid.source[real] == first[:, None] + np.arange(3)).all()
    assert (first % 3 == 0).all()
    number = len(samples.client) // 3
    assert (np.bincount(first // 3, minlength=number) == epochs).all()
    most = max(1, -(-batch // 3)) if batch else number
    assert np.bincount(laid.batch[real]).max() <= most


def test_windows_are_shuffled_anew_in_each_epoch_and_round() -> None:
    population = random_population((40,), 60)
    spec = Sampling(negatives=1, window=2)
    orders = []
    for number in (1, 2):
        laid = lay_out(drawn(population, spec, number), 2, 2, 32)
        orders += np.split(laid.source[:, 0], 2)
    assert len({tuple(order) for order in orders}) == 4


def test_users_of_a_merchant_keep_windows_of_their_own() -> None:
    population = population_of([[0, 1, 2], [3, 4, 5], [6, 7]], num_items=9, clients=[1, 0, 1])
    samples = drawn(population, replace(SPEC, pooled=True))
    assert samples.client.tolist() == [0, 0, 1, 1, 1, 1]
    assert samples.fields["user"].tolist() == [1, 1, 0, 0, 2, 2]
    assert samples.fields["input"].tolist() == [3, 4, 0, 1, 6, 6]


@pytest.mark.parametrize("fixed", [True, False])
def test_negatives_drawn_once_stay(fixed: bool) -> None:
    population = random_population((9, 5), 40)
    spec = replace(SPEC, fixed=fixed)
    assert fixed_samples(population, 0, spec) is None
    one, two = drawn(population, spec, 1), drawn(population, spec, 2)
    assert (one.fields["negative_0"] == two.fields["negative_0"]).all() == fixed
    assert (one.order != two.order).any()


def test_views_are_masked_by_their_address() -> None:
    population = random_population((40,) * 60, 200)
    spec = replace(SPEC, window=10, mask=0.3)
    plain, first, again = drawn(population), drawn(population, spec), drawn(population, spec)
    assert (plain.label == 1).all()
    assert np.array_equal(first.label, again.label)
    assert (first.label != drawn(population, spec, 2).label).mean() > 0.3
    masked = first.label[first.weight > 0].astype(int) - 1
    for view in (masked % 2, masked // 2):
        assert view.mean() == pytest.approx(0.3, abs=0.04)  # 4 standard errors of 2,340
    assert (masked == 3).mean() == pytest.approx(0.09, abs=0.025)  # views are independent
    whole = everyone(population)
    part = draw_samples(population, whole[20:], 0, 1, spec)  # of whom it is with is no matter
    assert np.array_equal(part.label, first.label[first.client >= 20])
