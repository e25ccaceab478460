"""How data are cleaned, and the account of it: one line a step, in numbers that can be added."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from fedrec.config_sections import DataSection
from fedrec.data.interactions import EVENTS
from fedrec.errors import DataError


@dataclass(frozen=True)
class Rules:
    """How to clean.

    Attributes:
        explicit: ratings are what is predicted (else an interaction counts).
        min_rating: implicit: drop interactions rated below this; 0 keeps all.
        rating_low: explicit: lowest valid rating.
        rating_high: explicit: highest valid rating.
        user_core: drop users with fewer items, repeated until stable; 0 is off.
        item_core: drop items with fewer users, repeated until stable; 0 is off.
        max_events_per_day: drop users with more events on one UTC day; 0 is off.
        per_merchant: keep one interaction per (merchant, user, item) instead of
            per (user, item): merchants are the clients, and each keeps its own.
        first: a pair that came again stands where it came first, so that what comes later
            changes nothing before it; else where it came last.
    """

    explicit: bool = False
    min_rating: float = 0.0
    rating_low: float = 1.0
    rating_high: float = 5.0
    user_core: int = 0
    item_core: int = 0
    max_events_per_day: int = 0
    per_merchant: bool = False
    first: bool = False

    @property
    def rated(self) -> bool:
        """Whether a row needs a rating to be used."""
        return self.explicit or self.min_rating > 0

    @property
    def core(self) -> bool:
        """Whether users or items with few interactions are dropped."""
        return self.user_core > 1 or self.item_core > 1


def rules_of(section: DataSection, per_merchant: bool = False) -> Rules:
    """Return how a `data` section asks to clean."""
    return Rules(
        explicit=section.feedback == "explicit",
        min_rating=section.min_rating,
        rating_low=section.rating_low,
        rating_high=section.rating_high,
        user_core=section.user_core,
        item_core=section.item_core,
        max_events_per_day=section.max_events_per_day,
        per_merchant=per_merchant,
        first=section.repeats == "first",
    )


@dataclass(frozen=True)
class Tally:
    """What the steps of cleaning found, in numbers; those of pieces of the data can be added.

    Attributes:
        read: rows.
        missing: rows without user or item (or merchant), dropped.
        unrated: rows without a rating.
        outside: rows whose rating is too low or too high, dropped.
        broken: rows with a broken time, dropped.
        automated: rows of automated-looking users, dropped.
        busy: such users.
        repeated: rows of a pair that came again, dropped.
        core: rows of users or items with too few, dropped.
        earliest: time of the rows that were kept, seconds; likewise `latest`.
    """

    read: int = 0
    missing: int = 0
    unrated: int = 0
    outside: int = 0
    broken: int = 0
    automated: int = 0
    busy: int = 0
    repeated: int = 0
    core: int = 0
    earliest: float = np.inf
    latest: float = -np.inf

    def __add__(self, other: Tally) -> Tally:
        """Put what two pieces of the data told together."""
        extremes = {"earliest": min, "latest": max}
        return Tally(
            **{n: extremes.get(n, _sum)(v, getattr(other, n)) for n, v in vars(self).items()}
        )


def _sum(one: int, other: int) -> int:
    return one + other


def check_left(
    name: str, before: tuple[str, ...], tally: Tally, rules: Rules, columns: Collection[str]
) -> None:
    """Refuse data of which nothing is left.

    Args:
        name: of the data set.
        before: lines of the account that a reader has written.
        tally: of the steps so far.
        rules: how it is cleaned.
        columns: of its interactions.

    Raises:
        DataError: with the account up to the step that dropped the last row.
    """
    left = tally.read
    steps = _steps(tally, rules, columns)
    for number, (dropped, _) in enumerate(steps, 1):
        left -= dropped
        if not left:
            lines = [line for _, said in steps[:number] for line in said]
            raise DataError(
                f"data set {name!r}: no interaction is left after cleaning:\n  "
                + "\n  ".join([*before, *lines])
            )


def lines_of(tally: Tally, rules: Rules, columns: Collection[str]) -> list[str]:
    """Return the account of cleaning, without that of renumbering."""
    return [line for _, said in _steps(tally, rules, columns) for line in said]


def _steps(tally: Tally, rules: Rules, columns: Collection[str]) -> list[tuple[int, list[str]]]:
    """Return the rows that each step dropped, and its lines."""
    t = tally
    unrated = t.unrated if rules.rated else 0
    left = t.read - t.missing - unrated - t.outside - t.broken
    missing = "missing user, item or merchant" if "merchant" in columns else "missing user or item"
    return [
        (0, [f"read: {t.read:,} rows"]),
        (t.missing, [_dropped(missing, t.missing)]),
        (unrated + t.outside, _said_of_ratings(t, rules, columns)),
        (t.broken, _said_of_times(t, left, columns)),
        (t.automated, [_said_of_automated(t, rules, columns)]),
        (t.repeated, [_said_of_repeated(t, rules, columns)]),
        (t.core, [_said_of_core(t, rules)]),
    ]


def _dropped(what: str, number: int) -> str:
    return f"{what}: {number:,} rows dropped"


def _said_of_ratings(tally: Tally, rules: Rules, columns: Collection[str]) -> list[str]:
    if "rating" not in columns:
        return ["ratings: none in this data"]
    if not rules.rated:
        return [f"missing ratings: {tally.unrated:,} rows, kept (an interaction counts as such)"]
    what = f"rated below {rules.min_rating:g}"
    if rules.explicit:
        what = f"ratings outside {rules.rating_low:g} to {rules.rating_high:g}"
    return [_dropped("missing ratings", tally.unrated), _dropped(what, tally.outside)]


def _said_of_times(tally: Tally, left: int, columns: Collection[str]) -> list[str]:
    if "timestamp" not in columns:
        return ["times: none in this data, the order of rows is the time"]
    what = "broken times (missing, unreadable, before 1970, after 2200)"
    said = [_dropped(what, tally.broken)]
    if left > 1 and tally.earliest == tally.latest:
        said.append("times: all equal, so the order of rows decides what is latest")
    return said


def _said_of_automated(tally: Tally, rules: Rules, columns: Collection[str]) -> str:
    what = "automated-looking users"
    if rules.max_events_per_day <= 0:
        return f"{what}: not looked for (data.max_events_per_day = 0)"
    if "timestamp" not in columns:
        return f"{what}: cannot be told without times"
    users = f"({tally.busy:,} users over {rules.max_events_per_day} events a day)"
    return f"{_dropped(what, tally.automated)} {users}"


def _said_of_repeated(tally: Tally, rules: Rules, columns: Collection[str]) -> str:
    shops = rules.per_merchant and "merchant" in columns
    what = "merchant, user and item" if shops else "user and item"
    kept = "first" if rules.first else "latest"
    line = f"{_dropped(f'repeated pairs of {what}', tally.repeated)}, the {kept} of each kept"
    if "event" in columns and tally.repeated and not rules.first:
        line += f" with the strongest event ({' < '.join(EVENTS)})"
    return line


def _said_of_core(tally: Tally, rules: Rules) -> str:
    if not rules.core:
        return "k-core: not asked for (data.user_core, data.item_core)"
    return _dropped(f"k-core ({rules.user_core} per user, {rules.item_core} per item)", tally.core)


def without_line(what: str, before: int, kept: int) -> str:
    """Return the line of the account about entities that renumbering leaves out."""
    return f"{what} without any interaction left: {before - kept:,} of {before:,} dropped"


def kept_line(rows: int, users: int, items: int) -> str:
    """Return the last line of the account."""
    return f"kept: {rows:,} rows of {users:,} users and {items:,} items"
