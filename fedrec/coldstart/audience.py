"""To which users should a new item be shown?  Answered on the devices; only counts leave.

Each client scores the item among all that it has not met, with its own parameters, and
keeps the rank to itself.  It adds a one to a vector of counts: in the place of the coarse
rank that the item has for it, and again for its value of each attribute asked about.  The
vector is masked, so that the server learns the sums over clients and nothing else: how many
would find the item among their 10, 20, 50 best.  Whoever has a number of users in mind is
told the rank to stop at, and each device decides for itself whether it shows the item.

Values of attributes that few clients have are counted as unknown; these numbers of clients
are a secure sum of their own, taken first.  Whoever asks is told counts in steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from fedrec.data.interactions import Attribute, Catalogue
from fedrec.data.population import Population, expand
from fedrec.errors import ConfigError, DataError, nearest
from fedrec.evaluation.evaluator import user_blocks
from fedrec.rng import NO_CLIENT, Purpose, generator
from fedrec.secure.simulate import SecureSum, simulate
from fedrec.training.scorer import Scorer

UNKNOWN = "(other or unknown)"
MET = 0
"""The place of clients that have met the item: they are not asked to see it again."""

_LEAST = 3


@dataclass(frozen=True)
class Reach:
    """Clients that would find the item among their best.

    Attributes:
        clients: how many were asked and have not met it.
        within: for each rank asked about, how many would find it there.
    """

    clients: int
    within: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Audience:
    """The answer, made of secure counts alone, which are told in steps.

    Attributes:
        item: identifier.
        ranks: asked about, ascending.
        asked: clients that took part.
        met: of these, how many have met the item already.
        everyone: all together.
        segments: attribute -> value -> the clients with it.
        step: counts are rounded down to a multiple of it.
        sessions: the secure sums, with their transcripts and bytes.
    """

    item: str
    ranks: tuple[int, ...]
    asked: int
    met: int
    everyone: Reach
    segments: dict[str, dict[str, Reach]]
    step: int
    sessions: tuple[SecureSum, ...]

    def rank_for(self, users: int) -> int | None:
        """Return the largest rank that reaches at most so many of those asked; None: none."""
        most = [within + self.step - 1 for within in self.everyone.within]
        fits = [rank for rank, number in zip(self.ranks, most, strict=True) if number <= users]
        return max(fits, default=None)


def ask_audience(
    population: Population,
    scorer: Scorer,
    item: int,
    *,
    ranks: Sequence[int],
    by: Sequence[str] = (),
    fewest: int = 10,
    mode: str = "semi-honest",
    sample: int = 0,
    seed: int = 0,
) -> Audience:
    """Ask the devices of user clients to whom an item should be shown.

    Args:
        population: of user clients; what each has met is known to it alone.
        scorer: what each client scores with (`fedrec.coldstart.devices.device_scorer`).
        item: its number.
        ranks: how far down a list the item may stand, ascending.
        by: attributes of users, by which counts are told apart; of a number its edges, as in
            "age:30,50".
        fewest: a value that fewer clients have is counted as unknown, and counts are rounded
            down to a multiple of it, so that no difference of two is of few clients.
        mode: of the secure sums: "semi-honest" or "malicious-server".
        sample: ask so many clients, drawn at random; 0: all.
        seed: of the sample.

    Raises:
        ConfigError: if clients host many users, ranks do not ascend, or the mode masks nothing.
        DataError: if users have no such attribute.
    """
    levels = _checked(population, ranks, fewest, mode)
    clients = _asked(population.num_clients, sample, seed)
    bucket = np.searchsorted(levels, local_ranks(population, scorer, item, clients)) + 1
    bucket[_have_met(population, item, clients)] = MET
    ones = np.eye(len(levels) + 2, dtype=np.uint64)[bucket]
    groups, sessions = _groups(population.split.dataset.users, by, clients, fewest, mode)
    parts = [ones, *(_products(ones, group.place, len(group.names)) for group in groups)]
    last = simulate(np.concatenate(parts, axis=1), mode=mode)
    tables = last.total.astype(np.int64).reshape(-1, len(levels) + 2)
    segments, at = {}, 1
    for name, group in zip(by, groups, strict=True):
        rows = zip(group.names, tables[at : at + len(group.names)], strict=True)
        segments[name.partition(":")[0]] = {n: _reach(row, fewest) for n, row in rows}
        at += len(group.names)
    return Audience(
        item=str(population.split.dataset.items.ids[item]),
        ranks=tuple(int(r) for r in levels),
        asked=len(last.survivors),
        met=_told(tables[0, MET], fewest),
        everyone=_reach(tables[0], fewest),
        segments=segments,
        step=fewest,
        sessions=(*sessions, last),
    )


@dataclass(frozen=True, eq=False)
class _Group:
    """An attribute as it is counted by: the place of each client asked, and the names."""

    place: NDArray[np.int64]
    names: tuple[str, ...]


def _groups(
    users: Catalogue, by: Sequence[str], clients: NDArray[np.int64], fewest: int, mode: str
) -> tuple[list[_Group], list[SecureSum]]:
    """Count the values of attributes by a secure sum; rare ones are counted as unknown."""
    if not by:
        return [], []
    codes = [_codes(users, name) for name in by]
    ones = [np.eye(len(n) + 1, dtype=np.uint64)[c[clients] + 1] for c, n in codes]
    first = simulate(np.concatenate(ones, axis=1), mode=mode)
    groups, at = [], 0
    for code, names in codes:
        counts = first.total[at + 1 : at + 1 + len(names)]
        kept = np.flatnonzero(counts >= fewest)
        new = np.zeros(len(names) + 1, np.int64)
        new[kept + 1] = 1 + np.arange(len(kept))
        groups.append(_Group(new[code[clients] + 1], (UNKNOWN, *(names[n] for n in kept))))
        at += len(names) + 1
    return groups, [first]


def local_ranks(
    population: Population, scorer: Scorer, item: int, clients: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return the rank of an item among all that each client has not met; it stays there.

    Args:
        population: of user clients.
        scorer: of them.
        item: its number.
        clients: int64 [C].

    Returns:
        int64 [C], from 1; of equal scores the item comes last.
    """
    found = np.empty(len(clients), np.int64)
    for begin, end in user_blocks(len(clients), population.num_items):
        block = clients[begin:end]
        scores = np.array(scorer(block), np.float32)
        own = scores[:, item].copy()
        lengths = population.indptr[block + 1] - population.indptr[block]
        rows = np.repeat(np.arange(len(block)), lengths)
        scores[rows, population.items[expand(population.indptr, block)]] = -np.inf
        scores[:, item] = -np.inf
        found[begin:end] = 1 + (scores >= own[:, None]).sum(1)
    return found


