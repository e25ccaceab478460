"""The updates of a round, one by one, as defences and audits need them.

What a node sends where the server must see single updates, and what an audit looks at:
rows of clients one after the other, never a table for each client.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from fedrec.params import PartialSum, Shared, SparseRows
from fedrec.training.aggregate import client_weights
from fedrec.training.cohort import CohortUpdate
from fedrec.training.rows import RowIndex


@dataclass(frozen=True, eq=False)
class Updates:
    """The updates of C clients in one round, with the tables side by side.

    All shared tables number items, so a row of an item is its rows of all tables,
    one after the other: D is the sum of their widths.

    Attributes:
        clients: int64 [C], ascending.
        client: int64 [T], position of the client of each row, ascending.
        ids: int64 [T], item of each row, ascending within a client.
        rows: float32 [T, D].
        weights: name -> float32 [C, ...], dense deltas.
        weight: float64 [C], each client's weight in the mean.
        num_items: I.
        widths: table -> its width d, in the order of the columns.
    """

    clients: NDArray[np.int64]
    client: NDArray[np.int64]
    ids: NDArray[np.int64]
    rows: NDArray[np.float32]
    weights: dict[str, NDArray[np.float32]]
    weight: NDArray[np.float64]
    num_items: int
    widths: dict[str, int]

    @property
    def norms(self) -> NDArray[np.float64]:
        """L2 norm of each client's whole update, float64 [C]."""
        of_rows = (self.rows.astype(np.float64) ** 2).sum(1)
        squares = np.bincount(self.client, of_rows, len(self.clients)).astype(np.float64)
        for value in self.weights.values():
            squares += (value.astype(np.float64) ** 2).sum(axis=tuple(range(1, value.ndim)))
        return np.sqrt(squares)

    @property
    def counts(self) -> NDArray[np.int64]:
        """Clients that touch each item, int64 [I]."""
        return np.bincount(self.ids, minlength=self.num_items).astype(np.int64)

    def touched(self) -> NDArray[np.bool_]:
        """Return which client touches which item, bool [C, I]."""
        table = np.zeros((len(self.clients), self.num_items), bool)
        table[self.client, self.ids] = True
        return table

    def dense(self, begin: int, end: int) -> NDArray[np.float32]:
        """Return the rows of the clients begin..end-1 for all items, float32 [b, I, D]."""
        out = np.zeros((end - begin, self.num_items, self.rows.shape[1]), np.float32)
        here = slice(*np.searchsorted(self.client, [begin, end]))
        out[self.client[here] - begin, self.ids[here]] = self.rows[here]
        return out

    def total(self) -> NDArray[np.float64]:
        """Return the weighted sum of all rows, float64 [I, D]."""
        of_row = self.weight[self.client]
        shape = (self.num_items, len(self.ids))
        scatter = csr_matrix((of_row, (self.ids, np.arange(len(self.ids)))), shape)
        return np.asarray(scatter @ self.rows.astype(np.float64))

    def take(self, place: NDArray[np.int64]) -> Updates:
        """Return the updates of some clients, int64 positions, ascending."""
        where = np.full(len(self.clients), -1)
        where[place] = np.arange(len(place))
        kept = where[self.client] >= 0
        return replace(
            self,
            clients=self.clients[place],
            client=where[self.client[kept]],
            ids=self.ids[kept],
            rows=self.rows[kept],
            weights={n: v[place] for n, v in self.weights.items()},
            weight=self.weight[place],
        )

    def scaled(self, factor: NDArray[np.float64]) -> Updates:
        """Return the updates with each client's times `factor`, float64 [C]; 0 removes NaN too."""
        rows = _times(self.rows, factor[self.client])
        return replace(
            self, rows=rows, weights={n: _times(v, factor) for n, v in self.weights.items()}
        )


def gather(
    parts: Sequence[tuple[NDArray[np.int64], CohortUpdate]], shared: Shared, exponent: float
) -> Updates:
    """Put the updates of some blocks of clients into one.

    Args:
        parts: clients of a block, and their updates.
        shared: for names and shapes.
        exponent: of their samples, in the weights of clients.
    """
    blocks = [stack(block, update, shared, exponent) for block, update in parts]
    return merge([nothing(shared), *blocks])


def nothing(shared: Shared) -> Updates:
    """Return the updates of no clients."""
    none, widths = np.zeros(0, np.int64), _widths(shared)
    rows = np.zeros((0, sum(widths.values())), np.float32)
    weights = {n: np.zeros((0, *v.shape), np.float32) for n, v in shared.weights.items()}
    return Updates(none, none, none, rows, weights, np.zeros(0), _num_items(shared), widths)


