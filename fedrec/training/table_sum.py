"""The weighted sum of row changes over clients, never written out for each client."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csc_matrix, csr_matrix

from fedrec.params import SparseRows
from fedrec.training.rows import FactoredRows, Factors, RowIndex
from fedrec.training.statistics import SparseChanges, add_sparse

_HELD = 1 << 23  # samples whose factors are held before they are multiplied out
_PER_SAMPLE = 8  # elements of vectors that count as much as a sample


@runtime_checkable
class Summed(Protocol):
    """Changes of C clients that know their weighted sum without each client's own."""

    def summed(self, name: str, weight: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the sum over clients, times their weights (float64 [C]): of a whole table
        [I, d], or of a dense weight [...].
        """
        ...

    def num_bytes(self, name: str) -> int:
        """Return the bytes of all clients' changes, written out in float32."""
        ...


def summed_weight(
    changes: Mapping[str, NDArray], name: str, weight: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the weighted sum of the changes [C, ...] of a dense weight, float64 [...].

    Args:
        changes: name -> float32 [C, ...].
        name: of the weight.
        weight: float64 [C].
    """
    if isinstance(changes, Summed):
        return changes.summed(name, weight)
    total: NDArray[np.float64] = np.tensordot(weight, changes[name].astype(np.float64), 1)
    return total


class TableSum:
    """The weighted sum of the row changes of one table, as far as it has come.

    Args:
        num_rows: of the table.
        width: of a row.
    """

    def __init__(self, num_rows: int, width: int) -> None:
        self._width = width
        self._weight = np.zeros(num_rows)
        self._touched = np.zeros(num_rows, bool)
        self._dense: NDArray[np.float64] | None = None
        self._parts: list[tuple[NDArray[np.int64], NDArray[np.float64], Factors]] = []
        self._held = 0

    def add(
        self,
        rows: Mapping[str, NDArray],
        table: str,
        index: RowIndex,
        weight: NDArray[np.float64],
    ) -> None:
        """Add the changes of C clients, times their weights.

        Args:
            rows: table name -> changes [T, d].
            table: which of them.
            index: which client and row each change belongs to.
            weight: float64 [C].
        """
        of_row = weight[index.client]
        self._weight += np.bincount(index.ids, of_row, index.num_rows)
        self._touched[index.ids] = True
        if isinstance(rows, Summed):
            self._add_dense(rows.summed(table, weight))
            return
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

    def whole(self) -> NDArray[np.float64]:
        """Return the sum of all rows, float64 [I, d]."""
        rows, _ = self.take()
        total: NDArray[np.float64] = rows.dense(len(self._weight))
        return total

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
