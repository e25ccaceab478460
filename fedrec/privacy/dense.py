"""Sums of a round as dense arrays, on every entry of which noise is laid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from fedrec.params import PartialSum, Shared, SparseRows
from fedrec.privacy.noise import derive, gaussian

WITHIN = "within_clip"
"""Metric of a partial sum: how many clients' norms were within the bound."""


def released(total: PartialSum, clip: float) -> list[NDArray]:
    """Return what a release follows from: a dense sum, its counts, the clip norm."""
    arrays = [*(t.rows for t in total.tables.values()), *total.weights.values()]
    count = np.array([total.metrics.get(WITHIN, 0.0), total.num_clients, clip])
    return [*arrays, count]


def nothing(shared: Shared) -> PartialSum:
    """Return the sum over no clients."""
    none = np.zeros(0, np.int64)
    tables = {t: SparseRows(none, np.zeros((0, *v.shape[1:]))) for t, v in shared.tables.items()}
    weights: dict[str, NDArray] = {n: np.zeros(v.shape) for n, v in shared.weights.items()}
    return PartialSum(tables, {t: np.zeros(0) for t in tables}, weights, 0.0, 0)


def dense(total: PartialSum, shared: Shared) -> PartialSum:
    """Return a copy of the sum that holds every row, float64."""
    tables, row_weight = {}, {}
    for name, table in shared.tables.items():
        mine, every = total.tables[name], np.arange(len(table), dtype=np.int64)
        tables[name] = SparseRows(every, mine.dense(len(table)).astype(np.float64))
        row_weight[name] = np.full(len(table), total.weight)
    weights: dict[str, NDArray] = {n: v.astype(np.float64) for n, v in total.weights.items()}
    return replace(total, tables=tables, row_weight=row_weight, weights=weights)


def add_noise(total: PartialSum, key: bytes, scale: float) -> None:
    """Add Gaussian noise in place to every entry of a dense sum."""
    parts: Sequence[tuple[str, NDArray]] = [
        *((f"table {name}", table.rows) for name, table in total.tables.items()),
        *((f"weight {name}", value) for name, value in total.weights.items()),
    ]
    for name, array in parts:
        array += scale * gaussian(derive(key, name), array.shape)
