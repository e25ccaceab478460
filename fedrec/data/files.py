"""Own files: csv, tsv, parquet and RecBole's atomic files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fedrec.config_sections import DataSection
from fedrec.data.attributes import to_category, to_number, to_tags, to_text
from fedrec.data.frames import Columns, Table, from_frames
from fedrec.data.interactions import Attribute, Dataset
from fedrec.data.readers import as_words, to_numbers
from fedrec.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

_DELIMITERS = {".csv": ",", ".tsv": "\t", ".txt": "\t"}
_ATOMIC = (".inter", ".item", ".user")
_ATOMIC_COLUMNS = {
    "user": "user_id",
    "item": "item_id",
    "rating": "rating",
    "time": "timestamp",
}
_MAX_TAGS = 1000
"""A token_seq column with more distinct tokens than this is text (a title), not tags."""


def read_files(section: DataSection) -> Dataset:
    """Read the interactions of `data.path`, and attributes if files of them are named.

    The suffix decides: ``.csv``, ``.tsv`` and ``.txt`` (tab), also with ``.gz``;
    ``.parquet``; ``.inter`` (RecBole), whose ``.item`` and ``.user`` beside it are
    read too.  If all columns are named by numbers (``data.user_column = "0"``),
    the file is taken to have no header line, as Amazon's rating files.

    Args:
        section: the `data` section.

    Raises:
        DataError: if a file is missing, empty or not of its format, or for what
            `from_frames` refuses.
    """
    path, columns, header = what_to_read(section)
    frame, _ = read_table(path, header=header)
    if path.suffix == ".inter":
        columns = usual_columns(columns, frame)
    items, users = attribute_tables(section)
    return from_frames(frame, columns, items=items, users=users, name=path.name)


def what_to_read(section: DataSection) -> tuple[Path, Columns, bool]:
    """Return the file of interactions, its columns, and whether it has a header line."""
    columns = Columns(
        user=section.user_column,
        item=section.item_column,
        rating=section.rating_column,
        time=section.time_column,
        merchant=section.merchant_column,
        event=section.event_column,
    )
    headless = all(name.isdigit() for name in columns.given().values())
    return Path(section.path).expanduser(), columns, not headless


def attribute_tables(section: DataSection) -> tuple[Table | None, Table | None]:
    """Return the attributes of items and of users, None where no file has any.

    Raises:
        DataError: if a file is missing, empty or not of its format.
    """
    path = Path(section.path).expanduser()
    atomic = path.suffix == ".inter"
    items = _attributes(section.item_file, path.with_suffix(".item") if atomic else None)
    users = _attributes(section.user_file, path.with_suffix(".user") if atomic else None)
    return items, users


def files_of(section: DataSection) -> tuple[Path, ...]:
    """Return the files that `read_files` would read, whether or not they exist."""
    path = Path(section.path).expanduser()
    beside = (path.with_suffix(".item"), path.with_suffix(".user"))
    others = (section.item_file, section.user_file, section.catalogue_map, section.customer_map)
    named = [Path(p).expanduser() for p in others if p]
    return (path, *named, *(beside if path.suffix == ".inter" else ()))


def usual_columns(columns: Columns, frame: pd.DataFrame) -> Columns:
    """Take RecBole's usual column names for roles that were left at their default."""
    default, chosen = Columns(), vars(columns).copy()
    for role, usual in _ATOMIC_COLUMNS.items():
        if chosen[role] == getattr(default, role) and usual in frame.columns:
            chosen[role] = usual
    return Columns(**chosen)


def _attributes(named: str, beside: Path | None) -> Table | None:
    if named:
        path = Path(named).expanduser()
    elif beside is not None and beside.exists():
        path = beside
    else:
        return None
    frame, parsed = read_table(path)
    return Table(frame, source=path.name, parsed=parsed)


def read_table(
    path: Path, header: bool = True, *, text: bool = False
) -> tuple[pd.DataFrame, dict[str, Attribute] | None]:
    """Read one table.

    Args:
        path: the file; its suffix decides the format.
        header: whether a delimited file names its columns in the first line.
        text: every cell of a delimited file is text as it stands, leading zeros included.

    Returns:
        the table, and for RecBole files the attributes typed by their header.

    Raises:
        DataError: if the file is missing, empty or not of its format.
    """
    suffix = check_readable(path)
    if suffix == ".parquet":
        return _parquet(path), None
    frame = _delimited(path, suffix, header, text)
    return as_atomic(frame, path) if suffix in _ATOMIC else (frame, None)


