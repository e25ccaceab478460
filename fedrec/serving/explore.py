"""New items in a session: which they are, how often each was shown, and their boost."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fedrec.coldstart.boost import Boost
from fedrec.config import Config
from fedrec.errors import DataError, nearest

_ONE = np.zeros(1, np.int64)


def _fresh() -> int:
    return secrets.randbits(62)


@dataclass(frozen=True)
class Exploration:
    """New items that lists are to try, within a budget.

    Attributes:
        shown: identifier of each new item -> times it has been shown so far, to all users
            together, as published.
        boost: how much they are favoured, and what it may cost.
        seed: of the places that a list gives away; drawn anew on every device by default.
    """

    shown: Mapping[str, int]
    boost: Boost = field(default_factory=Boost)
    seed: int = field(default_factory=_fresh)

    def bonus(self, place: Mapping[str, int]) -> NDArray[np.float64]:
        """Return the bonus of each item of a model, float64 [I].

        Args:
            place: identifier -> number of each item.

        Raises:
            DataError: if the model does not know a new item, or a count is below 0.
        """
        new, shown = np.zeros(len(place), bool), np.zeros(len(place), np.int64)
        for name, times in self.shown.items():
            if name not in place:
                raise DataError(f"the model knows no new item {name!r}.{nearest(name, place)}")
            if times < 0:
                raise DataError(f"new item {name!r} was shown {times} times: expected 0 or more")
            new[place[name]], shown[place[name]] = True, times
        return self.boost.bonus(new, shown)

    def places(self, k: int, number: int) -> NDArray[np.int64]:
        """Return the places that boosted items may take in the n-th list of k, int64 [1]."""
        return self.boost.places(k, _ONE, number, self.seed)


def explored(config: Config, shown: Iterable[tuple[str, int]]) -> Exploration:
    """Return new items with the boost and the budget of a run, `coldstart.boost*`.

    Args:
        config: of the run.
        shown: identifier and times shown of each new item.
    """
    keys = config.coldstart
    boost = Boost(keys.boost, keys.boost_share, keys.boost_half, keys.boost_budget)
    return Exploration(dict(shown), boost)
