"""Which merchants are alike, from secure sums alone.

A merchant's profile is the share of its sales in each category.  Three sums over merchants
are taken, each masked, so that the server sees no profile:

1. of the profiles: their mean is the centre;
2. for each of a few public sets of directions, drawn at random: how many merchants point
   most to each, and how far all of them do.  The set that fits them best, with enough of
   them for each direction, cuts them into groups (for two groups a direction and its
   opposite: the two sides of the centre);
3. for each group: of the centred profiles (`kmeans.ask`, which never sums fewer than it may;
   who would be in too small a group is counted in the likest of the others).

It is the first assignment of spherical k-means (Dhillon and Modha 2001), with the best of
several random starts: further steps would ask the same merchants again, and the two sums
would differ by one who has moved.  The newcomer is sent the centre and the groups' mean
profiles and finds for itself which group it is most like: nothing of it leaves.  Each
merchant is asked once for each sum.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fedrec.coldstart.kmeans import ask
from fedrec.config_merchants import FEWEST_TOGETHER
from fedrec.errors import ConfigError
from fedrec.rng import NO_CLIENT, Purpose, generator
from fedrec.secure.quantise import FixedPoint, decode, encode
from fedrec.secure.simulate import SecureSum, simulate

if TYPE_CHECKING:
    import scipy.sparse as sp

FEWEST = FEWEST_TOGETHER
"""Merchants in a group: of two, each would learn the other's from the sum."""

DIRECTIONS = 16
"""Public sets of directions that are tried: far fewer sums than profiles have elements."""

_SCHEME = FixedPoint(bits=16, clip=1.0)


@dataclass(frozen=True, eq=False)
class Groups:
    """What the server learns of the merchants, and may tell anybody.

    Attributes:
        centre: float64 [F], the mean profile.
        directions: float64 [G, F], what cuts the merchants into groups, one for each.
        vectors: float64 [G, F], the groups' mean centred directions.
        members: int64 [G], how many merchants there are in each.
        sessions: the secure sums, with their transcripts and bytes.
    """

    centre: NDArray[np.float64]
    directions: NDArray[np.float64]
    vectors: NDArray[np.float64]
    members: NDArray[np.int64]
    sessions: tuple[SecureSum, ...]

    def nearest(self, profile: NDArray[np.float64]) -> int:
        """Return the group that a profile (float64 [F]) is most like; on the newcomer."""
        unit = _unit(self.vectors)
        return int(np.argmax(unit @ (profile - self.centre)))

    def of_member(self, profile: NDArray[np.float64]) -> int:
        """Return the group that a merchant has been counted in; on that merchant."""
        return int(np.argmax(self.directions @ (profile - self.centre)))


def profile_of(rows: sp.csr_matrix, categories: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return a merchant's profile: the share of its sales in each category, float64 [F].

    Args:
        rows: sparse [n, I], what its customers bought.
        categories: int64 [I], from 0; -1 for items without one, which count nowhere.
    """
    counts = np.asarray(rows.sum(0), np.float64).ravel()
    known = categories >= 0
    found = np.bincount(categories[known], counts[known], int(categories.max(initial=0)) + 1)
    return found / max(found.sum(), 1.0)


def group_merchants(
    profiles: NDArray[np.float64],
    *,
    seed: int,
    mode: str = "semi-honest",
    groups: int = 2,
    fewest: int = FEWEST,
) -> Groups:
    """Cut merchants into groups by secure sums; into fewer, or one, where there are too few.

    Args:
        profiles: float64 [M, F], one on each merchant.
        seed: of the public directions.
        mode: of the secure sums: "semi-honest" or "malicious-server".
        groups: K, at least 2.
        fewest: no group has fewer merchants.

    Raises:
        ConfigError: if there are fewer than three merchants, or the mode masks nothing.
    """
    number, width = profiles.shape
    if number < FEWEST or mode == "off":
        raise ConfigError(
            f"groups of merchants are secure sums over at least {FEWEST} of them: there are "
            f"{number}, with the mode {mode!r}"
        )
    first = simulate(encode(profiles, 1, _SCHEME), mode=mode)
    centre = decode(first.total, _SCHEME)[0] / number
    drawn = generator(seed, 0, NO_CLIENT, Purpose.MERCHANT_GROUPS)
    sets = _unit(drawn.standard_normal((DIRECTIONS, groups - 1, width)))
    sets = np.concatenate([sets, _unit(-sets.sum(1, keepdims=True))], axis=1)
    likeness = np.einsum("mf,skf->msk", profiles - centre, sets)
    sides = np.eye(groups)[likeness.argmax(2)].reshape(number, -1)
    second = simulate(
        encode(np.concatenate([sides, likeness.max(2)], axis=1), 1, _SCHEME), mode=mode
    )
    chosen = sets[_cut(decode(second.total, _SCHEME)[0], groups, fewest)]
    told = ask(_unit(profiles - centre), np.zeros(number), chosen, fewest, mode)
    sessions = (first, second, *told.sessions)
    if not len(told.kept):  # nowhere enough: all are one group, whose sum is the centre
        none = np.zeros((1, width))
        return Groups(centre, none, none, np.array([number]), sessions)
    vectors = told.sums[:, :-1] / np.maximum(told.members, 1)[:, None]
    return Groups(centre, chosen[told.kept], vectors, told.members, sessions)


def _cut(sums: NDArray[np.float64], groups: int, fewest: int) -> int:
    """Choose a set of directions: with most groups of enough merchants, then the best fit.

    Args:
        sums: float64 [S K + S], counts of merchants by set and group, and summed likenesses.
        groups: K.
        fewest: what is enough.
    """
    counts = np.round(sums[: DIRECTIONS * groups]).reshape(DIRECTIONS, groups)
    enough = (counts >= fewest).sum(1)
    fit = sums[DIRECTIONS * groups :]
    return int(np.argmax(np.where(enough == enough.max(), fit, -np.inf)))


def _unit(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    norm = np.sqrt(np.square(vectors).sum(-1, keepdims=True))
    return vectors / np.maximum(norm, np.finfo(np.float64).tiny)
