"""Which merchants are alike, from secure sums alone.

A merchant's profile is the share of its sales in each category.  Three sums over merchants
are taken, each masked, so that the server sees no profile:

1. of the profiles: their mean is the centre;
2. for each of a few public directions, drawn at random: how many merchants lie on one side
   of the centre, and how far all lie from it.  The direction along which they differ most,
   with enough of them on both sides, cuts them into two groups;
3. for each group: of the centred profiles (`kmeans.ask`, which never sums fewer than it may).

The newcomer is sent the centre and the two groups' mean profiles and finds for itself which
group it is most like: nothing of it leaves.  Each merchant is asked once for each sum.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fedrec.coldstart.kmeans import Told, ask
from fedrec.errors import ConfigError
from fedrec.rng import NO_CLIENT, Purpose, generator
from fedrec.secure.quantise import FixedPoint, decode, encode
from fedrec.secure.simulate import SecureSum, simulate

if TYPE_CHECKING:
    import scipy.sparse as sp

FEWEST = 3
"""Merchants in a group: of two, each would learn the other's from the sum."""

DIRECTIONS = 16
"""Public directions that are tried: far fewer sums than profiles have elements."""

_SCHEME = FixedPoint(bits=16, clip=1.0)


@dataclass(frozen=True, eq=False)
class Groups:
    """What the server learns of the merchants, and may tell anybody.

    Attributes:
        centre: float64 [F], the mean profile.
        direction: float64 [F], what cuts the merchants into groups.
        vectors: float64 [G, F], the groups' mean centred profiles, 1 or 2 of them.
        members: int64 [G], how many merchants there are in each.
        sessions: the secure sums, with their transcripts and bytes.
    """

    centre: NDArray[np.float64]
    direction: NDArray[np.float64]
    vectors: NDArray[np.float64]
    members: NDArray[np.int64]
    sessions: tuple[SecureSum, ...]

    def nearest(self, profile: NDArray[np.float64]) -> int:
        """Return the group that a profile (float64 [F]) is most like; on the newcomer."""
        unit = _unit(self.vectors)
        return int(np.argmax(unit @ (profile - self.centre)))

    def of_member(self, profile: NDArray[np.float64]) -> int:
        """Return the group that a merchant has been counted in; on that merchant."""
        if len(self.vectors) == 1:
            return 0
        return int((profile - self.centre) @ self.direction < 0)


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
    profiles: NDArray[np.float64], *, seed: int, mode: str = "semi-honest"
) -> Groups:
    """Cut merchants into two groups by secure sums; one group where there are too few.

    Args:
        profiles: float64 [M, F], one on each merchant.
        seed: of the public directions.
        mode: of the secure sums: "semi-honest" or "malicious-server".

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
    directions = _unit(drawn.standard_normal((DIRECTIONS, width)))
    along = (profiles - centre) @ directions.T
    sides = np.concatenate([along >= 0, np.abs(along)], axis=1).astype(np.float64)
    second = simulate(encode(sides, 1, _SCHEME), mode=mode)
    direction = directions[_cut(decode(second.total, _SCHEME)[0], number)]
    told = _asked(profiles - centre, direction, mode)
    vectors = told.sums[:, :-1] / np.maximum(told.members, 1)[:, None]
    return Groups(centre, direction, vectors, told.members, (first, second, *told.sessions))


def _cut(sums: NDArray[np.float64], number: int) -> int:
    """Choose a direction: with enough merchants on both sides, and the widest spread."""
    ahead, spread = np.round(sums[:DIRECTIONS]), sums[DIRECTIONS:]
    fits = (ahead >= FEWEST) & (number - ahead >= FEWEST)
    return int(np.argmax(np.where(fits, spread, -1.0) if fits.any() else spread))


def _asked(centred: NDArray[np.float64], direction: NDArray[np.float64], mode: str) -> Told:
    """Sum the profiles of both sides; of all merchants together where one has too few."""
    none = np.zeros(len(centred))
    both = np.stack([direction, -direction])
    return ask(_unit(centred), none, both, FEWEST, mode)


def _unit(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    norm = np.sqrt(np.square(vectors).sum(-1, keepdims=True))
    return vectors / np.maximum(norm, np.finfo(np.float64).tiny)
