"""From the updates of a cohort to one partial sum."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csc_matrix, csr_matrix

from fedrec.config import Config
from fedrec.params import PartialSum, Shared, SparseRows
from fedrec.training.cohort import CohortUpdate
from fedrec.training.rows import FactoredRows, Factors, RowIndex
from fedrec.training.statistics import SparseChanges, add_sparse

ROW_ID_BYTES = 4
_HELD = 1 << 23  # samples whose factors are held before they are multiplied out
_PER_SAMPLE = 8  # elements of vectors that count as much as a sample
_NO_METRICS = {"loss": 0.0, "samples": 0.0, "bytes_up": 0.0}


def weight_exponent(config: Config) -> float:
    """Return the power of a client's samples that is its weight: 0 where all count alike."""
    return config.server.weight_power if config.server.weighting == "samples" else 0.0


def client_weights(update: CohortUpdate, exponent: float) -> NDArray[np.float64]:
    """Return each client's weight in the mean, float64 [C]: its samples to a power.

    Args:
        update: of C clients.
        exponent: 1: their samples; 0: all alike; between, large clients count more than small
            ones, and less than their samples would have it.
    """
    return np.power(update.samples, exponent)


def bytes_up(update: CohortUpdate) -> float:
    """Bytes that the C clients would send: row ids (4 bytes), float32 rows and weights.

    A compressed update says so itself.
    """
    if update.sent is not None:
        return float(update.sent.sum())
    total = sum(v.nbytes for v in update.weights.values())
    rows = update.rows
    for table, index in update.index.items():
        total += rows.num_bytes(table) if isinstance(rows, FactoredRows) else rows[table].nbytes
        total += len(index.ids) * ROW_ID_BYTES if table == _first_table(update, table) else 0
    return float(total)


def _first_table(update: CohortUpdate, table: str) -> str:
    """Tables over the same ids share one list of ids on the wire."""
    return next(t for t, index in update.index.items() if index is update.index[table])


class _TableSum:
    """The weighted sum of the row changes of one table, as far as it has come."""

    def __init__(self, num_rows: int, width: int) -> None:
        self._width = width
        self._weight = np.zeros(num_rows)
        self._touched = np.zeros(num_rows, bool)
        self._dense: NDArray[np.float64] | None = None
        self._parts: list[tuple[NDArray[np.int64], NDArray[np.float64], Factors]] = []
        self._held = 0

    def add(self, update: CohortUpdate, table: str, weight: NDArray[np.float64]) -> None:
        """Add the changes of C clients, times their weights (float64 [C])."""
        index, rows = update.index[table], update.rows
        of_row = weight[index.client]
        self._weight += np.bincount(index.ids, of_row, index.num_rows)
        self._touched[index.ids] = True
        if isinstance(rows, SparseChanges):
            self._add_sparse(index, rows.sparse[table], of_row)
            return
        if not isinstance(rows, FactoredRows):
            shape = (index.num_rows, len(index.ids))
            scatter = csr_matrix((of_row, (index.ids, np.arange(len(index.ids)))), shape)
            self._add_dense(scatter @ rows[table])
            return
        for one in rows.factors[table]:
            self._parts.append((index.ids[one.place], weight, one))
            self._held += len(one.place) + one.vector.size // _PER_SAMPLE
        if self._held > _HELD:
            everything = np.arange(len(self._weight))
            self._add_dense(self._product(everything, len(everything)))

    def take(self) -> tuple[SparseRows, NDArray[np.float64]]:
        """Return the sum of the touched rows, and their weights."""
        ids = np.flatnonzero(self._touched)
        place = np.cumsum(self._touched) - 1
        rows = self._product(place, len(ids)) if self._parts else None
        if self._dense is not None:
            before = self._dense[ids]
            rows = before if rows is None else rows + before
        if rows is None:
            rows = np.zeros((0, self._width))
        return SparseRows(ids, rows), self._weight[ids]

    def _add_sparse(self, index: RowIndex, rows: csr_matrix, of_row: NDArray[np.float64]) -> None:
        shape = (index.num_rows, len(index.ids))
        scatter = csr_matrix((of_row, (index.ids, np.arange(len(index.ids)))), shape)
        if self._dense is None:
            self._dense = np.zeros((index.num_rows, self._width))
        add_sparse(self._dense, scatter @ rows)

    def _add_dense(self, rows: NDArray[np.float64]) -> None:
        self._dense = rows if self._dense is None else self._dense + rows

    def _product(self, place: NDArray[np.int64], num_rows: int) -> NDArray[np.float64]:
        """Multiply the numbers of all samples with the vectors of their batches."""
        counts = [np.bincount(one.batch, minlength=len(one.client)) for *_, one in self._parts]
        numbers = [
            one.coefficient * weight[one.client[one.batch]] for _, weight, one in self._parts
        ]
        rows = place[np.concatenate([ids for ids, *_ in self._parts])]
        start = np.concatenate([[0], np.cumsum(np.concatenate(counts))])
        vectors = np.concatenate([one.vector for *_, one in self._parts], dtype=np.float64)
        self._parts, self._held = [], 0
        by_batch = csc_matrix((np.concatenate(numbers), rows, start), (num_rows, len(start) - 1))
        product: NDArray[np.float64] = by_batch.tocsr() @ vectors
        return product


def partial_sum(updates: Iterable[CohortUpdate], shared: Shared, exponent: float) -> PartialSum:
    """Sum the weighted updates of all clients of some cohorts.

    Sums are kept in float64, so that they do not depend on how clients are spread.

    Args:
        updates: cohort updates, consumed one at a time.
        shared: the shared parameters, for their shapes.
        exponent: of their samples, in the weights of clients.

    Returns:
        The partial sum; an empty one if there is no update.
    """
    tables = {t: _TableSum(*v.shape) for t, v in shared.tables.items()}
    weights = {n: np.zeros(v.shape) for n, v in shared.weights.items()}
    metrics: dict[str, float] = {}
    total, clients = 0.0, 0
    for update in updates:
        weight = client_weights(update, exponent)
        for name, table in tables.items():
            table.add(update, name, weight)
        for name in weights:
            weights[name] += np.tensordot(weight, update.weights[name].astype(np.float64), 1)
        total += float(weight.sum())
        clients += len(weight)
        add_metrics(metrics, update, weight)
    sums = {t: table.take() for t, table in tables.items()}
    return PartialSum(
        {t: rows for t, (rows, _) in sums.items()},
        {t: weight for t, (_, weight) in sums.items()},
        weights,
        total,
        clients,
        {**_NO_METRICS, **metrics},
    )


def add_metrics(
    metrics: dict[str, float], update: CohortUpdate, weight: NDArray[np.float64]
) -> None:
    """Add the numbers of C clients to sums over clients, in place.

    Args:
        metrics: "loss" (weighted), "samples", "bytes_up" and whatever else clients count.
        update: of C clients.
        weight: float64 [C], weight of each client in the mean.
    """
    told = {
        "loss": float(weight @ update.loss),
        "samples": float(update.samples.sum()),
        "bytes_up": bytes_up(update),
        **{name: float(value.sum()) for name, value in update.metrics.items()},
    }
    for name, value in told.items():
        metrics[name] = metrics.get(name, 0.0) + value
