"""Contributions under secure aggregation, from sums of random groups.

With secure aggregation nobody may see a single update, nor two sums that differ by one.  So
the merchants are cut into a few random groups, anew in every round, and each group's sum is
opened by a session of its own.  Models are put together from unions of groups, their
utilities are summed securely over the customers of all merchants, and each group gets its
Shapley value of the round (as in Ma et al., "Transparent contribution evaluation for secure
federated learning on blockchain", ICDEW 2021).  A merchant is in other company in every round:
its part p_i of all contributions is what explains the groups' values best,

    minimise  sum over rounds t and groups G of (value_t(G) - W_t sum_{i in G} p_i)^2
    subject to  sum_i p_i = 1,

where W_t is the gain of the round.  This is the additive game nearest to what was measured
(as in the least squares view of the Shapley value, Charnes et al. 1988), and blind to whatever
a merchant adds in some company only.

What it opens: sums of groups instead of the sum of all.  A merchant of a group of three is
hidden among two others, and two that work together see the third.  Updates of one merchant
resemble each other from round to round, so groupings that change let an observer guess at
single ones; experiments/contribution.py measures how well.  These guesses rank merchants far
better than utilities of groups do (`fedrec.contribution.rebuilt`), which stay for sums that
are the same in every round.
Where clients send the same sums in every round, groups would be solved for single merchants
outright, so they are cut once.  A server that does not keep to the protocol would choose groups
that single somebody out, so `secure.mode = "malicious-server"` refuses them.

A merchant alone can find out without opening anything what its own update does for its own
customers, as it knows the sum and its update; what it does for those of others, nobody can.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fedrec.contribution.game import members_of, shapley
from fedrec.errors import ConfigError
from fedrec.rng import Purpose, draw, keys

if TYPE_CHECKING:
    from fedrec.contribution.estimates import Memory

Floats = NDArray[np.float64]
Groups = tuple[NDArray[np.int64], ...]
ERROR = 0.1
"""What is expected of an additive game's error in the value of a group, over the largest gain of
a round.  Shares are expected to lie about 1/n around 1/n; together the two say how strongly
shares are drawn towards equal ones (ridge regression)."""

TRIED, SERIES = 32, 30
"""Partitions that are drawn for a round, and rounds over which pairs are to meet evenly."""

_RANK = 1e-9
_MOST_ATOMS = 20_000


@dataclass(frozen=True, eq=False)
class Measured:
    """What was measured in one round.

    Attributes:
        groups: the merchants of each of G groups, int64, ascending.
        table: float64 [2**G], utility of each union of groups; group k is in number s if bit
            k of s is set.
    """

    groups: Groups
    table: Floats

    def to_json(self) -> dict[str, object]:
        """Return what a journal keeps."""
        return {"groups": [g.tolist() for g in self.groups], "utility": self.table.tolist()}

    @staticmethod
    def from_json(data: dict[str, list]) -> Measured:
        """Rebuild what `to_json` returned."""
        groups = tuple(np.array(g, np.int64) for g in data["groups"])
        return Measured(groups, np.array(data["utility"], np.float64))


@dataclass(frozen=True, eq=False)
class Parts:
    """Contributions as groups tell them.

    Attributes:
        values: float64 [n], which add up to the gain of all rounds.
        errors: float64 [n], standard errors by the residuals; NaN if there are none left.
        alike: sets of merchants that were never told apart: each one's value is the mean.
    """

    values: Floats
    errors: Floats
    alike: tuple[tuple[int, ...], ...]


def check_groups(players: int, groups: int, least: int) -> None:
    """Refuse groups that are too small to hide their members.

    Raises:
        ConfigError: with what to change.
    """
    if players < groups * least:
        raise ConfigError(
            f"contribution.groups = {groups} with contribution.least = {least} needs "
            f"{groups * least} merchants or more, and there are {players}: in smaller groups a "
            "sum says too much of each. Without groups, contributions need secure.mode = 'off'"
        )


def cut(seed: int, round_number: int, players: int, groups: int) -> Groups:
    """Cut merchants into groups of like size, by chance, so that all pairs meet alike often.

    Of TRIED drawn partitions that is taken by which pairs have met most evenly, since the last
    round whose number is a multiple of SERIES.

    Args:
        seed: of the run.
        round_number: other groups in every round; the same number, the same groups.
        players: n.
        groups: G.
    """
    met = np.zeros((players, players))
    first = round_number - max(round_number - 1, 0) % SERIES
    for number in range(first, round_number + 1):
        key = keys(seed, number, np.arange(players), Purpose.REGROUPING)
        order = np.argsort(draw(key, np.arange(TRIED)[:, None]), axis=1, kind="stable")
        member = _members(order, groups)
        together = np.einsum("kgi,kgj->kij", member, member)
        best = int(np.argmin(((met + together) ** 2).sum((1, 2))))
        met += together[best]
    return tuple(np.flatnonzero(g).astype(np.int64) for g in member[best])


def _members(order: NDArray[np.int64], groups: int) -> Floats:
    """Return who is in which group, float64 [K, G, n], of K orders of n merchants."""
    place = np.argsort(order, axis=1)
    group = np.repeat(np.arange(groups), [len(p) for p in np.array_split(order[0], groups)])
    return (group[place][:, None] == np.arange(groups)[:, None]).astype(np.float64)


def fewest_behind(opened: Sequence[NDArray[np.int64]], players: int) -> int:
    """Return how few merchants some combination of opened sums is about.

    From sums over coalitions of the same updates whoever sees them can form every linear
    combination.  The least number of merchants that is left in one, 1 for a single update,
    is the least weight of a vector in the row space of the coalitions' indicators.

    Args:
        opened: members of each coalition whose sum over the same updates is known.
        players: n.

    Raises:
        ConfigError: if there are so many that it cannot be found out.
    """
    table = np.zeros((len(opened), players))
    for row, members in zip(table, opened, strict=True):
        row[members] = 1.0
    columns, counts = np.unique(table.T, axis=0, return_counts=True)
    counts = counts[columns.any(1)]
    columns = columns[columns.any(1)]
    if not len(columns):
        return players
    rank = int(np.linalg.matrix_rank(columns, tol=_RANK))
    best = int(counts.sum())
    for tried, chosen in enumerate(combinations(range(len(columns)), rank - 1)):
        if tried > _MOST_ATOMS:
            raise ConfigError(
                f"sums of {len(opened)} coalitions of {players} merchants are too many to say what "
                "they open together: open fewer"
            )
        best = min(best, _left(columns, counts, chosen, rank))
    return best


def _left(columns: NDArray, counts: NDArray, chosen: tuple[int, ...], rank: int) -> int:
    """Return the merchants left by the combination that is zero on some, if there is one."""
    basis = np.linalg.svd(columns.T, full_matrices=False)[2][:rank]  # of the row space, [r, k]
    zero_on = basis[:, list(chosen)]
    if chosen and np.linalg.matrix_rank(zero_on, tol=_RANK) < rank - 1:
        return int(counts.sum())
    null = np.linalg.svd(zero_on.T)[2][-1] if chosen else np.ones(1)
    return int(counts[np.abs(null @ basis) > 1e-7].sum())


def check_opened(opened: Sequence[NDArray[np.int64]], players: int, least: int) -> None:
    """Refuse sums from which those of fewer than `least` merchants follow.

    Raises:
        ConfigError: saying how few.
    """
    few = fewest_behind(opened, players)
    if few < least:
        what = "a single update" if few == 1 else f"a combination of {few} updates"
        raise ConfigError(
            f"these {len(opened)} sums of the same updates open {what}, and at least {least} "
            "merchants must stand behind every number (contribution.least): open the groups of "
            "one partition only"
        )


def measured(memory: Memory, groups: Groups) -> Measured:
    """Return the utilities of all unions of groups.

    Args:
        memory: of the round; only unions of groups are asked for.
        groups: a partition of the merchants.
    """
    table = []
    for number in range(2 ** len(groups)):
        chosen = members_of(number, len(groups))
        union = frozenset(int(i) for k in chosen for i in groups[k])
        table.append(memory.total(union))
    return Measured(groups, np.array(table))


def parts_of(rounds: Sequence[Measured], players: int) -> Parts:
    """Return each merchant's contribution, from what groups were worth in each round.

    Args:
        rounds: at least one.
        players: n.
    """
    rows, values, gain = [], [], 0.0
    for one in rounds:
        whole = float(one.table[-1] - one.table[0])
        gain += whole
        for members, value in zip(one.groups, shapley(one.table), strict=True):
            row = np.zeros(players)
            row[members] = whole
            rows.append(row)
            values.append(value)
    equations, measured_values = np.array(rows), np.array(values)
    # shares p = 1/n + Z q keep the sum at 1; what groups leave open stays at equal shares
    basis = np.linalg.svd(np.ones((1, players)))[2][1:].T
    left = measured_values - equations.sum(1) / players
    reduced = equations @ basis
    ridge = (ERROR * players * np.abs(equations).max(initial=0.0)) ** 2
    solve = np.linalg.pinv(reduced.T @ reduced + ridge * np.eye(players - 1)) @ reduced.T
    found = solve @ left
    shares = 1.0 / players + basis @ found
    residual = left - reduced @ found
    # the values of a round's groups add up to its gain, so one of them says nothing new
    free = sum(len(one.groups) - 1 for one in rounds) - float(np.trace(reduced @ solve))
    spread = np.full(players, np.nan)
    if free > 0.5:
        spread = np.sqrt((residual**2).sum() / free * ((basis @ solve) ** 2).sum(1)) * abs(gain)
    return Parts(shares * gain, spread, _alike(rounds, players))


def _alike(rounds: Sequence[Measured], players: int) -> tuple[tuple[int, ...], ...]:
    """Return the sets of merchants that were in the same group in every round."""
    place = np.zeros((players, len(rounds)), int)
    for column, one in enumerate(rounds):
        for k, members in enumerate(one.groups):
            place[members, column] = k
    _, which = np.unique(place, axis=0, return_inverse=True)
    which = which.ravel()
    sets = [tuple(np.flatnonzero(which == w).tolist()) for w in np.unique(which)]
    return tuple(s for s in sets if len(s) > 1)
