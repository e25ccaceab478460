from __future__ import annotations

import numpy as np
import pytest

from fedrec.data.batches import Sampling, draw_samples
from fedrec.training import rows
from fedrec.training.rows import RowIndex, every_row, index_rows
from tests.training.cohorts import random_population


@pytest.mark.parametrize("cells", [1 << 27, 0])
def test_index_and_positions(monkeypatch: pytest.MonkeyPatch, cells: int) -> None:
    """By a table of positions, and by search where that would be too large."""
    monkeypatch.setattr(rows, "_BITMAP_CELLS", cells)
    population = random_population((3, 8, 1), 20)
    spec = Sampling(negatives=2, pairwise=True)
    samples = draw_samples(population, np.arange(3), 0, 1, spec)
    index = index_rows(samples, ("item", "negative"), 20)
    for c in range(3):
        mine = samples.client == c
        expected = {n for f in samples.fields.values() for n in f[mine].tolist()}
        assert index.ids[index.client == c].tolist() == sorted(expected)
        ids = np.zeros((3, mine.sum()), np.int64)
        ids[:] = index.ids[index.client == 0][0]
        ids[c] = samples.fields["negative"][mine]
        position = index.local(ids)[c]
        assert (index.ids[position] == ids[c]).all()
        assert (index.client[position] == c).all()


@pytest.mark.parametrize("cells", [1 << 27, 0])
def test_padding_maps_to_a_valid_position(monkeypatch: pytest.MonkeyPatch, cells: int) -> None:
    monkeypatch.setattr(rows, "_BITMAP_CELLS", cells)
    index = RowIndex(np.array([0, 0], np.int32), np.array([4, 7]), 9, 2)
    position = index.local(np.array([[7, 4], [8, 8]]))
    assert position[0].tolist() == [1, 0]
    assert ((position >= 0) & (position < 2)).all()


def test_every_row() -> None:
    index = every_row(3, 2)
    assert index.client.tolist() == [0, 0, 0, 1, 1, 1]
    assert index.ids.tolist() == [0, 1, 2, 0, 1, 2]
