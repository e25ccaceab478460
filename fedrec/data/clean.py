"""Cleaning, with an account of every step: nothing is dropped silently."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from fedrec.data.account import Rules as Rules
from fedrec.data.account import Tally, check_left, kept_line, lines_of, without_line
from fedrec.data.interactions import Catalogue, Dataset, Interactions, Truth
from fedrec.errors import DataError

_DAY = 86_400.0
_LATEST = 7_258_118_400.0  # 2200-01-01: a later time is a wrong unit, not a date


Step = tuple[Interactions, Tally]


def clean(raw: Dataset, rules: Rules) -> Dataset:
    """Drop what cannot be used and say so; renumber what remains.

    Identifiers may be missing (-1), ratings and times may be NaN, and pairs of
    user and item may repeat.  Of a repeated pair the row with the latest time is
    kept (of equal times the later row), with the strongest event of the pair; by
    `Rules.first` that with the earliest (of equal times the earlier row), as it is.
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
    columns = set(raw.interactions.columns())
    check_rated(raw.name, columns, rules)
    rows, tally = raw.interactions, Tally()
    for step in (each_row, each_user, _core):
        rows, found = step(rows, rules)
        tally += found
        check_left(raw.name, raw.account, tally, rules, columns)
    cleaned, said = compact(raw, rows)
    return replace(cleaned, account=(*raw.account, *lines_of(tally, rules, columns), *said))


def each_row(rows: Interactions, rules: Rules) -> Step:
    """Take the steps that look at each row alone: ids, ratings, times."""
    tally = Tally(read=len(rows))
    for step in (_missing, _ratings, _times):
        rows, found = step(rows, rules)
        tally += found
    return rows, tally


def each_user(rows: Interactions, rules: Rules) -> Step:
    """Take the steps that look at all rows of a user: automated-looking ones, repeated pairs."""
    tally = Tally()
    for step in (_automated, _repeated):
        if len(rows):
            rows, found = step(rows, rules)
            tally += found
    return rows, tally


def check_rated(name: str, columns: Collection[str], rules: Rules) -> None:
    """Refuse rules about ratings for data without ratings.

    Raises:
        DataError: saying which key asks for them.
    """
    if rules.explicit and "rating" not in columns:
        raise DataError(
            f"data set {name!r} has no ratings, which data.feedback = 'explicit' predicts. "
            f"Name the column with data.rating_column, or set data.feedback = 'implicit'."
        )
    if rules.min_rating > 0 and not rules.explicit and "rating" not in columns:
        raise DataError(
            f"data set {name!r} has no ratings, which data.min_rating needs. "
            f"Name the column with data.rating_column, or set data.min_rating = 0."
        )


def _drop(rows: Interactions, bad: NDArray[np.bool_]) -> tuple[Interactions, int]:
    return (rows if not bad.any() else rows.take(~bad)), int(bad.sum())


def _missing(rows: Interactions, rules: Rules) -> Step:
    bad = (rows.user < 0) | (rows.item < 0)
    if rows.merchant is not None:
        bad |= rows.merchant < 0
    rows, number = _drop(rows, bad)
    return rows, Tally(missing=number)


def _ratings(rows: Interactions, rules: Rules) -> Step:
    if rows.rating is None:
        return rows, Tally()
    finite = np.isfinite(rows.rating)
    if not rules.rated:
        return rows, Tally(unrated=int((~finite).sum()))
    rating = rows.rating[finite]
    rows, unrated = _drop(rows, ~finite)
    if rules.explicit:
        bad = (rating < rules.rating_low) | (rating > rules.rating_high)
    else:
        bad = np.less(rating, rules.min_rating)
    rows, outside = _drop(rows, bad)
    return rows, Tally(unrated=unrated, outside=outside)


def _times(rows: Interactions, rules: Rules) -> Step:
    if rows.timestamp is None:
        return rows, Tally()
    time = rows.timestamp
    with np.errstate(invalid="ignore"):
        bad = ~np.isfinite(time) | (time < 0) | (time > _LATEST)
    rows, broken = _drop(rows, bad)
    time = time[~bad]
    if not len(time):
        return rows, Tally(broken=broken)
    return rows, Tally(broken=broken, earliest=float(time.min()), latest=float(time.max()))


def _automated(rows: Interactions, rules: Rules) -> Step:
    if rules.max_events_per_day <= 0 or rows.timestamp is None:
        return rows, Tally()
    days = np.floor(rows.timestamp / _DAY).astype(np.int64)
    key = rows.user.astype(np.int64) * (days.max() + 1) + days
    _, inverse, events = np.unique(key, return_inverse=True, return_counts=True)
    busy = np.zeros(rows.user.max() + 1, dtype=bool)
    busy[rows.user[events[inverse] > rules.max_events_per_day]] = True
    rows, automated = _drop(rows, busy[rows.user])
    return rows, Tally(automated=automated, busy=int(busy.sum()))


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
    if rules.first:
        last = np.roll(last, 1)  # where a pair begins: after the end of another
    kept = np.sort(order[last])
    dropped = len(rows) - len(kept)
    if not dropped:
        return rows, Tally()
    if rows.event is not None and not rules.first:
        first = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1]))
        strongest = np.empty_like(rows.event)
        strongest[order[last]] = np.maximum.reduceat(rows.event[order], first)
        rows = replace(rows, event=strongest)
    return rows.take(kept), Tally(repeated=dropped)


def _core(rows: Interactions, rules: Rules) -> Step:
    if not rules.core:
        return rows, Tally()
    index = np.arange(len(rows))
    while len(index):
        user, item = rows.user[index], rows.item[index]
        keep = (np.bincount(user)[user] >= rules.user_core) & (
            np.bincount(item)[item] >= rules.item_core
        )
        if keep.all():
            break
        index = index[keep]
    return rows.take(index), Tally(core=len(rows) - len(index))


def compact(raw: Dataset, rows: Interactions) -> tuple[Dataset, list[str]]:
    """Renumber users, items and merchants that still have an interaction, and say how many."""
    user, users = _renumber(rows.user, raw.users)
    item, items = _renumber(rows.item, raw.items)
    merchant, merchants, lines = None, None, []
    if rows.merchant is not None and raw.merchants is not None:
        merchant, kept = _renumber(rows.merchant, raw.merchants)
        merchants = raw.merchants.take(kept)
        lines.append(without_line("merchants", len(raw.merchants), len(kept)))
    lines = [
        without_line("users", len(raw.users), len(users)),
        without_line("items", len(raw.items), len(items)),
        *lines,
    ]
    truth = raw.truth and Truth(
        raw.truth.user_vectors[users], raw.truth.item_vectors[items], raw.truth.item_bias[items]
    )
    lines.append(kept_line(len(rows), len(users), len(items)))
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
