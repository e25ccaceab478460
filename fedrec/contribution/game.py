"""Coalitions and what each member is worth: Shapley values, exact and sampled.

A game gives every subset of n merchants (a coalition) a utility.  The Shapley value of a
merchant is what it adds to those before it, averaged over all orders (Shapley 1953): values
add up to what all have together, who adds nothing to anybody gets nothing, and merchants
that add alike get alike.

Where a table of all coalitions is asked for, coalition number s holds merchant i if bit i
of s is set.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import factorial

import numpy as np
from numpy.typing import NDArray

from fedrec.rng import Purpose, draw, keys

Coalition = frozenset[int]
Utility = Callable[[Coalition], float]
"""What the members of a coalition have together."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Values:
    """What each of n merchants is worth.

    Attributes:
        values: float64 [n].
        errors: float64 [n], standard errors of what was sampled; zeros where nothing was.
        evaluations: different coalitions whose utility was asked for.
    """

    values: Floats
    errors: Floats
    evaluations: int


def members_of(number: int, players: int) -> Coalition:
    """Return the members of a coalition by its number."""
    return frozenset(i for i in range(players) if number >> i & 1)


def everyone(players: int) -> Coalition:
    """Return the coalition of all."""
    return frozenset(range(players))


def table_of(utility: Utility, players: int) -> Floats:
    """Return the utility of all coalitions, float64 [2**n], by their number."""
    return np.array([utility(members_of(s, players)) for s in range(2**players)], np.float64)


def shapley(table: Floats) -> Floats:
    """Return exact Shapley values.

    ``phi_i = sum over S without i of |S|! (n - |S| - 1)! / n! (v(S + i) - v(S))``.

    Args:
        table: float64 [2**n], or [2**n, ...] for several games at once.

    Returns:
        float64 [n, ...].
    """
    players = int(len(table)).bit_length() - 1
    number = np.arange(len(table))
    sizes = sum((number >> i & 1 for i in range(players)), np.zeros_like(number))
    weights = np.array(
        [factorial(k) * factorial(players - k - 1) / factorial(players) for k in range(players)]
    )
    found = []
    for i in range(players):
        without = number[(number >> i & 1) == 0]
        gains = table[without | 1 << i] - table[without]
        found.append(np.tensordot(weights[sizes[without]], gains, 1))
    return np.array(found)


def leave_one_out(utility: Utility, players: int) -> Floats:
    """Return what all lose without each merchant, v(N) - v(N without i), float64 [n]."""
    all_of_them = everyone(players)
    whole = utility(all_of_them)
    return np.array([whole - utility(all_of_them - {i}) for i in range(players)])


def sampled_shapley(
    utility: Utility, orders: Sequence[NDArray[np.int64]], tolerance: float = 0.0
) -> Values:
    """Return Shapley values from some orders of the merchants, with standard errors.

    Truncated Monte Carlo (Ghorbani and Zou, ICML 2019; within a round, Liu et al., "GTG-Shapley",
    TIST 2022): once those before come within `tolerance` of all together, the rest of an order
    adds nothing.

    Args:
        utility: asked once for each coalition that comes up.
        orders: int64 [n] each, all merchants in some order.
        tolerance: 0: no order is cut off.

    Returns:
        The means over orders, and their standard errors (NaN of one order).
    """
    known: dict[Coalition, float] = {}

    def ask(coalition: Coalition) -> float:
        if coalition not in known:
            known[coalition] = utility(coalition)
        return known[coalition]

    players = len(orders[0])
    whole, gains = ask(everyone(players)), np.zeros((len(orders), players))
    for row, order in zip(gains, orders, strict=True):
        before, members = ask(frozenset()), frozenset[int]()
        for player in order.tolist():
            if tolerance and abs(whole - before) <= tolerance:
                break
            members = members | {player}
            after = ask(members)
            row[player] = after - before
            before = after
    spread = gains.std(0, ddof=1) if len(orders) > 1 else np.full(players, np.nan)
    return Values(gains.mean(0), spread / np.sqrt(len(orders)), len(known))


def draw_orders(seed: int, round_number: int, players: int, count: int) -> list[NDArray[np.int64]]:
    """Return random orders of the merchants, int64 [n] each.

    Args:
        seed: of the run.
        round_number: the round, so that rounds are sampled apart.
        players: n.
        count: how many.
    """
    key = keys(seed, round_number, np.arange(players), Purpose.CONTRIBUTION)
    lots = draw(key[None, :], np.arange(count)[:, None])
    return list(np.argsort(lots, axis=1, kind="stable"))
