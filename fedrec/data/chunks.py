"""Own files read a piece at a time, as the whole would be read.

What pandas makes of a delimited column depends on all its rows: one word among numbers
makes words of them all.  So a caller that sees pieces of different kinds reads again with
`forced` types (see `fedrec.data.scan`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from fedrec.data.files import as_atomic, check_readable, delimited_options, unreadable
from fedrec.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

ROWS = 1 << 19
"""Rows that are read at a time."""

_HEAD = 1 << 16  # bytes of a file from which the length of its lines is told
_GZIP, _LINE = 4, 30  # how much gzip saves, and bytes of a line, where neither can be told


def read_pieces(path: Path, *, header: bool, forced: Mapping[str, str]) -> Iterator[pd.DataFrame]:
    """Yield the table of interactions in a file, piece by piece.

    Args:
        path: the file; its suffix decides the format.
        header: whether a delimited file names its columns in the first line.
        forced: column -> type that it is read with, for pieces that would differ.

    Raises:
        DataError: if the file is missing, empty or not of its format.
    """
    suffix = check_readable(path)
    pieces = _parquet(path) if suffix == ".parquet" else _delimited(path, suffix, header, forced)
    for frame in pieces:
        if suffix == ".parquet":
            frame = frame.astype({c: t for c, t in forced.items() if c in frame.columns})
        yield frame


def _parquet(path: Path) -> Iterator[pd.DataFrame]:
    import pyarrow
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(ROWS):
                yield batch.to_pandas().rename(columns=str)
    except (OSError, ValueError, pyarrow.ArrowException) as error:
        raise DataError(f"{path.name} is not a readable parquet file: {error}") from None


def _delimited(
    path: Path, suffix: str, header: bool, forced: Mapping[str, str]
) -> Iterator[pd.DataFrame]:
    import pandas as pd

    options = delimited_options(suffix, header)
    if forced and options["dtype"] is None:
        options["dtype"] = {name if header else int(name): kind for name, kind in forced.items()}
    try:
        with pd.read_csv(path, chunksize=ROWS, **options) as pieces:
            for frame in pieces:
                frame = frame.rename(columns=str)
                yield as_atomic(frame, path)[0] if suffix == ".inter" else frame
    except pd.errors.EmptyDataError:
        raise DataError(f"{path} is empty; expected a table with a header line") from None
    except (pd.errors.ParserError, UnicodeDecodeError, OSError, EOFError, OverflowError) as error:
        raise unreadable(path, options["sep"], error) from None


def expected_rows(path: Path) -> int:
    """Return about how many rows a file of interactions has; 0 if it cannot be told."""
    try:
        if path.suffix == ".parquet":
            from pyarrow import parquet

            return int(parquet.read_metadata(path).num_rows)
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except (OSError, ValueError):
        return 0
    size = path.stat().st_size * (_GZIP if path.suffix == ".gz" else 1)
    line = _LINE if path.suffix == ".gz" else len(head) / max(1, head.count(b"\n"))
    return round(size / max(1.0, line))
