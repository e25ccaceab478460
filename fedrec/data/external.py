"""Rows sorted by user and time, and cleaned, in files: for more than memory holds.

First each piece of the data is cleaned row by row and appended to files (`spool`), and the
rows of each user are counted.  Then the rows are dealt out to blocks of users, each block
at its place in mapped files (`_deal`).  A block fits in memory: it is cleaned user by user,
sorted, and appended to the final files.  What memory must hold at once is one block, and a
few numbers for each user and item.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fedrec.data.account import Rules, Tally
from fedrec.data.clean import each_row, each_user
from fedrec.data.interactions import Interactions

BLOCK_ROWS = 1 << 21
"""Rows of a block, unless a single user has more."""


@dataclass(frozen=True, eq=False)
class Sorted:
    """Clean rows, user by user, in the order of time within a user.

    Attributes:
        columns: the mapped columns of N rows by name, without "user".
        start: int64 [U+1], rows of user u are start[u]:start[u+1].
        tally: what cleaning dropped.
        users: bool [U], users that are kept; the others' rows do not count.
        items: bool [I], likewise.
    """

    columns: dict[str, NDArray]
    start: NDArray[np.int64]
    tally: Tally
    users: NDArray[np.bool_]
    items: NDArray[np.bool_]

    def blocks(self) -> Iterator[tuple[int, int, Interactions]]:
        """Yield first user, the user after the last, and their rows that are kept."""
        for first, last in user_blocks(self.start):
            rows = slice(int(self.start[first]), int(self.start[last]))
            counts = np.diff(self.start[first : last + 1])
            user = np.repeat(np.arange(first, last, dtype=np.int32), counts)
            block = Interactions(user, **{n: np.array(c[rows]) for n, c in self.columns.items()})
            kept = self.users[block.user] & self.items[block.item]
            yield first, last, block if kept.all() else block.take(kept)


def user_blocks(start: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Cut users into runs of about `BLOCK_ROWS` rows; yields first user and that after the last."""
    first, number = 0, len(start) - 1
    while first < number:
        last = int(np.searchsorted(start, start[first] + BLOCK_ROWS, side="right")) - 1
        last = min(max(last, first + 1), number)
        yield first, last
        first = last


def sort_and_clean(
    pieces: Iterable[Interactions], num_users: int, num_items: int, rules: Rules, work: Path
) -> Sorted:
    """Clean rows that come piece by piece, and sort them.

    Args:
        pieces: uncleaned rows.
        num_users: U, users are numbered below it.
        num_items: I.
        rules: how to clean.
        work: an empty folder for files that are mapped; the caller removes it.

    Returns:
        The rows; none at all if cleaning leaves none.
    """
    spooled, counts, tally = _spool(pieces, num_users, rules, work)
    start = np.concatenate([[0], np.cumsum(counts)])
    dealt = _deal(spooled, start, work)
    for name in spooled:
        (work / f"spool-{name}").unlink()
    columns, kept, found = _by_user(dealt, start, rules, work)
    for name in dealt:
        (work / f"dealt-{name}").unlink()
    after = np.concatenate([[0], np.cumsum(kept)])
    everyone = np.ones(num_users, bool), np.ones(num_items, bool)
    return _core(Sorted(columns, after, tally + found, *everyone), rules)


class _Appended:
    """Columns that grow in files."""

    def __init__(self, work: Path, prefix: str) -> None:
        self._work, self._prefix, self._stack = work, prefix, ExitStack()
        self._files: dict[str, tuple[np.dtype, object]] = {}

    def add(self, columns: dict[str, NDArray]) -> None:
        for name, values in columns.items():
            if name not in self._files:
                file = self._stack.enter_context(self._path(name).open("wb"))
                self._files[name] = values.dtype, file
            self._files[name][1].write(values.tobytes())  # type: ignore[attr-defined]

    def close(self) -> dict[str, NDArray]:
        """Return the columns, mapped."""
        self._stack.close()
        return {name: map_column(self._path(name), d) for name, (d, _) in self._files.items()}

    def _path(self, name: str) -> Path:
        return self._work / f"{self._prefix}-{name}"


