"""Which samples read and write a client's own changes of its rows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedrec.data.batches import Sampling, draw_samples
from fedrec.data.tiles import Tiles, lay_out
from fedrec.data.touched import RowIndex, Touched, find_touched
from fedrec.training.rows import FactoredRows, Factors, Traffic, every_row, plan_traffic
from tests.training.cohorts import random_population

POPULATION = random_population((3, 8, 1, 6), 9)
SPEC = Sampling(negatives=2, pairwise=True)


def laid_out(batch: int, epochs: int) -> tuple[Tiles, Touched]:
    samples = draw_samples(POPULATION, np.arange(4), 0, 1, SPEC)
    return lay_out(samples, batch, epochs, 3), find_touched(samples, ("item", "negative"), 9)


def listed(tiles: Tiles, visits: dict, name: str) -> list[list[tuple[int, int]]]:
    """(cell of the whole, slot) of each step."""
    one, width = visits[name], tiles.source.shape[1]
    return [
        [(int(c) + int(tiles.tile_start[s]) * width, int(k)) for c, k in
         zip(one.cell[a:b], one.slot[a:b], strict=True)]
        for s, (a, b) in enumerate(zip(one.start, one.start[1:], strict=False))
    ]  # fmt: skip


@given(st.integers(1, 9), st.integers(1, 3))
def test_a_row_is_read_once_an_earlier_step_has_touched_it(batch: int, epochs: int) -> None:
    """By replaying the steps; sparing keeps what a later step reads, and no more."""
    tiles, touched = laid_out(batch, epochs)
    all_, spare = (
        plan_traffic(tiles, touched, again=False, moving=True, changed=False, sparing=s)
        for s in (False, True)
    )
    place = {n: p[tiles.source].ravel() for n, p in touched.places.items()}
    real, step = tiles.weight.ravel() > 0, np.repeat(tiles.tile_step, tiles.source.shape[1])
    visits = {(t, s) for p in place.values() for t, s in zip(p[real], step[real], strict=True)}
    slot_of: dict[int, int] = {}
    for name, p in place.items():
        for s in range(tiles.num_steps):
            cells = np.flatnonzero(real & (step == s)).tolist()
            early = [c for c in cells if any((p[c], e) in visits for e in range(s))]
            late = [
                c for c in cells if any((p[c], e) in visits for e in range(s + 1, tiles.num_steps))
            ]
            assert listed(tiles, all_.reads, name)[s] == [(c, p[c]) for c in early]
            assert listed(tiles, all_.writes, name)[s] == [(c, p[c]) for c in cells]
            for found, expected in ((spare.reads, early), (spare.writes, late)):
                told = listed(tiles, found, name)[s]
                assert [c for c, _ in told] == expected
                for c, slot in told:
                    assert slot_of.setdefault(int(p[c]), slot) == slot
    assert all_.num_slots == len(touched.index.ids)
    assert sorted(slot_of.values()) == list(range(spare.num_slots))


def counts(traffic: Traffic) -> tuple[int, int]:
    return (
        sum(len(v.cell) for v in traffic.reads.values()),
        sum(len(v.cell) for v in traffic.writes.values()),
    )


def test_repeated_steps_and_rows_changed_before_are_always_read() -> None:
    tiles, touched = laid_out(0, 1)
    samples = 2 * int(np.count_nonzero(tiles.weight))  # two columns
    plan = {"again": False, "moving": True, "changed": False, "sparing": False}
    for keys, expected in (
        ({}, (0, samples)),
        ({"sparing": True}, (0, 0)),
        ({"again": True}, (samples, samples)),
        ({"changed": True}, (samples, samples)),
        ({"changed": True, "moving": False}, (samples, 0)),
        ({"again": True, "moving": False}, (0, 0)),
    ):
        assert counts(plan_traffic(tiles, touched, **{**plan, **keys})) == expected


def test_factors_written_out_by_hand() -> None:
    """Rows 0 and 2 of the index; the first gets two samples of different batches."""
    index = {"item": RowIndex(np.array([0, 0, 1], np.int32), np.array([3, 5, 3]), 9, 2)}
    one = Factors(
        np.array([0, 0, 2]),
        np.array([0, 1, 1]),
        np.array([2.0, 3.0, -1.0], np.float32),
        np.array([0, 1], np.int32),
        np.array([[1.0, 0.0], [0.5, 4.0]], np.float32),
    )
    rows = FactoredRows({"item": [one]}, index)
    assert rows["item"].tolist() == [[3.5, 12.0], [0.0, 0.0], [-0.5, -4.0]]
    assert rows["item"] is rows["item"]
    assert (list(rows), len(rows), rows.num_bytes("item")) == (["item"], 1, 4 * 2 * 3)
    twice = FactoredRows({"item": [one, one]}, index)
    assert (twice["item"] == 2 * rows["item"]).all()
    with pytest.raises(KeyError):
        rows["bias"]


def test_every_row() -> None:
    index = every_row(3, 2)
    assert index.client.tolist() == [0, 0, 0, 1, 1, 1]
    assert index.ids.tolist() == [0, 1, 2, 0, 1, 2]
