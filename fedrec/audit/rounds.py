"""Rounds as the audits play them: every client's update stays its own.

The same local training, sampler and server optimiser as in a run; only the wire
is missing.  What belongs to the server comes in as an object, since the library
does not know the app (`fedrec.engine.server_side` provides it).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fedrec.data.population import expand
from fedrec.params import PartialSum, Personal, Shared
from fedrec.robust.updates import Updates, gather
from fedrec.training.aggregate import weight_exponent
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
    return gather(parts, state.shared, weight_exponent(setup.config)), personal


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
