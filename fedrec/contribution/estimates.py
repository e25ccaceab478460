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

from collections.abc import Callable
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
    Values,
    draw_orders,
    everyone,
    sampled_shapley,
    shapley,
    table_of,
)
from fedrec.errors import ConfigError
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
    return _sampled(setup, replayed(setup, rounds), 0)


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
            found = _sampled(setup, memory, one.number)
            values, squares = values + found.values, squares + found.errors**2
        asked += len(memory.known)
    return Values(values, np.sqrt(squares), asked)


def _sampled(setup: Setup, memory: Memory, number: int) -> Values:
    section, players = setup.config.contribution, setup.population.num_clients
    if not section.permutations:
        check_exact(players, "contribution.permutations = 0")
        return exact(memory, players)
    orders = draw_orders(setup.config.run.seed, number, players, section.permutations)
    return sampled_shapley(memory.total, orders, section.tolerance)
