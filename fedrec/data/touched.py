"""The rows of a table that the clients of a block touch through their samples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from fedrec.data.batches import Samples


@dataclass(frozen=True, eq=False)
class RowIndex:
    """Which rows of an entity the clients of a block touch.

    Attributes:
        client: int32 [T], position of the client, ascending.
        ids: int64 [T], row of the table, ascending within a client.
        num_rows: rows of the table.
        num_clients: C.
    """

    client: NDArray[np.int32]
    ids: NDArray[np.int64]
    num_rows: int
    num_clients: int


@dataclass(frozen=True, eq=False)
class Touched:
    """The touched rows of an entity, and which of them each sample names.

    Attributes:
        index: the T rows.
        places: id column -> int [n], position of each sample's row in 0..T-1.
    """

    index: RowIndex
    places: Mapping[str, NDArray[np.integer]]


def find_touched(samples: Samples, fields: tuple[str, ...], num_rows: int) -> Touched:
    """Find the rows that each client of a block touches through some id columns.

    Args:
        samples: samples of C clients.
        fields: id columns over the same table.
        num_rows: rows of the table.
    """
    start = samples.client * num_rows
    columns = [start + samples.fields[name] for name in fields]
    key = columns[0] if len(columns) == 1 else np.concatenate(columns)
    order = np.argsort(key)
    sorted_key = key[order]
    new = np.ones(len(key), bool)
    np.not_equal(sorted_key[1:], sorted_key[:-1], out=new[1:])
    place = np.empty(len(key), np.int32)
    place[order] = np.cumsum(new, dtype=np.int32) - 1
    client, ids = np.divmod(sorted_key[new], num_rows)
    index = RowIndex(client.astype(np.int32), ids, num_rows, samples.num_clients)
    return Touched(index, dict(zip(fields, np.split(place, len(fields)), strict=True)))
