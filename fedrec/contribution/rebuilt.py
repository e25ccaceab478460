"""Contributions under secure aggregation, from single updates that group sums let one guess.

Groups of m merchants or more are opened in every round (`fedrec.contribution.groups`), in other
company each time, and what a merchant sends in one round resembles what it sends in the next.
So every update is split into the merchant's share of the round's sum and a part of its own that
stays from round to round: with weights w_i, the sum S_t of all updates of round t, and its norm
|S_t|,

    update_it = w_i / (sum of w) * S_t + |S_t| * d_i,

and the d_i are what explains the groups' sums best (ridge regression, one number after another),

    minimise  sum over t, G of (S_tG / |S_t| - w_G / w * S_t / |S_t| - sum_{i in G} d_i)^2
              + RIDGE sum_i d_i^2.

What is left of a group's sum is shared out among its members by weight, so that guesses add up
to every sum that was opened.  Models of any merchants are then put together from the guesses,
as from updates in clear (Song et al., IEEE Big Data 2019), and their utilities, which are
summed securely, give Shapley values.  Unlike utilities of groups, which know coalitions of one
size alone (group testing: Jia et al., "Towards efficient data valuation based on the Shapley
value", AISTATS 2019), they tell what a merchant adds in small company and in large.

What it opens: the same sums, nothing more; but it makes plain what they say.  In one round a
merchant is hidden among those of its group.  Over many rounds the guesses come near the mean
of its updates (a law of large numbers: groupings even out, what repeats stays), and weights of
merchants, which are the same in every round, are solved exactly.  Noise that would hide d_i
would hide contributions likewise; to open less, open groups in fewer rounds
(`contribution.rounds`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedrec.contribution.groups import Groups
from fedrec.params import PartialSum, Shared, SparseRows

Floats = NDArray[np.float64]
RIDGE = 1.0
"""A merchant's own part is drawn towards none as if one more round had told of it."""


@dataclass(frozen=True, eq=False)
class Opened:
    """The sums of a round's groups.

    Attributes:
        number: of the round.
        groups: the merchants of each group, int64, ascending; a partition.
        sums: the sum of each group's weighted updates.
    """

    number: int
    groups: Groups
    sums: tuple[PartialSum, ...]


@dataclass(frozen=True, eq=False)
class Guesses:
    """What each merchant seems to have sent.

    Attributes:
        numbers: of the rounds.
        updates: float64 [T, n, D], weighted updates laid out as `flat` does.
        weight: float64 [n], of the merchants.
        like: shared parameters, for names and shapes.
    """

    numbers: tuple[int, ...]
    updates: Floats
    weight: Floats
    like: Shared

    def sum_of(self, at: int, members: Sequence[int]) -> PartialSum:
        """Return the sum that some merchants seem to have sent in the round at position `at`."""
        chosen = sorted(members)
        weight = float(self.weight[chosen].sum())
        return _as_sum(self.updates[at, chosen].sum(0), self.like, weight, len(chosen))


def flat(total: PartialSum, like: Shared) -> Floats:
    """Return a sum as one vector, float64 [D]: tables, dense weights, and weights of rows."""
    parts = [total.tables[n].dense(len(table)).ravel() for n, table in like.tables.items()]
    parts += [np.asarray(total.weights[name]).ravel() for name in like.weights]
    for name, table in like.tables.items():
        rows = SparseRows(total.tables[name].ids, total.row_weight[name][:, None])
        parts.append(rows.dense(len(table)).ravel())
    return np.concatenate(parts).astype(np.float64)


def _as_sum(vector: Floats, like: Shared, weight: float, num_clients: int) -> PartialSum:
    """Return the sum that `flat` has made a vector of."""
    moves, at = {}, 0
    for name, value in (*like.tables.items(), *like.weights.items()):
        moves[name] = vector[at : at + value.size].reshape(value.shape)
        at += value.size
    tables, row_weight = {}, {}
    for name, table in like.tables.items():
        tables[name] = SparseRows(np.arange(len(table)), moves[name])
        row_weight[name] = np.maximum(vector[at : at + len(table)], 0.0)
        at += len(table)
    return PartialSum(tables, row_weight, {n: moves[n] for n in like.weights}, weight, num_clients)