def _checked(
    population: Population, ranks: Sequence[int], fewest: int, mode: str
) -> NDArray[np.int64]:
    levels = np.asarray(ranks, np.int64)
    if not population.user_clients:
        raise ConfigError("an audience is asked of the devices of users: set clients.unit = 'user'")
    if not len(levels) or levels[0] < 1 or (np.diff(levels) <= 0).any():
        raise ConfigError(f"ranks = {list(ranks)}: expected whole numbers from 1 on, ascending")
    if fewest < _LEAST or mode == "off":
        raise ConfigError(
            f"an audience is counted by secure sums, and counts below {_LEAST} are never told: the "
            f"least count is {fewest}, the mode {mode!r}. Use 'semi-honest' or 'malicious-server'"
        )
    return levels


def _asked(number: int, sample: int, seed: int) -> NDArray[np.int64]:
    if not sample or sample >= number:
        return np.arange(number)
    drawn = generator(seed, 0, NO_CLIENT, Purpose.AUDIENCE)
    return np.sort(drawn.choice(number, max(sample, _LEAST), replace=False))


def _have_met(population: Population, item: int, clients: NDArray[np.int64]) -> NDArray[np.bool_]:
    owner = np.repeat(np.arange(population.num_users), np.diff(population.indptr))
    who = np.zeros(population.num_users, bool)
    who[owner[population.items == item]] = True
    return who[clients]


def _codes(users: Catalogue, asked: str) -> tuple[NDArray[np.int64], list[str]]:
    """Return the values of users (-1 where missing), and the names of these.

    Raises:
        DataError: if there is no such attribute, or it has no single value.
        ConfigError: if a number comes without edges, or with some that do not ascend.
    """
    name, _, text = asked.partition(":")
    if name not in users.attributes:
        hint = nearest(name, users.attributes) if users.attributes else " They have none."
        raise DataError(f"users have no attribute {name!r}.{hint}")
    attribute: Attribute = users.attributes[name]
    if attribute.kind == "category":
        return attribute.values.astype(np.int64), list(attribute.vocabulary)
    if attribute.kind != "number":
        raise DataError(f"the attribute {name!r} of users is no category or number")
    edges = _edges(name, text)
    ends = [f"below {edges[0]:g}", *(f"{a:g} to {b:g}" for a, b in pairwise(edges)),
            f"from {edges[-1]:g}"]  # fmt: skip
    code = np.digitize(attribute.values, edges)
    return np.where(np.isnan(attribute.values), -1, code), ends


def _edges(name: str, text: str) -> list[float]:
    try:
        edges = [float(word) for word in text.split(",")]
    except ValueError:
        edges = []
    if not edges or any(a >= b for a, b in pairwise(edges)) or not np.isfinite(edges).all():
        raise ConfigError(
            f"{name!r} is a number, which is cut where whoever asks says (the smallest and the "
            f"largest are somebody's): expected {name}:30,50 with ascending numbers, got {text!r}"
        )
    return edges


def _products(
    ones: NDArray[np.uint64], value: NDArray[np.int64], number: int
) -> NDArray[np.uint64]:
    """Return each client's one in the row of its value, uint64 [C, number * width]."""
    there = np.eye(number, dtype=np.uint64)[value]
    return (there[:, :, None] * ones[:, None, :]).reshape(len(ones), -1)


def _reach(counts: NDArray[np.int64], fewest: int) -> Reach:
    """Return what is told of the counts of a group: [met, within the 1st rank, ..., beyond]."""
    new = counts[MET + 1 :]
    within = tuple(_told(n, fewest) for n in np.cumsum(new[:-1]))
    return Reach(_told(new.sum(), fewest), within)


def _told(count: np.int64, fewest: int) -> int:
    return int(count // fewest * fewest)
