"""The words for parameters and updates, and the one operation on them: a sum.

Axes, everywhere and in this order: C clients, S local steps, B batch, I items,
R touched rows, d embedding size.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Arrays = Mapping[str, NDArray]


@dataclass(frozen=True, eq=False)
class Shared:
    """What the server owns.

    Attributes:
        tables: name -> float32 [I, d], row-sparse: a client touches some rows.
        weights: name -> float32, any shape: a client touches all of them.
        fixed: name -> float32 [I, d], tables that clients read and never change; the
            server alone may, between rounds.
    """

    tables: dict[str, Array]
    weights: dict[str, Array] = field(default_factory=dict)
    fixed: dict[str, Array] = field(default_factory=dict)

    @property
    def num_bytes(self) -> int:
        """Bytes of all parameters, as a download would carry them."""
        groups = (self.tables, self.weights, self.fixed)
        return sum(a.nbytes for group in groups for a in group.values())

    def copy(self) -> Shared:
        """Return the same values in arrays of their own."""
        groups = (self.tables, self.weights, self.fixed)
        return Shared(*({name: value.copy() for name, value in g.items()} for g in groups))


@dataclass(frozen=True, eq=False)
class Personal:
    """What never leaves a client, stacked over the clients of a node.

    Attributes:
        values: name -> float32 [C, ...].
    """

    values: dict[str, Array]

    def take(self, index: NDArray[np.int64]) -> Personal:
        """Return the rows `index` (int64 [C']) of every value."""
        return Personal({name: value[index] for name, value in self.values.items()})


@dataclass(frozen=True, eq=False)
class SparseRows:
    """Some rows of a table.

    Attributes:
        ids: int64 [R], strictly increasing row numbers.
        rows: float [R, d].
    """

    ids: NDArray[np.int64]
    rows: NDArray

    def dense(self, num_rows: int) -> NDArray:
        """Return a [num_rows, d] array with zeros in the rows that are absent."""
        out = np.zeros((num_rows, *self.rows.shape[1:]), self.rows.dtype)
        out[self.ids] = self.rows
        return out

    def __add__(self, other: SparseRows) -> SparseRows:
        ids, where = np.unique(np.concatenate([self.ids, other.ids]), return_inverse=True)
        rows = np.zeros((len(ids), *self.rows.shape[1:]), np.result_type(self.rows, other.rows))
        split = len(self.ids)  # ids are unique within each operand, so plain += is a scatter
        rows[where[:split]] += self.rows
        rows[where[split:]] += other.rows
        return SparseRows(ids, rows)


@dataclass(frozen=True, eq=False)
class PartialSum:
    """The sum of the weighted updates of some clients.

    Averaging is a fold of `+` over partial sums, so that all that happens after
    a node needs only the sum and works unchanged under secure aggregation.

    Attributes:
        tables: name -> weighted sum of row deltas, float64.
        row_weight: name -> float64 [R], for each row of `tables[name]` the sum
            of the weights of the clients that touched it.
        weights: name -> float64, weighted sum of dense deltas.
        weight: sum of the clients' weights.
        num_clients: number of clients in the sum.
        metrics: name -> plain sums over clients (loss, samples, ...).
    """

    tables: dict[str, SparseRows]
    row_weight: dict[str, NDArray[np.float64]]
    weights: dict[str, NDArray]
    weight: float
    num_clients: int
    metrics: dict[str, float] = field(default_factory=dict)

    def __add__(self, other: PartialSum) -> PartialSum:
        tables, row_weight = {}, {}
        for name, mine in self.tables.items():
            theirs = other.tables[name]
            tables[name] = mine + theirs
            weight = SparseRows(mine.ids, self.row_weight[name]) + SparseRows(
                theirs.ids, other.row_weight[name]
            )
            row_weight[name] = weight.rows
        metrics = dict(self.metrics)
        for name, value in other.metrics.items():
            metrics[name] = metrics.get(name, 0.0) + value
        return PartialSum(
            tables,
            row_weight,
            {name: value + other.weights[name] for name, value in self.weights.items()},
            self.weight + other.weight,
            self.num_clients + other.num_clients,
            metrics,
        )
