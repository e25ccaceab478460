"""Cleaning, with an account of every step: nothing is dropped silently."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fedrec.data.interactions import EVENTS, Catalogue, Dataset, Interactions, Truth
from fedrec.errors import DataError

_DAY = 86_400.0
_LATEST = 7_258_118_400.0  # 2200-01-01: a later time is a wrong unit, not a date


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
    """

    explicit: bool = False
    min_rating: float = 0.0
    rating_low: float = 1.0
    rating_high: float = 5.0
    user_core: int = 0
    item_core: int = 0
    max_events_per_day: int = 0
    per_merchant: bool = False


def clean(raw: Dataset, rules: Rules) -> Dataset:
    """Drop what cannot be used and say so; renumber what remains.

    Identifiers may be missing (-1), ratings and times may be NaN, and pairs of
    user and item may repeat.  Of a repeated pair the row with the latest time is
    kept (of equal times the later row), with the strongest event of the pair.
    Rows keep their order.

    Args:
        raw: a data set as a reader gives it.
        rules: how to clean.

    Returns:
        the cleaned data set, one line in `account` for each step, also for
        steps that dropped nothing.

    Raises:
        DataError: if explicit feedback is asked of data without ratings, or if
            nothing is left, with the account.
    """
    _check(raw, rules)
    rows, lines = raw.interactions, list(raw.account)
    lines.append(f"read: {len(rows):,} rows")
    for step in (_missing, _ratings, _times, _automated, _repeated, _core):
        rows, said = step(rows, rules)
        lines += said
        if not len(rows):
            raise DataError(
                f"data set {raw.name!r}: no interaction is left after cleaning:\n  "
                + "\n  ".join(lines)
            )
    cleaned, said = _compact(raw, rows)
    return replace(cleaned, account=(*lines, *said))


def _check(raw: Dataset, rules: Rules) -> None:
    if rules.explicit and raw.interactions.rating is None:
        raise DataError(
            f"data set {raw.name!r} has no ratings, which data.feedback = 'explicit' predicts. "
            f"Name the column with data.rating_column, or set data.feedback = 'implicit'."
        )
    if rules.min_rating > 0 and not rules.explicit and raw.interactions.rating is None:
        raise DataError(
            f"data set {raw.name!r} has no ratings, which data.min_rating needs. "
            f"Name the column with data.rating_column, or set data.min_rating = 0."
        )


Step = tuple[Interactions, list[str]]


def _drop(rows: Interactions, bad: NDArray[np.bool_], what: str) -> Step:
    kept = rows if not bad.any() else rows.take(~bad)
    return kept, [f"{what}: {int(bad.sum()):,} rows dropped"]


def _missing(rows: Interactions, rules: Rules) -> Step:
    bad = (rows.user < 0) | (rows.item < 0)
    what = "missing user or item"
    if rows.merchant is not None:
        bad |= rows.merchant < 0
        what = "missing user, item or merchant"
    return _drop(rows, bad, what)


def _ratings(rows: Interactions, rules: Rules) -> Step:
    if rows.rating is None:
        return rows, ["ratings: none in this data"]
    if not rules.explicit and rules.min_rating <= 0:
        unrated = int((~np.isfinite(rows.rating)).sum())
        return rows, [f"missing ratings: {unrated:,} rows, kept (an interaction counts as such)"]
    finite = np.isfinite(rows.rating)
    rating = rows.rating[finite]
    rows, said = _drop(rows, ~finite, "missing ratings")
    if rules.explicit:
        low, high = rules.rating_low, rules.rating_high
        bad = (rating < low) | (rating > high)
        rows, more = _drop(rows, bad, f"ratings outside {low:g} to {high:g}")
    else:
        bad = np.less(rating, rules.min_rating)
        rows, more = _drop(rows, bad, f"rated below {rules.min_rating:g}")
    return rows, said + more


def _times(rows: Interactions, rules: Rules) -> Step:
    if rows.timestamp is None:
        return rows, ["times: none in this data, the order of rows is the time"]
    time = rows.timestamp
    with np.errstate(invalid="ignore"):
        bad = ~np.isfinite(time) | (time < 0) | (time > _LATEST)
    time = time[~bad]
    rows, said = _drop(rows, bad, "broken times (missing, unreadable, before 1970, after 2200)")
    if len(time) > 1 and np.ptp(time) == 0:
        said.append("times: all equal, so the order of rows decides what is latest")
    return rows, said


