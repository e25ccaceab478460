"""A graph of items from a file: two columns of item ids, and a weight if there is a third."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fedrec.config import Config
from fedrec.data.files import read_table
from fedrec.data.interactions import Catalogue
from fedrec.data.readers import as_words
from fedrec.errors import DataError

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class Edges:
    """Edges between items, each once in either direction.

    Attributes:
        first: int64 [E], one end, below the other.
        second: int64 [E], the other end.
        weight: float64 [E], positive.
        note: what was read and what was left out, for the reader.
    """

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    weight: NDArray[np.float64]
    note: str


def read_edges(path: Path, items: Catalogue) -> Edges:
    """Read the edges of a graph of items.

    The file has a header line and two columns of item ids, in any order; a third column is
    the weight, 1 without it.  Weights of lines with the same two ids are added up.  Lines
    with an id that no item has, and of an item with itself, are left out and counted.

    Args:
        path: .csv, .tsv or .parquet.
        items: the catalogue.

    Raises:
        DataError: if the file cannot be read, has other columns or unusable weights, or
            joins no items.
    """
    frame, _ = read_table(path)
    if frame.shape[1] not in (2, 3):
        raise DataError(
            f"data.item_graph: {path.name} has {frame.shape[1]} columns; expected two of item ids "
            "and, if you like, one of weights"
        )
    place = {str(word): row for row, word in enumerate(items.ids)}
    ends = [_numbers(frame.iloc[:, column], place) for column in (0, 1)]
    weight = _weights(frame, path)
    known, loop = (ends[0] >= 0) & (ends[1] >= 0), ends[0] == ends[1]
    kept = known & ~loop
    if not kept.any():
        raise DataError(
            f"data.item_graph: no line of {path.name} joins two items; the first ids are "
            f"{[str(i) for i in frame.iloc[:3, 0]]} there, and {[str(i) for i in items.ids[:3]]} "
            "in the data"
        )
    pairs = np.sort(np.stack([ends[0][kept], ends[1][kept]], 1), 1)
    pairs, inverse = np.unique(pairs, axis=0, return_inverse=True)
    total = np.bincount(inverse.ravel(), weight[kept], len(pairs)).astype(np.float64)
    note = (
        f"item graph {path.name}: {len(pairs)} edges from {len(frame)} lines; left out "
        f"{int((~known).sum())} with unknown ids and {int((known & loop).sum())} of an item with "
        "itself"
    )
    return Edges(pairs[:, 0], pairs[:, 1], total, note)


def graph_notes(config: Config, items: Catalogue) -> tuple[str, ...]:
    """Return what a result shall say of the file of edges, one line or none.

    Raises:
        DataError: as `read_edges`.
    """
    if not config.server.graph_l2 or config.server.graph != "file":
        return ()
    return (read_edges(Path(config.data.item_graph).expanduser(), items).note,)


def _numbers(column: pd.Series, place: dict[str, int]) -> NDArray[np.int64]:
    return np.array([place.get(word, -1) for word in as_words(column)], np.int64)


def _weights(frame: pd.DataFrame, path: Path) -> NDArray[np.float64]:
    import pandas as pd

    if frame.shape[1] == 2:
        return np.ones(len(frame))
    weight = pd.to_numeric(frame.iloc[:, 2], errors="coerce").to_numpy(np.float64)
    bad = np.flatnonzero(~(np.isfinite(weight) & (weight > 0)))
    if len(bad):
        raise DataError(
            f"data.item_graph: {len(bad)} weights in {path.name} are no positive numbers, the "
            f"first is {str(frame.iloc[bad[0], 2])!r}; leave such lines out"
        )
    return weight
