"""A federation of merchants, played so that others can be put together from its rounds.

Local training, sampler and server optimiser are those of a run; only the wire is missing
(`fedrec.engine.server_side` provides the server).  Utilities are measured on validation, on
the customers of all merchants, never on test.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fedrec.audit.rounds import State, begin, put_back
from fedrec.contribution.game import Coalition
from fedrec.evaluation.selection import selection_metric
from fedrec.params import PartialSum, Personal, Shared
from fedrec.robust.updates import Updates, as_partial_sum
from fedrec.training.aggregate import partial_sum, weight_exponent
from fedrec.training.node import Setup, measure, personal_users, train_node
from fedrec.training.single_node import train_singles
from fedrec.training.statistics import sums_like
from fedrec.training.tuning import client_scorer, reconstruct

Floats = NDArray[np.float64]


class Server(Protocol):
    """The server's half of a round; its state can be branched off."""

    def sample(self, round_number: int) -> NDArray[np.int64]:
        """Return the clients that train in a round, int64 [C], ascending."""
        ...

    def apply(self, shared: Shared, total: PartialSum, round_number: int) -> Shared:
        """Return the shared parameters after the sum of a round has been applied."""
        ...

    def branch(self, shared: Shared) -> Server:
        """Return a server in the same state, whose rounds leave this one as it is."""
        ...


OpenServer = Callable[[Setup, Shared], Server]


@dataclass(frozen=True, eq=False)
class Round:
    """A round with all that is needed to put it together anew from some of its updates.

    Attributes:
        number: of the round, from 1.
        before: the shared parameters that clients were sent.
        server: in the state before the round; branch it.
        updates: of all merchants, as sent.
        after: the shared parameters after all of them.
        personal: of all customers after the round's local training.
    """

    number: int
    before: Shared
    server: Server
    updates: Updates
    after: Shared
    personal: Personal

    def with_members(self, coalition: Coalition) -> Shared:
        """Return the shared parameters had only these merchants sent their updates."""
        if len(coalition) == len(self.updates.clients):
            return self.after
        chosen = np.flatnonzero(np.isin(self.updates.clients, list(coalition)))
        if not len(chosen):
            return self.before
        total = as_partial_sum(self.updates.take(chosen))
        return self.server.branch(self.before).apply(self.before, total, self.number)


def play(setup: Setup, open_server: OpenServer) -> tuple[Round, ...]:
    """Train the federation of a configuration, and keep every single update.

    Args:
        setup: the prepared configuration; attacks and bounds of `robust.*` apply.
        open_server: makes the server.
    """
    state = begin(setup)
    server = open_server(setup, state.shared)
    rounds = []
    for number in range(1, setup.config.train.rounds + 1):
        clients = server.sample(number)
        users = personal_users(setup, clients)
        before, mine = server.branch(state.shared), state.personal.take(users)
        singles, new = train_singles(setup, state.shared, mine, clients, number)
        after = server.apply(state.shared, as_partial_sum(singles.updates), number)
        personal = put_back(state.personal, users, new)
        rounds.append(Round(number, state.shared, before, singles.updates, after, personal))
        state = State(number, after, personal)
    return tuple(rounds)


def replay(setup: Setup, rounds: tuple[Round, ...], coalition: Coalition) -> Shared:
    """Return the model that the recorded updates of some merchants alone add up to.

    The updates are those that were computed in the federation of all, so this is not what the
    coalition would have trained by itself; it costs no training (Song et al., "Profit
    allocation for federated learning", IEEE Big Data 2019, one-round reconstruction).
    """
    shared = rounds[0].before
    server = rounds[0].server.branch(shared)
    for one in rounds:
        chosen = np.flatnonzero(np.isin(one.updates.clients, list(coalition)))
        if len(chosen) or setup.method.statistics is not None:  # of no sum a model is solved too
            shared = server.apply(shared, as_partial_sum(one.updates.take(chosen)), one.number)
    return shared


def retrain(setup: Setup, open_server: OpenServer, coalition: Coalition) -> State:
    """Train a federation of some merchants alone, from the first round on.

    The others take its shared parameters as they come out, and fit what is personal to their
    customers in as many passes over their own interactions as members have made.

    Args:
        setup: of all merchants.
        open_server: makes the server.
        coalition: who trains.
    """
    state = begin(setup)
    server = open_server(setup, state.shared)
    for number in range(1, setup.config.train.rounds + 1):
        clients = np.intersect1d(server.sample(number), list(coalition)).astype(np.int64)
        if not len(clients):
            state = replace(state, round_number=number)
            if setup.method.statistics is not None:  # of no sum a model is solved too
                like = sums_like(setup.method.statistics, state.shared)
                nothing = partial_sum(iter(()), like, weight_exponent(setup.config))
                state = replace(state, shared=server.apply(state.shared, nothing, number))
            continue
        users = personal_users(setup, clients)
        own = state.personal.take(users)
        total, new = train_node(setup, state.shared, own, clients, number)
        after = server.apply(state.shared, total, number)
        state = State(number, after, put_back(state.personal, users, new))
    others = np.setdiff1d(np.arange(setup.population.num_clients), list(coalition))
    return replace(state, personal=adopted(setup, state, others))


def adopted(setup: Setup, state: State, clients: NDArray[np.int64]) -> Personal:
    """Return personal parameters once some merchants have fitted theirs to a finished model."""
    phases = tuple(p for p in setup.method.phases if p.personal and p.solver == "gradient")
    if not len(clients) or not phases or setup.method.personal_is_derived:
        return state.personal
    rounds = setup.config.train.rounds
    alone = tuple(replace(p, shared=False, epochs=p.epochs * rounds) for p in phases)
    fitting = replace(setup, method=replace(setup.method, before_scoring=alone))
    users = personal_users(setup, clients)
    start = state.personal.take(users)
    new = reconstruct(fitting, state.shared, clients, rounds + 1, start)
    return put_back(state.personal, users, new)


def utilities(setup: Setup, shared: Shared, personal: Personal, round_number: int) -> Floats:
    """Return each merchant's part of the validation metric over all customers.

    Args:
        setup: the prepared configuration.
        shared: the model.
        personal: of all customers.
        round_number: the round that the model comes from.

    Returns:
        float64 [n]: sums over the merchant's evaluated customers, over the number of all
        evaluated customers, so that they add up to the metric.
    """
    population = setup.population
    everyone = np.arange(population.num_clients)
    scorer = client_scorer(setup, shared, personal, everyone, round_number)
    found = measure(setup, scorer, personal_users(setup, everyone), "valid")
    metric = selection_metric(setup.config)
    count = found.counts[metric.split(".", 1)[0]]
    owner = population.client_of_user[found.users]
    sums = np.bincount(owner, found.metrics[metric], population.num_clients)
    return sums / max(float(count.sum()), 1.0)