def _automated(rows: Interactions, rules: Rules) -> Step:
    what = "automated-looking users"
    if rules.max_events_per_day <= 0:
        return rows, [f"{what}: not looked for (data.max_events_per_day = 0)"]
    if rows.timestamp is None:
        return rows, [f"{what}: cannot be told without times"]
    days = np.floor(rows.timestamp / _DAY).astype(np.int64)
    key = rows.user.astype(np.int64) * (days.max() + 1) + days
    _, inverse, events = np.unique(key, return_inverse=True, return_counts=True)
    busy = np.zeros(rows.user.max() + 1, dtype=bool)
    busy[rows.user[events[inverse] > rules.max_events_per_day]] = True
    kept, said = _drop(rows, busy[rows.user], what)
    return kept, [f"{said[0]} ({busy.sum():,} users over {rules.max_events_per_day} events a day)"]


def _repeated(rows: Interactions, rules: Rules) -> Step:
    parts = [rows.user, rows.item]
    if rules.per_merchant and rows.merchant is not None:
        parts.insert(0, rows.merchant)
    key = np.zeros(len(rows), dtype=np.int64)
    for part in parts:
        key = key * (int(part.max()) + 1) + part
    time = np.zeros(len(rows)) if rows.timestamp is None else rows.timestamp
    order = np.lexsort((time, key))  # stable: of equal times the later row comes last
    ordered = key[order]
    last = np.append(ordered[1:] != ordered[:-1], True)
    kept = np.sort(order[last])
    what = "merchant, user and item" if len(parts) == 3 else "user and item"
    dropped = len(rows) - len(kept)
    line = f"repeated pairs of {what}: {dropped:,} rows dropped, the latest of each kept"
    if rows.event is None or not dropped:
        return (rows.take(kept) if dropped else rows), [line]
    first = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1]))
    strongest = np.empty_like(rows.event)
    strongest[order[last]] = np.maximum.reduceat(rows.event[order], first)
    rows = replace(rows, event=strongest).take(kept)
    return rows, [f"{line} with the strongest event ({' < '.join(EVENTS)})"]


def _core(rows: Interactions, rules: Rules) -> Step:
    if rules.user_core <= 1 and rules.item_core <= 1:
        return rows, ["k-core: not asked for (data.user_core, data.item_core)"]
    index = np.arange(len(rows))
    while len(index):
        user, item = rows.user[index], rows.item[index]
        keep = (np.bincount(user)[user] >= rules.user_core) & (
            np.bincount(item)[item] >= rules.item_core
        )
        if keep.all():
            break
        index = index[keep]
    line = f"k-core ({rules.user_core} per user, {rules.item_core} per item)"
    return rows.take(index), [f"{line}: {len(rows) - len(index):,} rows dropped"]


def _compact(raw: Dataset, rows: Interactions) -> tuple[Dataset, list[str]]:
    """Renumber users, items and merchants that still have an interaction."""
    user, users = _renumber(rows.user, raw.users)
    item, items = _renumber(rows.item, raw.items)
    merchant, merchants, lines = None, None, []
    if rows.merchant is not None and raw.merchants is not None:
        merchant, kept = _renumber(rows.merchant, raw.merchants)
        merchants = raw.merchants.take(kept)
        lines.append(_without("merchants", raw.merchants, kept))
    lines = [_without("users", raw.users, users), _without("items", raw.items, items), *lines]
    truth = raw.truth and Truth(
        raw.truth.user_vectors[users], raw.truth.item_vectors[items], raw.truth.item_bias[items]
    )
    lines.append(f"kept: {len(rows):,} rows of {len(users):,} users and {len(items):,} items")
    cleaned = replace(
        raw,
        interactions=replace(rows, user=user, item=item, merchant=merchant),
        users=raw.users.take(users),
        items=raw.items.take(items),
        merchants=merchants,
        truth=truth,
    )
    return cleaned, lines


def _renumber(
    codes: NDArray[np.int32], catalogue: Catalogue
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    present = np.bincount(codes, minlength=len(catalogue)) > 0
    place = np.cumsum(present) - 1
    return place[codes].astype(np.int32), np.flatnonzero(present)


def _without(what: str, catalogue: Catalogue, kept: NDArray[np.int64]) -> str:
    gone = len(catalogue) - len(kept)
    return f"{what} without any interaction left: {gone:,} of {len(catalogue):,} dropped"
