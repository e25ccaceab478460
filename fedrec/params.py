"""The words for parameters and updates, and the one operation on them: a sum.

Axes, everywhere and in this order: C clients, S local steps, B batch, I items,
R touched rows, d embedding size.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fedrec.errors import ConfigError

Array = NDArray[np.float32]
Arrays = Mapping[str, NDArray]

_OWN = "client/"


@dataclass(frozen=True, eq=False)
class Guides:
    """Rows that the server made for single clients; each client is sent its own alone.

    Attributes:
        clients: int64 [C], ascending.
        client: int64 [T], position of the client of each row, ascending.
        ids: int64 [T], row of the tables, ascending within a client.
        rows: table name -> float32 [T, d].
    """

    clients: NDArray[np.int64]
    client: NDArray[np.int64]
    ids: NDArray[np.int64]
    rows: dict[str, Array]

    @property
    def num_bytes(self) -> int:
        """Bytes of all rows and their ids (4 bytes each)."""
        return sum(a.nbytes for a in self.rows.values()) + 4 * len(self.ids)

    def take(self, clients: NDArray[np.int64]) -> Guides:
        """Return the rows of some clients (int64, ascending), who may have none."""
        place = np.searchsorted(clients, self.clients)
        known = np.zeros(len(self.clients), bool)
        known[place < len(clients)] = True
        known[known] = clients[place[known]] == self.clients[known]
        kept = known[self.client]
        rows = {name: value[kept] for name, value in self.rows.items()}
        return Guides(clients, place[self.client[kept]], self.ids[kept], rows)

    def updated(self, new: Guides) -> Guides:
        """Return these rows, with all rows of the clients of `new` replaced by its own."""
        clients = np.union1d(self.clients, new.clients)
        old = self.take(np.setdiff1d(self.clients, new.clients, assume_unique=True))
        parts = [np.searchsorted(clients, g.clients)[g.client] for g in (old, new)]
        owner = np.concatenate(parts)
        order = np.argsort(owner, kind="stable")
        rows = {n: np.concatenate([old.rows[n], v])[order] for n, v in new.rows.items()}
        return Guides(clients, owner[order], np.concatenate([old.ids, new.ids])[order], rows)

    def arrays(self) -> dict[str, NDArray]:
        """Return everything as named arrays, for messages and files."""
        lengths = np.bincount(self.client, minlength=len(self.clients)).astype(np.int64)
        named = {"clients": self.clients, "lengths": lengths, "ids": self.ids}
        return named | {f"rows.{name}": value for name, value in self.rows.items()}

    @staticmethod
    def from_arrays(arrays: Arrays) -> Guides:
        """Rebuild what `arrays` returned."""
        clients, lengths = arrays["clients"].astype(np.int64), arrays["lengths"]
        rows = {n.removeprefix("rows."): a for n, a in arrays.items() if n.startswith("rows.")}
        owner = np.repeat(np.arange(len(clients)), lengths)
        return Guides(clients, owner, arrays["ids"].astype(np.int64), rows)


@dataclass(frozen=True, eq=False)
class Shared:
    """What the server owns.

    Attributes:
        tables: name -> float32 [I, d], row-sparse: a client touches some rows.
        weights: name -> float32, any shape: a client touches all of them.
        fixed: name -> float32 [I, d], tables that clients read and never change; the
            server alone may, between rounds.
        guides: rows for single clients, towards which they are pulled; None without.
    """

    tables: dict[str, Array]
    weights: dict[str, Array] = field(default_factory=dict)
    fixed: dict[str, Array] = field(default_factory=dict)
    guides: Guides | None = None

    @property
    def num_bytes(self) -> int:
        """Bytes of all parameters that every client is sent."""
        groups = (self.tables, self.weights, self.fixed)
        return sum(a.nbytes for group in groups for a in group.values())

    def copy(self) -> Shared:
        """Return the same values in arrays of their own."""
        groups = (self.tables, self.weights, self.fixed)
        tables, weights, fixed = ({n: value.copy() for n, value in g.items()} for g in groups)
        return Shared(tables, weights, fixed, self.guides)  # guides are replaced, never changed


@dataclass(frozen=True, eq=False)
class Personal:
    """What never leaves a client, stacked over the clients of a node.

    A client that hosts many users has values of each of them, and may have some of its own.

    Attributes:
        values: name -> float32 [C, ...], or [U, ...] over the users of such clients.
        own: name -> float32 [C, ...], one of each client that hosts many users.
    """

    values: dict[str, Array]
    own: dict[str, Array] = field(default_factory=dict)

    def take(self, index: NDArray[np.int64], clients: NDArray[np.int64] | None = None) -> Personal:
        """Return the rows `index` (int64 [C']) of every value.

        Args:
            index: rows of `values`.
            clients: int64, rows of `own`; needed if there are any.

        Raises:
            ConfigError: if it is not said of which clients.
        """
        if self.own and clients is None:
            raise ConfigError(
                f"clients keep {', '.join(self.own)} from round to round, which this command does "
                "not do: use train.method = 'fedavg' for it"
            )
        values = {name: value[index] for name, value in self.values.items()}
        return Personal(values, {name: value[clients] for name, value in self.own.items()})

    def arrays(self) -> dict[str, Array]:
        """Return everything as named arrays, for messages and files."""
        return self.values | {f"{_OWN}{name}": value for name, value in self.own.items()}

    @staticmethod
    def from_arrays(arrays: Mapping[str, Array]) -> Personal:
        """Rebuild what `arrays` returned."""
        own = {n.removeprefix(_OWN): a for n, a in arrays.items() if n.startswith(_OWN)}
        return Personal({n: a for n, a in arrays.items() if not n.startswith(_OWN)}, own)


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
