"""Updates of a cohort that are made up, not trained."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fedrec.params import Personal
from fedrec.training.cohort import CohortUpdate
from fedrec.training.rows import RowIndex

NUM_ROWS = 7


def update_of(
    touched: list[list[int]],
    *,
    rows: NDArray | None = None,
    weights: NDArray | None = None,
    seed: int = 0,
) -> CohortUpdate:
    """Clients that touch these rows of `item` [7, 2] and `item_bias` [7, 1], and a weight [3]."""
    generator = np.random.default_rng(seed)
    client = np.repeat(np.arange(len(touched)), [len(t) for t in touched]).astype(np.int32)
    ids = np.array([item for items in touched for item in items], np.int64)
    index = RowIndex(client, ids, NUM_ROWS, len(touched))
    if rows is None:
        rows = generator.normal(size=(len(ids), 3))
    if weights is None:
        weights = generator.normal(size=(len(touched), 3))
    rows, weights = np.asarray(rows, np.float32), np.asarray(weights, np.float32)
    return CohortUpdate(
        {"item": rows[:, :2], "item_bias": rows[:, 2:]},
        {"item": index, "item_bias": index},
        {"w": weights},
        Personal({}),
        np.ones(len(touched)),
        np.zeros(len(touched)),
        (0, {}),
    )


def vectors(update: CohortUpdate) -> NDArray[np.float64]:
    """Each client's whole update as one vector, float64 [C, ...]."""
    count = len(update.samples)
    parts = [value.reshape(count, -1).astype(np.float64) for value in update.weights.values()]
    for table, rows in update.rows.items():
        index = update.index[table]
        dense = np.zeros((count, index.num_rows, rows.shape[1]))
        dense[index.client, index.ids] = rows
        parts.append(dense.reshape(count, -1))
    return np.concatenate(parts, 1)
