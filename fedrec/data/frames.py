"""From DataFrames to a data set: named columns, attribute tables, clear refusals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fedrec.data.attributes import guess_attribute
from fedrec.data.interactions import Attribute, Catalogue, Dataset, Interactions
from fedrec.data.readers import as_words, encode_ids, to_events, to_numbers, to_times
from fedrec.errors import DataError, nearest

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Columns:
    """Names of the columns of a table of interactions; empty where there is none."""

    user: str = "user"
    item: str = "item"
    rating: str = ""
    time: str = ""
    merchant: str = ""
    event: str = ""

    def given(self) -> dict[str, str]:
        """Return role -> column of the columns that are named."""
        return {role: name for role, name in vars(self).items() if name}


@dataclass(frozen=True, eq=False)
class Table:
    """Attributes of users or items as a DataFrame.

    Attributes:
        frame: one row for each entity.
        key: the column of ids; empty takes the first.
        source: the file or frame, for messages.
        parsed: attributes that the reader has typed itself, by column, over the
            rows of `frame`; the other columns are typed by what they hold.
    """

    frame: pd.DataFrame
    key: str = ""
    source: str = "frame"
    parsed: dict[str, Attribute] | None = None


def from_frames(
    frame: pd.DataFrame,
    columns: Columns,
    *,
    items: Table | None = None,
    users: Table | None = None,
    name: str = "frame",
) -> Dataset:
    """Build an uncleaned data set from a table of interactions.

    Args:
        frame: one row for each interaction.
        columns: which column is what.
        items: attributes of items, or None.
        users: attributes of users, or None.
        name: name of the data set, also for messages.

    Returns:
        the data set, with missing ids as -1, missing ratings and broken times as NaN.

    Raises:
        DataError: for an empty table, a missing or doubled column, or values
            that are not numbers or events where such are needed.
    """
    frame = frame.rename(columns=str)
    check_columns(frame, columns, name)
    if not len(frame):
        raise without_rows(name)
    user_ids, user = encode_ids(frame[columns.user])
    item_ids, item = encode_ids(frame[columns.item])
    merchants, merchant = None, None
    if columns.merchant:
        merchant_ids, merchant = encode_ids(frame[columns.merchant])
        merchants = Catalogue(merchant_ids)
    rating, time, event = columns.rating, columns.time, columns.event
    interactions = Interactions(
        user=user,
        item=item,
        rating=to_numbers(frame[rating], rating, name).astype(np.float32) if rating else None,
        timestamp=to_times(frame[time], time, name) if time else None,
        merchant=merchant,
        event=to_events(frame[event], event, name) if event else None,
    )
    item_catalogue, item_lines = with_attributes(item_ids, items, columns.item, "items")
    user_catalogue, user_lines = with_attributes(user_ids, users, columns.user, "users")
    lines = tuple(item_lines + user_lines)
    return Dataset(name, interactions, item_catalogue, user_catalogue, merchants, lines)


def without_rows(name: str) -> DataError:
    """Return the error of a table without rows."""
    return DataError(f"{name}: the table has columns but no rows; expected interactions")


def check_columns(frame: pd.DataFrame, columns: Columns, source: str) -> None:
    """Refuse a table that lacks a column, or of which one is named twice.

    Raises:
        DataError: saying which.
    """
    present = list(frame.columns)
    for role, column in columns.given().items():
        if column not in present:
            raise DataError(
                f"{source}: no column {column!r} for the {role}; its columns are "
                f"{', '.join(present) or 'none'}.{_hint(column, present)} "
                f"Name the column with data.{role}_column or the argument {role}=."
            )
        if present.count(column) > 1:
            raise DataError(f"{source}: {present.count(column)} columns are named {column!r}")
    used = list(columns.given().values())
    doubled = next((column for column in used if used.count(column) > 1), None)
    if doubled is not None:
        roles = [role for role, column in columns.given().items() if column == doubled]
        raise DataError(f"{source}: column {doubled!r} is named for {' and '.join(roles)}")


def _hint(column: str, present: list[str]) -> str:
    hint = nearest(column, present) if present else ""
    return hint if hint.startswith(" Did") else ""


def with_attributes(
    ids: NDArray[np.object_], table: Table | None, column: str, what: str
) -> tuple[Catalogue, list[str]]:
    """Attach the rows of an attribute table to the ids of the interactions.

    Args:
        ids: object [N].
        table: of attributes, or None.
        column: of ids in the interactions; taken as that of the table if it has it.
        what: "items" or "users", for the account.

    Returns:
        the catalogue, and lines for the account.

    Raises:
        DataError: if the table is empty, or none of its ids occurs.
    """
    import pandas as pd

    if table is None:
        return Catalogue(ids), []
    frame = table.frame
    if not len(frame.columns) or not len(frame):
        raise DataError(f"{table.source}: the attribute table is empty; expected one row an id")
    names = [str(name) for name in frame.columns]
    key = table.key or (column if column in names else names[0])
    keys = pd.Index(as_words(frame.iloc[:, names.index(key)]))
    repeated = keys.duplicated() | keys.isna()
    rows = np.flatnonzero(~repeated)
    place = keys[rows].get_indexer(pd.Index(ids, dtype=object))
    missing = place < 0
    if missing.all():
        raise DataError(
            f"{table.source}: none of its ids (column {key!r}, first {keys[0]!r}) occurs among "
            f"the {what} of the interactions (first {ids[0]!r}). Are these the same ids?"
        )
    taken = np.where(missing, -1, rows[place])
    attributes = {
        name: _attribute(frame.iloc[:, position], (table.parsed or {}).get(name), taken)
        for position, name in enumerate(names)
        if name != key
    }
    return Catalogue(ids, attributes), [
        f"attributes of {what}: {int(missing.sum()):,} of {len(ids):,} {what} have none; "
        f"{int(repeated.sum()):,} rows without or with a repeated id ignored, the first kept"
    ]


def _attribute(values: pd.Series, parsed: Attribute | None, taken: NDArray[np.int64]) -> Attribute:
    if parsed is None:
        picked = values.reset_index(drop=True).reindex(np.where(taken < 0, len(values), taken))
        return guess_attribute(picked)
    present = parsed.values[taken].copy()
    missing: dict[str, object] = {"category": -1, "number": np.nan, "tags": False, "text": ""}
    present[taken < 0] = missing[parsed.kind]
    return Attribute(parsed.kind, present, parsed.vocabulary)
