"""Contributions of merchants: from federations trained anew, and from the updates of one.

Retraining is what contribution means, and costs a federation for every coalition.  Updates
cost evaluations only.  Either the model is rebuilt from the updates that some merchants sent
in all rounds (`from_updates`; the one-round reconstruction of Song et al., "Profit allocation
for federated learning", IEEE Big Data 2019), or the Shapley values of every round are added up
(`from_rounds`; their multi-round reconstruction, and the federated Shapley value of Wang et
al., "A principled approach to data valuation for federated learning", 2020), cut off between
and within rounds as in GTG-Shapley (Liu et al., TIST 2022).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedrec.config_contribution import MOST_EXACT
from fedrec.contribution.federation import (
    OpenServer,
    Round,
    replay,
    retrain,
    utilities,
)
from fedrec.contribution.game import (
    Coalition,
    Utility,
    Values,
    draw_orders,
    everyone,
    sampled_shapley,
    shapley,
    table_of,
)
from fedrec.contribution.rebuilt import Guesses, Opened, guess, replay_guesses
from fedrec.errors import ConfigError
from fedrec.robust.updates import as_partial_sum
from fedrec.training.node import Setup

Floats = NDArray[np.float64]
Split = Callable[[Coalition], Floats]
"""A coalition -> each merchant's part of the utility that it gives to all, float64 [n]."""


@dataclass(frozen=True, eq=False)
class Memory:
    """A split utility that is computed once for each coalition.

    Attributes:
        split: computes it.
        known: what was computed so far.
    """

    split: Split
    known: dict[Coalition, Floats]

    def __call__(self, coalition: Coalition) -> Floats:
        """Return each merchant's part, float64 [n]."""
        if coalition not in self.known:
            self.known[coalition] = self.split(coalition)
        return self.known[coalition]

    def total(self, coalition: Coalition) -> float:
        """Return the utility for all merchants' customers together."""
        return float(self(coalition).sum())


def retrained(setup: Setup, open_server: OpenServer) -> Memory:
    """Return utilities of federations trained anew by the members of a coalition."""

    def split(coalition: Coalition) -> Floats:
        state = retrain(setup, open_server, coalition)
        return utilities(setup, state.shared, state.personal, state.round_number)

    return Memory(split, {})


def replayed(setup: Setup, rounds: tuple[Round, ...]) -> Memory:
    """Return utilities of models that the recorded updates of a coalition add up to."""
    last = rounds[-1]

    def split(coalition: Coalition) -> Floats:
        return utilities(setup, replay(setup, rounds, coalition), last.personal, last.number)

    return Memory(split, {})


def of_round(setup: Setup, one: Round) -> Memory:
    """Return utilities after one round, had only the members of a coalition sent updates."""

    def split(coalition: Coalition) -> Floats:
        return utilities(setup, one.with_members(coalition), one.personal, one.number)

    return Memory(split, {})


def exact(memory: Memory, players: int) -> Values:
    """Return exact Shapley values over all 2**n coalitions.

    Raises:
        ConfigError: if there are too many merchants.
    """
    check_exact(players, "contribution.retrain = 'all'")
    table = table_of(memory.total, players)
    return Values(shapley(table), np.zeros(players), len(table))


def check_exact(players: int, asked: str) -> None:
    """Refuse to look at all coalitions of many merchants.

    Raises:
        ConfigError: saying what else there is.
    """
    if players > MOST_EXACT:
        raise ConfigError(
            f"{asked} looks at all 2**{players} coalitions of {players} merchants, and is offered "
            f"up to {MOST_EXACT}: set contribution.retrain = 'leave-one-out' and "
            "contribution.permutations = 16"
        )


def from_updates(setup: Setup, rounds: tuple[Round, ...]) -> Values:
    """Return Shapley values over models rebuilt from the updates of all rounds.

    A method whose clients send sums (EASE) solves the same model from a coalition's sums as
    the coalition by itself, so that these are the values of retraining.

    Args:
        setup: `contribution.permutations` orders are drawn, and cut off by
            `contribution.tolerance`; 0: all subsets.
        rounds: as `fedrec.contribution.federation.play` records them.
    """
    return sampled(setup, replayed(setup, rounds).total, 0)


def guessed(setup: Setup, rounds: tuple[Round, ...], guesses: Guesses) -> Memory:
    """Return utilities of models that guessed updates of a coalition add up to.

    Args:
        setup: the prepared configuration.
        rounds: for the first and the last state of the federation.
        guesses: made from sums of groups.
    """
    first, last = rounds[0], rounds[-1]

    def split(coalition: Coalition) -> Floats:
        server = first.server.branch(first.before)
        shared = replay_guesses(guesses, coalition, first.before, server.apply)
        return utilities(setup, shared, last.personal, last.number)

    return Memory(split, {})


def single_updates(rounds: tuple[Round, ...]) -> list[Opened]:
    """Return rounds in which each merchant is a group of its own: nothing is left to guess.

    Args:
        rounds: as `fedrec.contribution.federation.play` records them.
    """
    found = []
    for one in rounds:
        groups = tuple(np.array([i]) for i in range(len(one.updates.clients)))
        sums = tuple(as_partial_sum(one.updates.take(g)) for g in groups)
        found.append(Opened(one.number, groups, sums))
    return found


def from_groups(setup: Setup, rounds: tuple[Round, ...], opened: Sequence[Opened]) -> Values:
    """Return Shapley values over models rebuilt from what sums of groups let one guess.

    Args:
        setup: as above.
        rounds: as `fedrec.contribution.federation.play` records them; no single update is read.
        opened: the sums of groups, of all rounds or some.
    """
    players = setup.population.num_clients
    guesses = guess(opened, players, rounds[0].before)
    return sampled(setup, guessed(setup, rounds, guesses).total, 0)


def from_rounds(setup: Setup, rounds: tuple[Round, ...]) -> Values:
    """Return Shapley values of single rounds, added up.

    Args:
        setup: as above, orders for each round; rounds that gain no more than
            `contribution.tolerance` are left out.
        rounds: as `fedrec.contribution.federation.play` records them.
    """
    players = setup.population.num_clients
    values, squares, asked = np.zeros(players), np.zeros(players), 0
    for one in rounds:
        memory = of_round(setup, one)
        gain = memory.total(everyone(players)) - memory.total(frozenset())
        if abs(gain) > setup.config.contribution.tolerance:
            found = sampled(setup, memory.total, one.number)
            values, squares = values + found.values, squares + found.errors**2
        asked += len(memory.known)
    return Values(values, np.sqrt(squares), asked)


def sampled(setup: Setup, total: Utility, number: int) -> Values:
    """Return Shapley values over orders that are drawn, or over all subsets.

    Args:
        setup: `contribution.permutations` and `contribution.tolerance` count.
        total: the utility of a coalition, asked once for each.
        number: of the round, 0 for none: other orders.

    Raises:
        ConfigError: if all subsets of too many merchants are asked for.
    """
    section, players = setup.config.contribution, setup.population.num_clients
    if not section.permutations:
        check_exact(players, "contribution.permutations = 0")
        table = table_of(total, players)
        return Values(shapley(table), np.zeros(players), len(table))
    orders = draw_orders(setup.config.run.seed, number, players, section.permutations)
    return sampled_shapley(total, orders, section.tolerance)