def stack(
    clients: NDArray[np.int64], update: CohortUpdate, shared: Shared, exponent: float
) -> Updates:
    """Put the tables of a block of clients side by side.

    Args:
        clients: int64 [C], ascending.
        update: of these clients.
        shared: for names and shapes.
        exponent: of their samples, in the weights of clients.
    """
    widths = _widths(shared)
    index = update.index[next(iter(widths))]
    return Updates(
        clients,
        index.client.astype(np.int64),
        index.ids,
        np.concatenate([update.rows[n].reshape(len(index.ids), w) for n, w in widths.items()], 1),
        {name: update.weights[name] for name in shared.weights},
        client_weights(update, exponent),
        _num_items(shared),
        widths,
    )


def unstack(updates: Updates, update: CohortUpdate) -> CohortUpdate:
    """Return `update` with the rows and weights of `updates`, which are of the same clients."""
    index = RowIndex(
        updates.client.astype(np.int32), updates.ids, updates.num_items, len(updates.clients)
    )
    rows, at = {}, 0
    for name, width in updates.widths.items():
        shape = (len(updates.ids), *update.rows[name].shape[1:])
        rows[name] = np.ascontiguousarray(updates.rows[:, at : at + width]).reshape(shape)
        at += width
    return replace(update, rows=rows, index=dict.fromkeys(rows, index), weights=updates.weights)


def merge(parts: Sequence[Updates]) -> Updates:
    """Put the updates of disjoint clients together, whatever the order of the parts.

    Args:
        parts: at least one, over the same tables and weights.
    """
    clients = np.concatenate([part.clients for part in parts])
    order = np.argsort(clients, kind="stable")
    place = np.argsort(order, kind="stable")
    starts = np.cumsum([0, *(len(part.clients) for part in parts)])[:-1]
    owners = [place[at + part.client] for at, part in zip(starts, parts, strict=True)]
    owner = np.concatenate(owners)
    by_client = np.argsort(owner, kind="stable")
    weights = {
        name: np.concatenate([part.weights[name] for part in parts])[order]
        for name in parts[0].weights
    }
    return replace(
        parts[0],
        clients=clients[order],
        client=owner[by_client],
        ids=np.concatenate([part.ids for part in parts])[by_client],
        rows=np.concatenate([part.rows for part in parts])[by_client],
        weights=weights,
        weight=np.concatenate([part.weight for part in parts])[order],
    )


def _widths(shared: Shared) -> dict[str, int]:
    return {name: int(np.prod(value.shape[1:])) for name, value in shared.tables.items()}


def _num_items(shared: Shared) -> int:
    return len(next(iter(shared.tables.values())))


def _times(values: NDArray[np.float32], factor: NDArray[np.float64]) -> NDArray[np.float32]:
    wide = factor.reshape(-1, *[1] * (values.ndim - 1)).astype(np.float32)
    with np.errstate(invalid="ignore", over="ignore"):
        return np.where(wide == 0, np.float32(0), values * wide)


def as_partial_sum(updates: Updates) -> PartialSum:
    """Return the sum of updates as the server folds it."""
    of_row = updates.weight[updates.client]
    weights: dict[str, NDArray] = {
        n: np.tensordot(updates.weight, v.astype(np.float64), 1) for n, v in updates.weights.items()
    }
    row_weight = np.bincount(updates.ids, of_row, updates.num_items).astype(np.float64)
    return sum_of_rows(updates, updates.total(), row_weight, weights)


def sum_of_rows(
    updates: Updates,
    total: NDArray[np.float64],
    row_weight: NDArray[np.float64],
    weights: dict[str, NDArray],
) -> PartialSum:
    """Cut rows of all tables side by side into a partial sum.

    Args:
        updates: whose sum it stands for.
        total: float64 [I, D].
        row_weight: float64 [I], summed weight of the clients in each row; rows of
            weight 0 are left out.
        weights: name -> summed dense deltas.
    """
    ids = np.flatnonzero(row_weight)
    tables, at = {}, 0
    for name, width in updates.widths.items():
        tables[name] = SparseRows(ids, total[ids, at : at + width])
        at += width
    each = dict.fromkeys(tables, row_weight[ids])
    return PartialSum(tables, each, weights, float(updates.weight.sum()), len(updates.clients))
