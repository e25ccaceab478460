"""What a device has seen of its user, in the order of time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from fedrec.data.funnel import ANY
from fedrec.data.interactions import EVENTS
from fedrec.errors import DataError, nearest


@dataclass(frozen=True)
class Observation:
    """One event of a user.

    Attributes:
        item: identifier of the item.
        event: one of `EVENTS`; None: unknown, it counts as whatever a run learns from.
        time: seconds; None: now, after everything else.
        rating: for models of ratings.
    """

    item: str
    event: str | None = None
    time: float | None = None
    rating: float | None = None


@dataclass(frozen=True, eq=False)
class Past:
    """The events that a model learns from, one for each item.

    Attributes:
        items: int64 [n], in the order of time.
        labels: float32 [n], ratings, or 1.
        levels: int8 [n], how far each got (`fedrec.data.funnel`), -1 unknown.
    """

    items: NDArray[np.int64]
    labels: NDArray[np.float32]
    levels: NDArray[np.int8]

    def __len__(self) -> int:
        return len(self.items)


@dataclass(frozen=True)
class _Row:
    item: int
    time: float
    level: int
    label: float


@dataclass
class Diary:
    """All events of one user, kept as cleaning keeps those of a data set.

    Of a repeated item the latest time and rating stay, with the strongest event.

    Attributes:
        place: identifier -> number of the item.
        train_event: weakest event that is learnt from; "any": all are.
        rating_range: lowest and highest rating; None: ratings are not used.
    """

    place: dict[str, int]
    train_event: str = ANY
    rating_range: tuple[float, float] | None = None
    _rows: list[_Row] = field(default_factory=list)

    def add(self, seen: Observation) -> bool:
        """Take in an event.

        Returns:
            Whether it is the latest, of an item that is new and learnt from: then the past
            has grown by one at its end.

        Raises:
            DataError: for an event or rating that cannot be used.
        """
        row = self._row(seen)
        before = next((r for r in self._rows if r.item == row.item), None)
        if before is not None:
            self._rows.remove(before)
            strongest = max(row.level, before.level)
            row = replace(row, time=max(row.time, before.time), level=strongest)
        at = len(self._rows)
        while at and self._rows[at - 1].time > row.time:
            at -= 1
        self._rows.insert(at, row)
        return before is None and at == len(self._rows) - 1 and self._learns(row)

    def _row(self, seen: Observation) -> _Row:
        level = _level(seen.event)
        time, label = seen.time, 1.0
        if time is None:
            time = self._rows[-1].time if self._rows else -np.inf
        if not time < np.inf:
            raise DataError(f"time = {seen.time!r}: expected a finite number of seconds")
        if self.rating_range is not None:
            low, high = self.rating_range
            if seen.rating is None or not low <= seen.rating <= high:
                raise DataError(
                    f"item {seen.item!r} has rating = {seen.rating}: this model learns from "
                    f"ratings from {low:g} to {high:g}"
                )
            label = float(seen.rating)
        return _Row(self.place[seen.item], float(time), level, label)

    def _learns(self, row: _Row) -> bool:
        if self.train_event == ANY:
            return True
        return row.level < 0 or row.level > EVENTS.index(self.train_event)

    @property
    def seen(self) -> NDArray[np.int64]:
        """Numbers of all items met, learnt from or not, int64 [n]."""
        return np.array([r.item for r in self._rows], np.int64)

    def past(self) -> Past:
        """Return what is learnt from."""
        rows = [r for r in self._rows if self._learns(r)]
        return Past(
            np.array([r.item for r in rows], np.int64),
            np.array([r.label for r in rows], np.float32),
            np.array([r.level for r in rows], np.int8),
        )


def _level(event: str | None) -> int:
    if event is None:
        return -1
    if event not in EVENTS:
        raise DataError(f"unknown event {event!r}.{nearest(event, EVENTS)}")
    return EVENTS.index(event) + 1


def as_observations(history: Iterable[str | Observation]) -> list[Observation]:
    """Return events; an identifier alone is an event of unknown kind and time."""
    return [one if isinstance(one, Observation) else Observation(str(one)) for one in history]


def known_items(place: dict[str, int], seen: list[Observation], data: str) -> None:
    """Refuse items that the model does not know.

    Args:
        place: identifier -> number.
        seen: events.
        data: name of the data set, for the message.

    Raises:
        DataError: naming how many are unknown, and the identifier nearest to the first.
    """
    unknown = [one.item for one in seen if one.item not in place]
    if unknown:
        many = f"{len(unknown)} of {len(seen)} items are unknown" if len(seen) > 1 else "unknown"
        raise DataError(
            f"item {unknown[0]!r} is not among the {len(place)} items of {data!r} ({many})."
            f"{_near(unknown[0], place)}"
        )


def _near(word: str, place: dict[str, int]) -> str:
    """Return a hint; all items would be too many to list."""
    hint = nearest(word, place)
    few: Callable[[str], bool] = lambda text: text.startswith(" Did you mean")  # noqa: E731
    if few(hint):
        return hint
    return f" Known are, for example: {', '.join(list(place)[:3])}"
