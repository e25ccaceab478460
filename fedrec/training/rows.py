"""Which table rows the clients of a block touch, and where each of them lies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedrec.data.batches import Samples
from fedrec.models.recommender import Recommender
from fedrec.params import Shared

_BITMAP_CELLS = 1 << 27


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

    def local(self, ids: NDArray[np.int64]) -> NDArray[np.int32]:
        """Map ids [C, ...] to positions in 0..T-1, of the same shape.

        An id that its client does not touch (only padding has one) maps to some
        valid position.
        """
        client = np.arange(len(ids)).reshape(-1, *[1] * (ids.ndim - 1))
        key = client * self.num_rows + ids
        mine = self.client.astype(np.int64) * self.num_rows + self.ids
        cells = self.num_clients * self.num_rows
        if cells <= _BITMAP_CELLS:  # a table of positions beats a binary search tenfold
            position = np.zeros(cells, np.int32)
            position[mine] = np.arange(len(mine), dtype=np.int32)
            return position[key]
        last = max(len(mine) - 1, 0)
        return np.minimum(np.searchsorted(mine, key), last).astype(np.int32)


def index_rows(samples: Samples, fields: tuple[str, ...], num_rows: int) -> RowIndex:
    """Find the rows that each client of a block touches through some id columns.

    Args:
        samples: samples of C clients.
        fields: id columns over the same table.
        num_rows: rows of the table.

    Returns:
        The index.
    """
    keys = [samples.client * num_rows + samples.fields[name] for name in fields]
    cells = samples.num_clients * num_rows
    if cells <= _BITMAP_CELLS:
        touched = np.zeros(cells, bool)
        for key in keys:
            touched[key] = True
        unique = np.flatnonzero(touched)
    else:
        unique = np.unique(np.concatenate(keys))
    client, ids = np.divmod(unique, num_rows)
    return RowIndex(client.astype(np.int32), ids, num_rows, samples.num_clients)


def every_row(num_rows: int, num_clients: int) -> RowIndex:
    """Index all rows of a table for each of `num_clients` clients, touched or not."""
    owner = np.repeat(np.arange(num_clients, dtype=np.int32), num_rows)
    return RowIndex(owner, np.tile(np.arange(num_rows), num_clients), num_rows, num_clients)


def entities(model: Recommender) -> dict[str, str]:
    """Return table name -> what its rows number ("item" or "user")."""
    return {row.table: row.entity for row in model.row_inputs}


def index_tables(
    model: Recommender, shared: Shared, samples: Samples, *, all_rows: bool
) -> Mapping[str, RowIndex]:
    """Return entity -> index of the rows that the clients of a block touch.

    Args:
        model: names its row inputs.
        shared: for the number of rows.
        samples: samples of C clients.
        all_rows: index all rows, touched or not.
    """
    index = {}
    of_table = entities(model)
    for entity in sorted(set(of_table.values())):
        fields = tuple(sorted({r.field for r in model.row_inputs if r.entity == entity}))
        table = next(t for t, e in of_table.items() if e == entity)
        num_rows = len(shared.tables[table])
        index[entity] = (
            every_row(num_rows, samples.num_clients)
            if all_rows
            else index_rows(samples, fields, num_rows)
        )
    return index