def opened_of(arrays: Mapping[str, Floats], meta: Mapping[str, Any], like: Shared) -> Opened:
    """Return a round that was kept.

    Args:
        arrays: number of a group -> its sum, as `flat` laid it out.
        meta: "number" of the round, and of each group "groups" (members), "weight", "clients".
        like: shared parameters, for names and shapes.
    """
    groups = tuple(np.array(g, np.int64) for g in meta["groups"])
    of = zip(meta["weight"], meta["clients"], strict=True)
    sums = (_as_sum(arrays[str(k)], like, weight, count) for k, (weight, count) in enumerate(of))
    return Opened(int(meta["number"]), groups, tuple(sums))


def guess(rounds: Sequence[Opened], players: int, like: Shared) -> Guesses:
    """Guess what each merchant has sent.

    Args:
        rounds: at least one.
        players: n.
        like: shared parameters, for names and shapes.
    """
    groups = [g for one in rounds for g in one.groups]
    member = np.array([np.isin(np.arange(players), g) for g in groups], np.float64)
    told = np.array([total.weight for one in rounds for total in one.sums])
    sums = np.array([flat(total, like) for one in rounds for total in one.sums])
    weight = weights_of(member, told)
    share = weight / weight.sum()
    where = np.repeat(np.arange(len(rounds)), [len(one.groups) for one in rounds])
    whole = np.array([sums[where == t].sum(0) for t in range(len(rounds))])
    size = _scale(whole, like)
    left = (sums - (member @ share)[:, None] * whole[where]) / size[where]
    own = np.linalg.solve(member.T @ member + RIDGE * np.eye(players), member.T @ left)
    updates = np.zeros((len(rounds), players, sums.shape[1]))
    for t, g, total in zip(where, groups, sums, strict=True):
        first = share[g, None] * whole[t] + size[t] * own[g]
        updates[t, g] = first + (share[g] / share[g].sum())[:, None] * (total - first.sum(0))
    return Guesses(tuple(one.number for one in rounds), updates, weight, like)


def _scale(whole: Floats, like: Shared) -> Floats:
    """Return what own parts are multiplied by, float64 [T, D]: a sum's norm; 1 for row weights."""
    moves = sum(v.size for v in (*like.tables.values(), *like.weights.values()))
    norm = np.maximum(np.linalg.norm(whole[:, :moves], axis=1), np.finfo(np.float64).tiny)
    out = np.ones_like(whole)
    out[:, :moves] = norm[:, None]
    return out


def weights_of(member: Floats, told: Floats) -> Floats:
    """Return the merchants' weights that fit the weights of groups best, all above 0.

    Args:
        member: float64 [E, n], 1 where a merchant is in the group.
        told: float64 [E], the summed weight of each group.
    """
    even = told.sum() / member.sum()
    found = even + np.linalg.lstsq(member, told - even * member.sum(1), rcond=None)[0]
    return np.maximum(found, 1e-3 * even)


def alignment(guesses: Guesses) -> Floats:
    """Return the cosine of each merchant's guessed mean update and that of all others, float64 [n].

    Honest merchants of one market pull the shared model the same way to some degree.  Noise
    does not, nor do updates that push single items; old updates do, but the sums of the others
    show that they are missing what is new.  Low says unlike, which is not the same as dishonest.

    Args:
        guesses: of all merchants.
    """
    like = guesses.like
    moves = sum(v.size for v in (*like.tables.values(), *like.weights.values()))
    updates = guesses.updates[:, :, :moves]
    norm = np.linalg.norm(updates.sum(1), axis=1)
    mean = (updates / np.maximum(norm, np.finfo(np.float64).tiny)[:, None, None]).mean(0)
    mean = mean / guesses.weight[:, None]
    others = mean.sum(0) - mean
    size = np.linalg.norm(mean, axis=1) * np.linalg.norm(others, axis=1)
    found: Floats = (mean * others).sum(1) / np.maximum(size, np.finfo(np.float64).tiny)
    return found


Apply = Callable[[Shared, PartialSum, int], Shared]
"""(parameters, sum, round) -> parameters after it; remembers what an optimiser remembers."""


def replay_guesses(
    guesses: Guesses, coalition: frozenset[int], before: Shared, apply: Apply
) -> Shared:
    """Return the model that the guessed updates of some merchants add up to.

    Args:
        guesses: of all merchants.
        coalition: whose updates are taken.
        before: the first parameters.
        apply: as a server in its first state does.
    """
    shared = before
    for at, number in enumerate(guesses.numbers if coalition else ()):
        shared = apply(shared, guesses.sum_of(at, sorted(coalition)), number)
    return shared
