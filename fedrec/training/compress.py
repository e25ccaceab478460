"""Smaller updates: the largest rows, in a subspace, in few bits.

The largest rows are chosen before an update is bounded, in every mode.  Without secure
aggregation an update is then projected and rounded, and what a client would send is
counted: for each of its rows an id (4 bytes, once for tables over the same ids) and r or
d elements of `compress.bits` bits; for each table one float32, its largest element, where
elements are rounded; dense weights as float32.  With secure aggregation the rows of all
clients are projected and rounded as `fedrec.training.secure_update` describes.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from fedrec.config import Config
from fedrec.errors import ModelError
from fedrec.params import Shared
from fedrec.rng import Purpose, draw, keys
from fedrec.secure.quantise import round_randomly
from fedrec.training.aggregate import ROW_ID_BYTES
from fedrec.training.cohort import CohortUpdate
from fedrec.training.rows import RowIndex
from fedrec.training.subspace import bases, expand, project

WHOLE = 32
"""Bits of an element that is not rounded: a float32."""

_TABLE_STRIDE = 1 << 40  # distance between the counters of two tables
_TINY = np.finfo(np.float64).tiny


def top_rows(update: CohortUpdate, count: int) -> CohortUpdate:
    """Keep each client's `count` rows of largest L2 norm, lower ids first among equals.

    The norm of an item goes over all tables with the same ids, which keep the same rows.

    Args:
        update: of C clients.
        count: rows of a client; 0 for all.
    """
    if not count:
        return update
    squares: dict[int, NDArray[np.float64]] = {}
    for table, index in update.index.items():
        flat = update.rows[table].reshape(len(index.ids), -1)
        own = np.square(flat, dtype=np.float64).sum(1)
        squares[id(index)] = squares.get(id(index), 0.0) + own
    kept: dict[int, tuple[RowIndex, NDArray[np.intp]]] = {}
    for index in update.index.values():
        if id(index) not in kept:
            place = _largest(index, squares[id(index)], count)
            smaller = replace(index, client=index.client[place], ids=index.ids[place])
            kept[id(index)] = (smaller, place)
    rows = {t: value[kept[id(update.index[t])][1]] for t, value in update.rows.items()}
    return replace(update, rows=rows, index={t: kept[id(i)][0] for t, i in update.index.items()})


def _largest(index: RowIndex, squares: NDArray[np.float64], count: int) -> NDArray[np.intp]:
    """Return the places of each client's largest rows, ascending."""
    finite = np.where(np.isnan(squares), np.inf, squares)  # a diverged row is never hidden
    order = np.lexsort((index.ids, -finite, index.client))
    first = np.searchsorted(index.client, index.client)  # of the owner, and order keeps owners
    return np.sort(order[np.arange(len(order)) - first < count])


def as_received(
    config: Config,
    update: CohortUpdate,
    shared: Shared,
    clients: NDArray[np.int64],
    round_number: int,
) -> CohortUpdate:
    """Return what the server decodes from what clients send in clear, and its size.

    Args:
        config: of the run, without secure aggregation.
        update: of C clients, already bounded.
        shared: what the server sent, for its shapes.
        clients: int64 [C], their numbers: roundings are addressed by client and row.
        round_number: the round.

    Returns:
        The updates with `sent`, the bytes of each client; as they are without compression.

    Raises:
        ModelError: if elements are to be rounded and one is not finite.
    """
    section = config.compress
    if not (section.rank or section.bits < WHOLE):
        return update
    found = bases(config, {n: v.shape for n, v in shared.tables.items()}, round_number)
    update = project(update, found)
    sent = _bytes_of_clients(update, section.bits)
    drawing = keys(config.run.seed, round_number, clients, Purpose.ROUNDING)
    rows = {}
    for number, (table, value) in enumerate(sorted(update.rows.items())):
        if section.bits < WHOLE:
            index = update.index[table]
            address = draw(drawing[index.client], index.ids + number * _TABLE_STRIDE)
            rounded = _rounded(value, index, address, section.bits, table)
            value = rounded.astype(np.float32)
        rows[table] = expand(value, table, found).astype(np.float32)
    return replace(update, rows=rows, sent=sent)


def _bytes_of_clients(update: CohortUpdate, bits: int) -> NDArray[np.float64]:
    """Return what each client sends, float64 [C]."""
    total = np.zeros(len(update.samples))
    seen: set[int] = set()
    for table, value in update.rows.items():
        index = update.index[table]
        number = np.bincount(index.client, minlength=len(total))
        width = int(np.prod(value.shape[1:], dtype=np.int64))
        total += np.ceil(number * width * bits / 8) + (4 if bits < WHOLE else 0)
        total += 0 if id(index) in seen else ROW_ID_BYTES * number
        seen.add(id(index))
    return total + sum(value[0].nbytes for value in update.weights.values() if len(value))


def _rounded(
    rows: NDArray[np.float32],
    index: RowIndex,
    address: NDArray[np.uint64],
    bits: int,
    table: str,
) -> NDArray[np.float64]:
    """Round elements to 2**bits - 1 levels between plus and minus a client's largest one.

    Zero and the largest element are levels.

    Raises:
        ModelError: if an element is not finite.
    """
    if not np.isfinite(rows).all():
        raise ModelError(
            f"updates of table {table!r} hold values that are not finite: lower the learning rate"
        )
    largest = np.zeros(index.num_clients, np.float32)
    np.maximum.at(largest, index.client, np.abs(rows).max(axis=1, initial=0.0))
    top = 2 ** (bits - 1) - 1
    step = np.maximum(largest[index.client, None].astype(np.float64) / top, _TINY)
    counter = np.arange(rows.shape[1])
    words = draw(address[:, None], counter) >> np.uint64(32)
    levels = round_randomly(rows / step + top, 2 * top, words.astype(np.uint32))
    return (levels.astype(np.float64) - top) * step
