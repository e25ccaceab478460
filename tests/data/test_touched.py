from __future__ import annotations

import numpy as np

from fedrec.data.batches import Sampling, draw_samples
from fedrec.data.touched import find_touched
from tests.training.cohorts import random_population


def test_index_and_places() -> None:
    population = random_population((3, 8, 1), 20)
    spec = Sampling(negatives=2, pairwise=True)
    samples = draw_samples(population, np.arange(3), 0, 1, spec)
    touched = find_touched(samples, ("item", "negative"), 20)
    index = touched.index
    for c in range(3):
        mine = samples.client == c
        expected = {n for f in samples.fields.values() for n in f[mine].tolist()}
        assert index.ids[index.client == c].tolist() == sorted(expected)
        for name, column in samples.fields.items():
            place = touched.places[name][mine]
            assert (index.ids[place] == column[mine]).all()
            assert (index.client[place] == c).all()
    assert (index.num_rows, index.num_clients) == (20, 3)


def test_no_samples_no_rows() -> None:
    population = random_population((0, 0), 5)
    samples = draw_samples(population, np.arange(2), 0, 1, Sampling(negatives=2))
    touched = find_touched(samples, ("item",), 5)
    assert len(touched.index.ids) == len(touched.places["item"]) == 0