def map_column(path: Path, dtype: np.dtype) -> NDArray:
    """Return a file of numbers as an array that is not read."""
    empty = path.stat().st_size == 0
    return np.zeros(0, dtype) if empty else np.memmap(path, dtype, "r")


def _spool(
    pieces: Iterable[Interactions], num_users: int, rules: Rules, work: Path
) -> tuple[dict[str, NDArray], NDArray[np.int64], Tally]:
    """Write the rows that stay, in their order; count them by user."""
    spool, counts, tally = _Appended(work, "spool"), np.zeros(num_users, np.int64), Tally()
    try:
        for piece in pieces:
            rows, found = each_row(piece, rules)
            tally += found
            counts += np.bincount(rows.user, minlength=num_users)
            spool.add(rows.columns())
    finally:
        columns = spool.close()
    return columns, counts, tally


def _deal(spooled: dict[str, NDArray], start: NDArray[np.int64], work: Path) -> dict[str, NDArray]:
    """Write the rows of each block of users at its place, in their order."""
    total = int(start[-1])
    if not total:
        return {}
    edges = np.array([first for first, _ in user_blocks(start)] + [len(start) - 1])
    dealt = {
        name: np.memmap(work / f"dealt-{name}", column.dtype, "w+", shape=(total,))
        for name, column in spooled.items()
    }
    free = start[edges[:-1]].copy()
    for at in range(0, total, BLOCK_ROWS):
        user = np.asarray(spooled["user"][at : at + BLOCK_ROWS])
        block = np.searchsorted(edges, user, side="right") - 1
        order = np.argsort(block, kind="stable")
        ends = np.cumsum(np.bincount(block, minlength=len(free)))
        for name, column in spooled.items():
            values = np.asarray(column[at : at + BLOCK_ROWS])[order]
            for number in range(len(free)):
                low = int(ends[number - 1]) if number else 0
                length = int(ends[number]) - low
                dealt[name][free[number] : free[number] + length] = values[low : low + length]
        free += np.diff(ends, prepend=0)
    return dict(dealt)


def _by_user(
    dealt: dict[str, NDArray], start: NDArray[np.int64], rules: Rules, work: Path
) -> tuple[dict[str, NDArray], NDArray[np.int64], Tally]:
    """Clean and sort block by block; returns columns without users, and rows of each user."""
    written, tally = _Appended(work, "sorted"), Tally()
    counts = np.zeros(len(start) - 1, np.int64)
    try:
        for first, last in user_blocks(start) if dealt else ():
            span = slice(int(start[first]), int(start[last]))
            rows = Interactions(**{name: np.array(c[span]) for name, c in dealt.items()})
            rows = replace(rows, user=rows.user - np.int32(first))
            rows, found = each_user(rows, rules)
            tally += found
            keys = (rows.user,) if rows.timestamp is None else (rows.timestamp, rows.user)
            rows = rows.take(np.lexsort(keys))
            counts[first:last] = np.bincount(rows.user, minlength=last - first)
            written.add({n: c for n, c in rows.columns().items() if n != "user"})
    finally:
        columns = written.close()
    return columns, counts, tally


def _core(rows: Sorted, rules: Rules) -> Sorted:
    """Mark users and items with too few interactions, until there are none.

    A row stays as long as its user and its item do, so marks are all that is needed.
    """
    if not rules.core or not len(rows.start) or not rows.start[-1]:
        return rows
    while True:
        of_user = np.zeros(len(rows.users), np.int64)
        of_item = np.zeros(len(rows.items), np.int64)
        for _, _, block in rows.blocks():
            of_user += np.bincount(block.user, minlength=len(of_user))
            of_item += np.bincount(block.item, minlength=len(of_item))
        few_users = (of_user > 0) & (of_user < rules.user_core)
        few_items = (of_item > 0) & (of_item < rules.item_core)
        if not few_users.any() and not few_items.any():
            break
        rows = replace(rows, users=rows.users & ~few_users, items=rows.items & ~few_items)
    dropped = int(rows.start[-1] - of_user.sum())
    return replace(rows, tally=rows.tally + Tally(core=dropped))
