"""From columns as people keep them to codes, numbers, times and events.

pandas is imported inside the functions, so that the command line starts without it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fedrec.data.interactions import EVENTS
from fedrec.errors import DataError, nearest

if TYPE_CHECKING:
    import pandas as pd

_EVENT_WORDS = {
    **{event: event for event in EVENTS},
    **dict.fromkeys(("click", "pv", "detail", "pageview"), "view"),
    **dict.fromkeys(("addtocart", "add_to_cart", "basket", "fav"), "cart"),
    **dict.fromkeys(("buy", "order", "transaction", "sale"), "purchase"),
}


def as_words(values: pd.Series) -> pd.Series:
    """Return identifiers as stripped strings, missing ones as None.

    Whole numbers stored as floats (which is what a missing value makes of an
    integer column) lose their ``.0``.

    Args:
        values: a column of any type, length N.

    Returns:
        object column [N].
    """
    import pandas as pd

    missing = values.isna()
    if pd.api.types.is_float_dtype(values) and bool(
        (values[~missing] == values[~missing].round()).all()
    ):
        values = values.fillna(0).astype("int64")
    words = values.astype(object).map(str).str.strip().astype(object)
    return words.where(~missing & (words != ""), None)


def encode_ids(values: pd.Series) -> tuple[NDArray[np.object_], NDArray[np.int32]]:
    """Number identifiers from 0, in an order that does not depend on the rows.

    Identifiers that are all integers are numbered by value, others by the
    order of their characters.

    Args:
        values: a column of identifiers, length N.

    Returns:
        ids: object [M], the distinct identifiers as strings.
        codes: int32 [N], -1 where the identifier is missing.
    """
    import pandas as pd

    if pd.api.types.is_integer_dtype(values) and not values.isna().any():
        numbers, inverse = np.unique(values.to_numpy(np.int64), return_inverse=True)
        return numbers.astype(str).astype(object), inverse.astype(np.int32)
    codes, distinct = pd.factorize(as_words(values))
    ids = np.asarray(distinct, dtype=object)
    order = id_order(ids)
    place = np.empty(len(ids) + 1, dtype=np.int32)
    place[order] = np.arange(len(ids), dtype=np.int32)
    place[-1] = -1  # factorize marks missing values with -1, the last place
    return ids[order], place[codes]


def id_order(ids: NDArray[np.object_]) -> NDArray[np.int64]:
    """Return the order of distinct identifiers (object [M]): by value if all are numbers."""
    numeric = all(word.isascii() and word.isdigit() and len(word) < 19 for word in ids)
    if numeric and len({int(word) for word in ids}) == len(ids):
        return np.argsort(np.array([int(word) for word in ids], dtype=np.int64), kind="stable")
    return np.argsort(ids.astype(str), kind="stable")


def to_numbers(values: pd.Series, column: str, source: str, first: int = 0) -> NDArray[np.float64]:
    """Read a column of numbers; missing values become NaN.

    Args:
        values: the column, length N.
        column: its name, for the message.
        source: the file or frame, for the message.
        first: rows before this column, if it is a piece of one.

    Returns:
        float64 [N].

    Raises:
        DataError: naming the first value that is not a number, and its row.
    """
    import pandas as pd

    numbers = pd.to_numeric(values, errors="coerce").to_numpy(np.float64, na_value=np.nan)
    unread = np.flatnonzero(np.isnan(numbers))
    bad = unread[as_words(values.iloc[unread]).notna().to_numpy()]
    if len(bad):
        raise DataError(
            f"{source}: column {column!r} must hold numbers, but row {first + bad[0] + 1} holds "
            f"{str(values.iloc[bad[0]])!r} ({len(bad):,} such rows). Name another column, "
            f"or correct or remove these rows."
        )
    return numbers


def to_times(values: pd.Series, column: str, source: str) -> NDArray[np.float64]:
    """Read a column of times: numbers, dates or date strings (UTC if no zone; 1/2 is January).

    Numbers are seconds since 1970; larger magnitudes are recognised as
    milli-, micro- or nanoseconds by their median (above 1e11, 1e14, 1e17).

    Args:
        values: the column, length N.
        column: its name, for the message.
        source: the file or frame, for the message.

    Returns:
        float64 [N] in seconds; NaN where a value is missing or cannot be read
        (cleaning drops and counts such rows).

    Raises:
        DataError: if not one value can be read as a time.
    """
    import pandas as pd

    if pd.api.types.is_datetime64_any_dtype(values):
        return seconds_of(values)
    numbers = as_numbers(values)
    finite = np.isfinite(numbers)
    if finite.sum() * 2 < values.notna().sum():
        parsed = as_dates(values)
        if parsed.notna().sum() > finite.sum():
            return seconds_of(parsed)
    if not finite.any() and len(values):
        raise no_time(values.iloc[0], column, source)
    magnitude = np.median(np.abs(numbers[finite])) if finite.any() else 0.0
    for bound, unit in TIME_UNITS.items():
        if magnitude > bound:
            return numbers / unit
    return numbers


TIME_UNITS = {1e17: 1e9, 1e14: 1e6, 1e11: 1e3}
"""Above this median, times are counted in so many parts of a second."""


def as_numbers(values: pd.Series) -> NDArray[np.float64]:
    """Return a column as numbers, float64 [N]; NaN where it holds none."""
    import pandas as pd

    return pd.to_numeric(values, errors="coerce").to_numpy(np.float64, na_value=np.nan)


def as_dates(values: pd.Series) -> pd.Series:
    """Return a column as dates, each of a form of its own; NaT where it holds none."""
    import pandas as pd

    return pd.to_datetime(as_words(values), errors="coerce", utc=True, format="mixed", cache=True)


def no_time(value: object, column: str, source: str) -> DataError:
    """Return the error of a column without a readable time, whose first value is given."""
    return DataError(
        f"{source}: column {column!r} holds no readable time (the first value is "
        f"{str(value)!r}). Expected seconds since 1970 or dates such as "
        f"2024-05-31 12:00:00. Name another column, or none to take the order of rows."
    )


def seconds_of(times: pd.Series) -> NDArray[np.float64]:
    """Return dates as seconds since 1970 (UTC if no zone), float64 [N]; NaN where missing."""
    if times.dt.tz is not None:
        times = times.dt.tz_convert("UTC").dt.tz_localize(None)
    nanoseconds = times.astype("datetime64[ns]").to_numpy()
    seconds = nanoseconds.astype(np.int64) / 1e9
    return np.where(np.isnat(nanoseconds), np.nan, seconds)


def to_events(values: pd.Series, column: str, source: str) -> NDArray[np.int8]:
    """Read a column of event names into indices of `EVENTS`.

    Common shop words are understood (click, addtocart, buy, ...).

    Args:
        values: the column, length N.
        column: its name, for the message.
        source: the file or frame, for the message.

    Returns:
        int8 [N].

    Raises:
        DataError: naming the first word that is not known.
    """
    words = as_words(values).str.lower()
    for word in words.unique():
        if word not in _EVENT_WORDS:
            raise DataError(
                f"{source}: column {column!r} holds the event {word!r}."
                f"{nearest(str(word), _EVENT_WORDS)}"
            )
    index = {word: EVENTS.index(event) for word, event in _EVENT_WORDS.items()}
    return words.map(index).to_numpy().astype(np.int8)
