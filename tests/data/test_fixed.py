"""Fixed samples: the same in every round, kept or drawn again."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedrec.data import fixed
from fedrec.data.batches import Samples, Sampling, draw_samples, make_samples
from fedrec.data.fixed import fixed_samples
from fedrec.data.touched import find_touched
from tests.training.cohorts import random_population

SIZES = (3, 12, 0, 1, 7, 5)
POPULATION = random_population(SIZES, 12)
"""The second user has every item, so nothing can be drawn for it."""
SPECS = (
    Sampling(negatives=3, fixed=True),
    Sampling(negatives=2, pairwise=True, fixed=True),
    Sampling(negatives=0, fixed=True),
)


def same(ours: Samples, theirs: Samples) -> bool:
    columns = ((getattr(ours, n), getattr(theirs, n)) for n in ("client", "label", "weight"))
    fields = ((ours.fields[n], value) for n, value in theirs.fields.items())
    pairs = [*columns, *fields, (ours.order, theirs.order)]
    return ours.fields.keys() == theirs.fields.keys() and all(
        a.tolist() == b.tolist() for a, b in pairs
    )


@pytest.mark.parametrize("spec", SPECS)
@given(st.sets(st.integers(0, len(SIZES) - 1), min_size=1), st.integers(1, 5))
def test_what_is_kept_is_what_would_be_drawn(spec: Sampling, chosen: set[int], number: int) -> None:
    clients = np.array(sorted(chosen))
    kept = draw_samples(POPULATION, clients, 4, number, spec)
    drawn = make_samples(POPULATION, clients, 4, number, spec)
    assert kept.touched is not None
    assert drawn.touched is None
    assert same(kept, drawn)
    found = find_touched(drawn, tuple(sorted(drawn.fields)), POPULATION.num_items)
    for name in ("client", "ids"):
        ours, theirs = getattr(kept.touched.index, name), getattr(found.index, name)
        assert ours.tolist() == theirs.tolist()
    for name, place in found.places.items():
        assert kept.touched.places[name].tolist() == place.tolist()


def test_it_does_not_depend_on_how_they_are_drawn_in_chunks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clients = np.arange(len(SIZES))
    whole = draw_samples(POPULATION, clients, 9, 1, SPECS[0])
    fixed._build.cache_clear()
    monkeypatch.setattr(fixed, "_CHUNK", 5)
    assert same(draw_samples(POPULATION, clients, 9, 1, SPECS[0]), whole)
    fixed._build.cache_clear()


def test_negatives_stay_and_their_order_does_not() -> None:
    population, client = random_population((30,), 400), np.array([0])
    first, second = (draw_samples(population, client, 0, n, SPECS[0]) for n in (1, 2))
    assert (first.fields["item"] == second.fields["item"]).all()
    assert (first.order != second.order).all()
    anew = [draw_samples(population, client, 0, n, Sampling(negatives=3)) for n in (1, 2)]
    assert (anew[0].fields["item"] != anew[1].fields["item"]).mean() > 0.5


def test_large_populations_and_other_samples_are_not_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert fixed_samples(POPULATION, 0, Sampling(negatives=3)) is None
    assert fixed_samples(POPULATION, 0, Sampling(negatives=3, pooled=True, fixed=True)) is None
    shops = random_population((3, 4, 5), 12, clients=[0, 1, 0])
    assert fixed_samples(shops, 0, SPECS[0]) is None
    monkeypatch.setattr(fixed, "LARGEST", 3)
    assert fixed_samples(POPULATION, 0, SPECS[0]) is None
    clients = np.arange(len(SIZES))
    assert draw_samples(POPULATION, clients, 0, 1, SPECS[0]).touched is None