def check_readable(path: Path) -> str:
    """Return the suffix of a table's file, without ".gz".

    Raises:
        DataError: if the file is missing, empty or of an unknown type.
    """
    if not path.exists():
        raise DataError(f"the file {path} does not exist (looked in {path.parent.absolute()})")
    if path.is_dir():
        raise DataError(f"{path} is a directory; expected a csv, tsv, parquet or .inter file")
    suffix = Path(path.stem).suffix if path.suffix == ".gz" else path.suffix
    if suffix not in (*_DELIMITERS, *_ATOMIC, ".parquet"):
        raise DataError(
            f"{path.name}: unknown file type {suffix!r}. "
            f"Known: {', '.join((*_DELIMITERS, '.parquet', *_ATOMIC))}, delimited ones also as .gz."
        )
    if path.stat().st_size == 0:
        raise DataError(f"{path} is empty; expected a table of interactions or attributes")
    return suffix


def _parquet(path: Path) -> pd.DataFrame:
    import pandas as pd
    import pyarrow

    try:
        return pd.read_parquet(path)
    except (OSError, ValueError, pyarrow.ArrowException) as error:
        raise DataError(f"{path.name} is not a readable parquet file: {error}") from None


def delimited_options(suffix: str, header: bool, text: bool = False) -> dict[str, Any]:
    """Return how pandas is to read a delimited file of a suffix."""
    import csv

    as_text = suffix in _ATOMIC
    return {
        "sep": _DELIMITERS.get(suffix, "\t"),
        "header": 0 if header else None,
        "dtype": str if as_text or text else None,
        "quoting": csv.QUOTE_NONE if as_text else csv.QUOTE_MINIMAL,
        "encoding": "utf-8-sig",
        "low_memory": False,
    }


def unreadable(path: Path, delimiter: str, error: Exception) -> DataError:
    """Return the error of a delimited file that cannot be read."""
    return DataError(f"{path.name} is not a readable {delimiter!r}-separated UTF-8 table: {error}")


def _delimited(path: Path, suffix: str, header: bool, text: bool) -> pd.DataFrame:
    import pandas as pd

    options = delimited_options(suffix, header, text)
    try:
        frame: pd.DataFrame = pd.read_csv(path, **options)
    except pd.errors.EmptyDataError:
        raise DataError(f"{path} is empty; expected a table with a header line") from None
    except (pd.errors.ParserError, UnicodeDecodeError, OSError, EOFError) as error:
        raise unreadable(path, options["sep"], error) from None
    return frame.rename(columns=str)


def as_atomic(frame: pd.DataFrame, path: Path) -> tuple[pd.DataFrame, dict[str, Attribute]]:
    """Split RecBole's ``name:type`` headers and type the attributes by them."""
    kinds = {}
    for head in frame.columns:
        name, colon, kind = str(head).partition(":")
        if not colon or kind not in ("token", "token_seq", "float", "float_seq"):
            raise DataError(
                f"{path.name}: header {head!r}: expected name:type with type token, token_seq, "
                f"float or float_seq, separated by tabs (RecBole's atomic files)"
            )
        kinds[name] = kind
    frame = frame.set_axis(list(kinds), axis=1)
    if path.suffix == ".inter":
        return frame, {}
    typed = {
        name: _typed(frame[name], kind, name, path)
        for name, kind in list(kinds.items())[1:]
        if kind != "float_seq"
    }
    return frame[[name for name in kinds if kinds[name] != "float_seq"]], typed


def _typed(values: pd.Series, kind: str, name: str, path: Path) -> Attribute:
    if kind == "float":
        return to_number(to_numbers(values, name, path.name))
    words = as_words(values)
    if kind == "token":
        numbers = words.dropna()
        # ages and years are declared as tokens, though they are numbers
        if len(numbers) and numbers.str.fullmatch(r"\d{1,4}").all() and numbers.nunique() > 20:
            return to_number(values.astype(float).to_numpy(np.float32))
        return to_category(words.to_numpy())
    lists = [(word or "").split() for word in words]
    if len({token for tokens in lists for token in tokens}) > _MAX_TAGS:
        return to_text(words.to_numpy())
    return to_tags(lists)
