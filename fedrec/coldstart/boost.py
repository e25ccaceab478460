"""An exploration boost for new items, under a budget.

A model that knows an item by its attributes alone says little of it, and what is never shown
is never learnt about.  So a new item gets a bonus in every user's scores, which fades as it is
shown (an optimistic start, as in upper confidence bounds: Li et al., WWW 2010).  The budget
says what this may cost at most: the share of a list's places that items may take which would
not stand in it by their own scores, and the times that one item may be shown.

How often an item has been shown is a sum over devices (a secure count, published from time
to time); the bonus, the draw and the list are made on the device.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedrec.errors import ConfigError
from fedrec.rng import Purpose, draw, keys, uniform

Scores = NDArray[np.float32]


@dataclass(frozen=True)
class Boost:
    """How much new items are favoured, and what it may cost.

    Attributes:
        strength: bonus of an item that was never shown, in standard deviations of the user's
            scores; 0: none.
        share: of the places of a list that boosted items may take, on average.
        half: times that an item has been shown after which its bonus is half.
        budget: times that an item may be shown before its bonus ends; 0: it only fades.
    """

    strength: float = 1.0
    share: float = 0.1
    half: float = 100.0
    budget: int = 1000

    def __post_init__(self) -> None:
        sane = self.strength >= 0 and 0 <= self.share <= 1 and self.half > 0 and self.budget >= 0
        if not sane:
            raise ConfigError(
                "a boost needs strength >= 0, 0 <= share <= 1, half > 0 and budget >= 0, got "
                f"{self}"
            )

    def bonus(self, new: NDArray[np.bool_], shown: NDArray) -> NDArray[np.float64]:
        """Return the bonus of each item, in standard deviations of a user's scores.

        Args:
            new: bool [I], items that are boosted.
            shown: int or float [I], times each was shown so far, as published.

        Returns:
            float64 [I], 0 for items that are known or have had their budget.
        """
        faded = self.strength * np.exp2(-np.asarray(shown, np.float64) / self.half)
        spent = (shown >= self.budget) if self.budget else np.zeros(len(new), bool)
        return np.where(new & ~spent, faded, 0.0)

    def places(self, k: int, users: NDArray[np.int64], moment: int, seed: int) -> NDArray[np.int64]:
        """Return how many places of a list of k each user's boosted items may take, int64 [b].

        ``share * k`` is rounded up or down at random, so that it holds on average.

        Args:
            k: places of a list.
            users: int64 [b], whose lists these are.
            moment: which of a user's lists, so that each is drawn anew.
            seed: of the draws.
        """
        low, part = divmod(self.share * k, 1.0)
        lucky = uniform(draw(keys(seed, moment, users, Purpose.EXPLORATION), 0)) < part
        return (int(low) + lucky).astype(np.int64)


def boosted_lists(
    scores: Scores, bonus: NDArray[np.float64], k: int, places: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return the k best items of each user, with boosted ones among them.

    Of the items that a bonus lifts into the k best the best `places` are taken; they stand in
    the place of the worst of the others.  What stands there by its own score takes no budget.

    Args:
        scores: float32 [b, I], minus infinity for what may not be shown.
        bonus: float64 [I], from `Boost.bonus`.
        k: places of a list, at most as many as any user may be shown.
        places: int64 [b], from `Boost.places`.

    Returns:
        int64 [b, k] items, best boosted score first; bool [b, k], which took a boosted place.
    """
    own = _best(scores, k)
    finite = np.where(np.isfinite(scores), scores, np.nan)
    spread = np.nanstd(finite, axis=1, keepdims=True)
    raised = scores + (bonus * spread).astype(np.float32)
    best = _best(raised, k)
    lifted = ~(best[:, :, None] == own[:, None, :]).any(2)
    taken = lifted & (np.cumsum(lifted, 1) <= places[:, None])
    number = taken.sum(1)
    out = np.where(np.arange(k) < k - number[:, None], own, -1)
    row, column = np.nonzero(taken)
    out[row, (k - number[row]) + np.cumsum(taken, 1)[row, column] - 1] = best[row, column]
    order = np.argsort(-np.take_along_axis(raised, out, 1), axis=1, kind="stable")
    mine = np.arange(k) >= k - number[:, None]
    return np.take_along_axis(out, order, 1), np.take_along_axis(mine, order, 1)


def _best(scores: NDArray, k: int) -> NDArray[np.int64]:
    """Return the k largest of each row, largest first; equal ones by number."""
    return np.argsort(-scores, axis=1, kind="stable")[:, :k]
