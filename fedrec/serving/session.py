"""A session: one user on one device, from the first event on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fedrec.coldstart.boost import boosted_lists
from fedrec.errors import DataError
from fedrec.serving.catalogue import Items
from fedrec.serving.explore import Exploration
from fedrec.serving.past import Diary, Observation, Past, as_observations, known_items
from fedrec.serving.reasons import Reason, Recommendation, Shares

HISTORY, POPULARITY, ATTRIBUTES, START = "history", "popularity", "attributes", "start"


class Adaptation(Protocol):
    """How a model follows the events of one user."""

    @property
    def how(self) -> str:
        """How, in words."""

    @property
    def attributes(self) -> tuple[str, ...]:
        """Names of the user attributes that it reads."""

    def of_user(self, attributes: Mapping[str, Any]) -> Adaptation:
        """Return the same for a user of these attributes; asked only of who reads some."""

    def start(self, past: Past) -> Any:
        """Return the state that follows from a past."""

    def grown(self, state: Any, past: Past) -> Any:
        """Return the state after the last event of a past, from the state before it."""

    def scores(self, state: Any, past: Past) -> NDArray[np.float32]:
        """Return the scores of all items, float32 [I]."""

    def shares(self, state: Any, past: Past, items: NDArray[np.int64]) -> Shares:
        """Return why these items (int64 [k]) have their scores."""


class Session:
    """One user on one device; made by `LoadedRecommender.session`.

    Nothing that it is told leaves it: the model's shared parameters are read and never
    changed.

    Attributes:
        how: how personal parameters follow from events, in words.
    """

    def __init__(
        self,
        adaptation: Adaptation,
        items: Items,
        diary: Diary,
        history: Iterable[str | Observation],
        start: str = "",
    ) -> None:
        self._adaptation, self._items, self._diary = adaptation, items, diary
        self.how, self._lists, self._start = adaptation.how, 0, start
        self._learn(as_observations(history))

    def _learn(self, seen: list[Observation]) -> None:
        known_items(self._items.place, seen, self._items.data)
        for one in seen:
            self._diary.add(one)
        self._past = self._diary.past()
        self._state = self._adaptation.start(self._past)

    def observe(
        self,
        item: str,
        *,
        event: str | None = None,
        time: float | None = None,
        rating: float | None = None,
    ) -> None:
        """Take in an event, and update the personal parameters on the device.

        Args:
            item: identifier.
            event: "view", "cart" or "purchase"; None: unknown.
            time: seconds; None: now.  An earlier time puts the event where it belongs.
            rating: needed by models of ratings, and by no others.

        Raises:
            DataError: for an unknown item or event, or a missing rating.
        """
        seen = Observation(str(item), event, time, rating)
        known_items(self._items.place, [seen], self._items.data)
        grown = self._diary.add(seen)
        before, self._past = self._past, self._diary.past()
        if grown:
            self._state = self._adaptation.grown(self._state, self._past)
        elif not _same(before, self._past):
            self._state = self._adaptation.start(self._past)

    @property
    def history(self) -> list[str]:
        """Identifiers of all items met, in the order of time."""
        return [self._items.ids[at] for at in self._diary.seen]

    @property
    def starts_from(self) -> str:
        """What recommendations rest on.

        "history"; without one "attributes" of the user, "popularity" (counts that the run
        has told), or "start": the personal values with which clients begin in a run.  Where a
        strategy was chosen, its name.
        """
        if self._start:
            return self._start
        if len(self._past):
            return HISTORY
        if self._adaptation.attributes:
            return ATTRIBUTES
        return START if self._items.counts is None else POPULARITY

    @property
    def chosen(self) -> bool:
        """Whether a strategy for users of whom little is known serves this session."""
        return bool(self._start)

    @property
    def about(self) -> dict[str, Any]:
        """What there is to say of the chosen strategy now, as plain data.

        "weights" of a mixture at this number of "events"; the nearest "prototype" of how many
        "prototypes", and its "weight" beside the user's own vector; empty for others.
        """
        told = getattr(self._adaptation, "about", None)
        return {} if told is None else dict(told(self._state, self._past))

    @property
    def _counts(self) -> NDArray | None:
        """Popularity, where it is all there is to recommend from."""
        return self._items.counts if not self._start and self.starts_from == POPULARITY else None

    def scores(self) -> NDArray[np.float32]:
        """Return the scores of all items, float32 [I], in the order of the model's items."""
        if self._counts is not None:
            return self._counts.astype(np.float32)
        return self._adaptation.scores(self._state, self._past)

    def recommend(
        self,
        k: int = 10,
        *,
        exclude_seen: bool = True,
        explain: bool = False,
        reasons: int = 3,
        explore: Exploration | None = None,
    ) -> list[Recommendation]:
        """Return the k best items.

        Args:
            k: how many; fewer if there are no more.
            exclude_seen: leave out what the user has met.
            explain: say why, which takes longer.
            reasons: the largest shares that are told of each item; 0: all.
            explore: new items, with a boost under a budget; None: by their scores alone.

        Raises:
            DataError: if k or reasons are too small, or a new item is unknown.
        """
        if k < 1 or reasons < 0:
            raise DataError(f"k = {k}, reasons = {reasons}: expected k >= 1 and reasons >= 0")
        scores = self.scores()
        left = _without(scores, self._diary.seen if exclude_seen else None)
        best, boosted = self._listed(left, k, explore)
        told: list[tuple[Reason, ...]] = [()] * len(best)
        kind = ""
        if explain:
            shares = self._shares(best)
            names = [self._items.ids[at] for at in self._past.items]
            titles = [self._items.title(at) for at in self._past.items]
            every = (shares.reasons(row, names, titles) for row in range(len(best)))
            told, kind = [tuple(one[: reasons or None]) for one in every], shares.kind
        return [
            Recommendation(
                self._items.ids[at], float(scores[at]), self._items.title(at), why, kind, new
            )
            for at, why, new in zip(best, told, boosted, strict=True)
        ]

    def _listed(
        self, left: NDArray[np.float32], k: int, explore: Exploration | None
    ) -> tuple[NDArray[np.int64], list[bool]]:
        """Return the items of a list, best first, and which stand there by their boost alone."""
        if explore is None:
            best = _best(left, k)
            return best, [False] * len(best)
        bonus = explore.bonus(self._items.place)
        k = min(k, int(np.isfinite(left).sum()))
        self._lists += 1
        items, boosted = boosted_lists(left[None], bonus, k, explore.places(k, self._lists))
        return items[0], boosted[0].tolist()

    def _shares(self, items: NDArray[np.int64]) -> Shares:
        if self._counts is not None:
            none = np.zeros((len(items), 0))
            return Shares(none, {(POPULARITY, ""): self._counts[items]}, "exact")
        return self._adaptation.shares(self._state, self._past, items)


def _without(scores: NDArray[np.float32], seen: NDArray[np.int64] | None) -> NDArray[np.float32]:
    """Return scores in which items that were seen stand at minus infinity."""
    left = scores.copy()
    if seen is not None:
        left[seen] = -np.inf
    return left


def _best(left: NDArray[np.float32], k: int) -> NDArray[np.int64]:
    """Return the items with the k largest scores above minus infinity; equal ones by number."""
    k = min(k, int(np.isfinite(left).sum()))
    if not k:
        return np.zeros(0, np.int64)
    worst = np.partition(left, len(left) - k)[len(left) - k]
    among = np.flatnonzero(left >= worst)  # all that tie with the last
    order: NDArray[np.int64] = among[np.argsort(-left[among], kind="stable")[:k]]
    return order


def _same(one: Past, other: Past) -> bool:
    pairs = ((one.items, other.items), (one.labels, other.labels), (one.levels, other.levels))
    return all(np.array_equal(a, b) for a, b in pairs)
