"""Rounds as the audits play them: every client's update stays its own.

The same local training, sampler and server optimiser as in a run; only the wire
is missing.  What belongs to the server comes in as an object, since the library
does not know the app (`fedrec.engine.server_side` provides it).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from fedrec.data.population import expand
from fedrec.params import PartialSum, Personal, Shared, SparseRows
from fedrec.training.aggregate import client_weights
from fedrec.training.local import CohortUpdate
from fedrec.training.node import (
    Setup,
    init_personal,
    init_shared,
    personal_users,
    train_block,
    train_node,
    training_blocks,
)


class Server(Protocol):
    """The server's half of a round, with the state of its optimisers."""

    def sample(self, round_number: int) -> NDArray[np.int64]:
        """Return the clients that train in a round, int64 [C], ascending."""

    def apply(self, shared: Shared, total: PartialSum, round_number: int) -> Shared:
        """Return the shared parameters after the sum of a round has been applied."""


OpenServer = Callable[[Setup, Shared], Server]


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
        squares = np.bincount(self.client, (self.rows**2).sum(1), len(self.clients))
        for value in self.weights.values():
            squares += (value.reshape(len(value), -1).astype(np.float64) ** 2).sum(1)
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
        """Return the updates with each client's multiplied by `factor`, float64 [C]."""
        rows = self.rows * factor[self.client, None].astype(np.float32)
        weights = {
            n: v * factor.reshape(-1, *[1] * (v.ndim - 1)).astype(np.float32)
            for n, v in self.weights.items()
        }
        return replace(self, rows=rows, weights=weights)


@dataclass(frozen=True, eq=False)
class State:
    """Where a federation stands between two rounds.

    Attributes:
        round_number: the last round that was played.
        shared: the server's parameters.
        personal: of all clients, stacked like `personal_users` of all clients.
    """

    round_number: int
    shared: Shared
    personal: Personal


def begin(setup: Setup) -> State:
    """Return the state before the first round."""
    everyone = np.arange(setup.population.num_clients)
    return State(0, init_shared(setup), init_personal(setup, everyone))


def play_round(setup: Setup, server: Server, state: State) -> State:
    """Play one round as a run does."""
    number = state.round_number + 1
    clients = server.sample(number)
    mine = personal_users(setup, clients)  # all clients' users are stacked by their number
    total, new = train_node(setup, state.shared, state.personal.take(mine), clients, number)
    return State(
        number, server.apply(state.shared, total, number), put_back(state.personal, mine, new)
    )


def play(setup: Setup, server: Server, state: State, rounds: int) -> State:
    """Play so many rounds."""
    for _ in range(rounds):
        state = play_round(setup, server, state)
    return state


def put_back(personal: Personal, users: NDArray[np.int64], new: Personal) -> Personal:
    """Return personal parameters with those of some users replaced."""
    values = {name: value.copy() for name, value in personal.values.items()}
    for name, value in new.values.items():
        values[name][users] = value
    return Personal(values)


def train_updates(
    setup: Setup, state: State, clients: NDArray[np.int64], round_number: int
) -> tuple[Updates, Personal]:
    """Train clients for one round; each update stays its own.

    Args:
        setup: the prepared configuration.
        state: shared and personal parameters.
        clients: int64 [C], ascending; those without samples are left out.
        round_number: the round, for the samples.

    Returns:
        The updates, and the new personal parameters of all clients.
    """
    parts, personal = [], state.personal
    for block in training_blocks(setup, clients):
        users = personal_users(setup, block)
        update, new = train_block(setup, state.shared, personal.take(users), block, round_number)
        personal = put_back(personal, users, new)
        parts.append((block, update))
    return gather(parts, state.shared, setup.config.server.weighting), personal


def gather(
    parts: list[tuple[NDArray[np.int64], CohortUpdate]], shared: Shared, weighting: str
) -> Updates:
    """Put the updates of some blocks of clients into one.

    Args:
        parts: clients of a block, and their updates.
        shared: for names and shapes.
        weighting: "samples" or "equal".
    """
    names = list(shared.tables)
    num_items = len(shared.tables[names[0]])
    widths = {name: int(shared.tables[name].shape[1]) for name in names}
    clients = np.concatenate([np.zeros(0, np.int64), *(block for block, _ in parts)])
    order = np.argsort(clients)
    place = np.argsort(order)
    owner, ids = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    rows = [np.zeros((0, sum(widths.values())), np.float32)]
    weight, seen = [np.zeros(0)], 0
    for block, update in parts:
        index = update.index[names[0]]
        owner.append(place[seen + index.client])
        ids.append(index.ids)
        rows.append(np.concatenate([update.rows[name] for name in names], 1))
        weight.append(client_weights(update, weighting))
        seen += len(block)
    flat = np.concatenate(owner)
    by_client = np.argsort(flat, kind="stable")
    weights = {
        n: np.concatenate([np.zeros((0, *v.shape), np.float32), *(u.weights[n] for _, u in parts)])
        for n, v in shared.weights.items()
    }
    return Updates(
        clients[order],
        flat[by_client],
        np.concatenate(ids)[by_client],
        np.concatenate(rows)[by_client],
        {n: v[order] for n, v in weights.items()},
        np.concatenate(weight)[order],
        num_items,
        widths,
    )


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


def interactions(setup: Setup, clients: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which client's users have a training interaction with which item, bool [C, I]."""
    owner, items = interaction_pairs(setup, clients)
    table = np.zeros((len(clients), setup.population.num_items), bool)
    table[owner, items] = True
    return table


def interaction_pairs(
    setup: Setup, clients: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Return the training interactions of clients: position of the client, and item, [T]."""
    population = setup.population
    users = population.users_of(clients)
    owner = np.searchsorted(clients, population.client_of_user[users])
    lengths = np.diff(population.indptr)[users]
    return np.repeat(owner, lengths), population.items[expand(population.indptr, users)]
