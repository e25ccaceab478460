"""A device's user as the only client of a population, and copies of one with less."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fedrec.data.batches import Samples
from fedrec.data.interactions import Catalogue, Dataset, Interactions, Split
from fedrec.data.population import HeldOut, Population
from fedrec.serving.past import Past


def copies(samples: Samples, left_out: NDArray[np.int64], width: int) -> Samples:
    """Return the samples of one client for m: each without an item.

    Args:
        samples: `width` for each item of the history, in its order.
        left_out: int64 [m], places in the history.
        width: samples of an item.
    """
    number, size = len(left_out), len(samples.client)
    weight = np.tile(samples.weight, (number, 1))
    for row, at in enumerate(left_out):
        weight[row, at * width : (at + 1) * width] = 0.0  # weightless samples teach nothing
    return Samples(
        np.repeat(np.arange(number), size),
        {n: np.tile(v, number) for n, v in samples.fields.items()},
        np.tile(samples.label, number),
        weight.ravel(),
        np.tile(samples.order, number),
        number,
    )


def lone_population(past: Past, num_items: int) -> Population:
    """Return a population of one client with a past, and nothing held out."""
    size, nothing = len(past), np.zeros(0, np.int64)
    none = HeldOut(
        nothing,
        np.zeros(1, np.int64),
        np.zeros(0, np.int32),
        np.zeros(0, np.float32),
        np.zeros(2, np.int64),
        np.zeros(0, np.int32),
    )
    rows = Interactions(np.zeros(size, np.int32), past.items.astype(np.int32))
    user = Catalogue(np.array(["user"], dtype=object))
    dataset = Dataset("device", rows, Catalogue(np.zeros(0, object)), user)  # nobody asks
    return Population(
        num_items=num_items,
        num_users=1,
        num_clients=1,
        indptr=np.array([0, size], np.int64),
        items=past.items.astype(np.int32),
        labels=past.labels,
        client_of_user=np.zeros(1, np.int64),
        valid=none,
        test=none,
        split=Split(dataset, np.arange(size), nothing, nothing, "device", ""),
        levels=past.levels,
    )
