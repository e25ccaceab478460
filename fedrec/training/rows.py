"""Which table rows the clients of a block touch, and where each of them lies."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from fedrec.data.batches import Samples
from fedrec.data.tiles import Tiles
from fedrec.data.touched import RowIndex, Touched, find_touched
from fedrec.models.recommender import Recommender
from fedrec.params import Shared

__all__ = ["RowIndex", "Touched", "find_touched"]


def every_row(num_rows: int, num_clients: int) -> RowIndex:
    """Index all rows of a table for each of `num_clients` clients, touched or not."""
    owner = np.repeat(np.arange(num_clients, dtype=np.int32), num_rows)
    return RowIndex(owner, np.tile(np.arange(num_rows), num_clients), num_rows, num_clients)


def entities(model: Recommender) -> dict[str, str]:
    """Return name of a trained shared table -> what its rows number ("item" or "user")."""
    shared = (row for row in model.row_inputs if not (row.fixed or row.own))
    return {row.table: row.entity for row in shared}


def personal_tables(model: Recommender) -> dict[str, str]:
    """Return the same of tables of which each client has one of its own."""
    return {row.table: row.entity for row in model.row_inputs if row.own}


def trained_tables(model: Recommender) -> dict[str, str]:
    """Return the same of all trained tables, shared and own."""
    return {**entities(model), **personal_tables(model)}


def index_tables(
    model: Recommender,
    shared: Shared,
    samples: Samples,
    *,
    whole: Collection[str] = (),
) -> dict[str, Touched]:
    """Return entity -> the rows that the clients of a block touch, and who touches them where.

    Args:
        model: names its row inputs.
        shared: for the number of rows.
        samples: samples of C clients.
        whole: entities of which all rows are indexed, touched or not.
    """
    found = {}
    of_table = entities(model)
    for entity in sorted(set(of_table.values())):
        trained = [r for r in model.row_inputs if r.entity == entity and not r.fixed]
        fields = tuple(sorted({r.field for r in trained}))
        table = next(t for t, e in of_table.items() if e == entity)
        num_rows = len(shared.tables[table])
        known = samples.touched
        if entity in whole:
            start = samples.client * num_rows
            places = {name: start + samples.fields[name] for name in fields}
            found[entity] = Touched(every_row(num_rows, samples.num_clients), places)
        elif known is not None and entity == "item" and known.index.num_rows == num_rows:
            found[entity] = known
        else:
            found[entity] = find_touched(samples, fields, num_rows)
    return found


@dataclass(frozen=True, eq=False)
class Visits:
    """The cells of the tiles that read or write rows of changes, step by step.

    Attributes:
        cell: int32 [n], ascending; counted from the first cell of their step.
        slot: int32 [n], row of the changes.
        start: int32 [S+1], the cells of step s are start[s]..start[s+1].
    """

    cell: NDArray[np.int32]
    slot: NDArray[np.int32]
    start: NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class Traffic:
    """Which cells read and which write the clients' own changes of their rows.

    Attributes:
        reads: field -> visits; a row is read once an earlier step may have changed it.
        writes: field -> visits.
        num_slots: rows of changes that are kept during training.
    """

    reads: dict[str, Visits]
    writes: dict[str, Visits]
    num_slots: int


def plan_traffic(
    tiles: Tiles, touched: Touched, *, again: bool, moving: bool, changed: bool, sparing: bool
) -> Traffic:
    """Find the reads and writes of one entity's rows.

    Args:
        tiles: the batches.
        touched: the rows and their places.
        again: whether all steps are repeated.
        moving: whether the rows move in this phase.
        changed: whether they may differ from the received ones at its start.
        sparing: keep only changes that a later step reads (the others are known by
            their factors).
    """
    size = len(touched.index.ids)
    places = {name: place[tiles.source] for name, place in touched.places.items()}
    real = tiles.weight > 0
    some = dict.fromkeys(places, real) if moving else {}
    if changed or (again and moving):
        every = dict.fromkeys(places, real)
        return _traffic(tiles, places, every, some, np.arange(size, dtype=np.int32), size)
    none = {name: np.zeros_like(real) for name in places}
    if not moving:
        return _traffic(tiles, places, none, {}, np.zeros(size, np.int32), 0)
    if tiles.num_steps <= 1 and sparing:
        return _traffic(tiles, places, none, none, np.zeros(size, np.int32), 0)
    if tiles.num_steps <= 1:
        return _traffic(tiles, places, none, some, np.arange(size, dtype=np.int32), size)
    first, last = _first_and_last(tiles, places, size)
    step = tiles.tile_step[:, None]
    reads = {name: real & (step > first[place]) for name, place in places.items()}
    if not sparing:
        return _traffic(tiles, places, reads, some, np.arange(size, dtype=np.int32), size)
    writes = {name: real & (step < last[place]) for name, place in places.items()}
    kept = first < last
    slot = np.cumsum(kept, dtype=np.int32) - 1
    return _traffic(tiles, places, reads, writes, slot, int(np.count_nonzero(kept)))


def _first_and_last(
    tiles: Tiles, places: Mapping[str, NDArray], size: int
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return the first and the last step that visits each row, int32 [T]; never: first > last."""
    first = np.full(size, tiles.num_steps, np.int32)
    last = np.full(size, -1, np.int32)
    for place in places.values():
        one = np.full(size, -1, np.int32)
        step = np.broadcast_to(tiles.tile_step[:, None], place.shape).ravel()
        one[place.ravel()] = step  # where a row is named again, the later step stays
        np.maximum(last, one, out=last)
        one[place.ravel()[::-1]] = step[::-1]
        np.minimum(first, np.where(one < 0, first, one), out=first)
    return first, last


def _traffic(
    tiles: Tiles,
    places: Mapping[str, NDArray],
    reads: Mapping[str, NDArray[np.bool_]],
    writes: Mapping[str, NDArray[np.bool_]],
    slot: NDArray[np.int32],
    num_slots: int,
) -> Traffic:
    def visits(name: str, wanted: NDArray[np.bool_]) -> Visits:
        width = wanted.shape[1] if wanted.ndim > 1 else 1
        cell = np.flatnonzero(wanted)
        first = tiles.tile_start.astype(np.int64) * width
        start = np.searchsorted(cell, first)
        own = cell - np.repeat(first[:-1], np.diff(start))
        place = slot[places[name].ravel()[cell]]
        return Visits(own.astype(np.int32), place.astype(np.int32), start.astype(np.int32))

    return Traffic(
        {name: visits(name, wanted) for name, wanted in reads.items()},
        {name: visits(name, wanted) for name, wanted in writes.items()},
        num_slots,
    )


@dataclass(frozen=True, eq=False)
class Factors:
    """Row changes of rank one for each batch: one number a sample, one vector a batch.

    The change of row t is the sum of ``coefficient[n] * vector[batch[n]]`` over the
    samples n with ``place[n] == t``.

    Attributes:
        place: int32 [n], row among the T rows of the index.
        batch: int32 [n].
        coefficient: float32 [n].
        client: int32 [M], client of each batch.
        vector: float32 [M, d].
    """

    place: NDArray[np.integer]
    batch: NDArray[np.integer]
    coefficient: NDArray[np.float32]
    client: NDArray[np.int32]
    vector: NDArray[np.float32]

    def dense(self, num_rows: int) -> NDArray[np.float32]:
        """Return the changes of all rows, float32 [T, d]."""
        shape = (num_rows, len(self.vector))
        result: NDArray[np.float32] = (
            csr_matrix((self.coefficient, (self.place, self.batch)), shape) @ self.vector
        )
        return result


def factors_of(
    model: Recommender,
    touched: Mapping[str, Touched],
    tiles: Tiles,
    out: Mapping[str, Any],
    *,
    rank_one: bool,
) -> dict[str, list[Factors]]:
    """Return the factors of each table's row changes.

    Args:
        model: names its row inputs.
        touched: entity -> the touched rows, and the places of the samples.
        tiles: the batches.
        out: what the compiled loop gave: "vector/NAME" and, of rank one, "coefficient/NAME".
        rank_one: whether a sample's change is a number times its batch's vector.
    """
    factors: dict[str, list[Factors]] = {}
    for r in (r for r in model.row_inputs if not r.fixed):
        place = touched[r.entity].places[r.field][tiles.source]
        batch = np.broadcast_to(tiles.batch[:, None], place.shape)
        vector = out[f"vector/{r.name}"].numpy()
        if rank_one:
            coefficient = out[f"coefficient/{r.name}"].numpy().ravel()
            found = Factors(place.ravel(), batch.ravel(), coefficient, tiles.client, vector)
        else:
            each, ones = np.arange(place.size), np.ones(place.size, np.float32)
            found = Factors(place.ravel(), each, ones, tiles.client[batch.ravel()], vector)
        factors.setdefault(r.table, []).append(found)
    return factors


class FactoredRows(Mapping[str, NDArray]):
    """Row changes of some tables that are written out only where someone asks for them.

    Args:
        factors: table name -> its factors, which are added up.
        index: table name -> which client and row each change belongs to.
    """

    def __init__(
        self, factors: Mapping[str, Sequence[Factors]], index: Mapping[str, RowIndex]
    ) -> None:
        self.factors = factors
        self._index = index
        self._dense: dict[str, NDArray[np.float32]] = {}

    def __getitem__(self, table: str) -> NDArray[np.float32]:
        if table not in self._dense:
            size = len(self._index[table].ids)
            parts = [one.dense(size) for one in self.factors[table]]
            self._dense[table] = sum(parts[1:], start=parts[0])
        return self._dense[table]

    def __iter__(self) -> Iterator[str]:
        return iter(self.factors)

    def __len__(self) -> int:
        return len(self.factors)

    def num_bytes(self, table: str) -> int:
        """Return the bytes of a table's changes, written out in float32."""
        return 4 * self.factors[table][0].vector.shape[1] * len(self._index[table].ids)
