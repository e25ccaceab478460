"""What a client does to its update before it leaves, as functions over the axis C.

Clients of a cohort stay apart: every bound holds for each client's whole update,
all tables and weights together, and no number of one depends on another.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from fedrec.rng import Purpose, draw, integers, keys, normal
from fedrec.training.cohort import CohortUpdate
from fedrec.training.rows import RowIndex
from fedrec.training.statistics import SparseChanges

_MARGIN = 1e-6
"""Clipped updates are this much shorter than the bound: float32 may round up."""

_TABLE_STRIDE = 1 << 40  # distance between the counters of two tables


def client_norms(update: CohortUpdate) -> NDArray[np.float64]:
    """Return the L2 norm of each client's whole update, float64 [C]."""
    total = np.zeros(len(update.samples))
    for table in update.rows:
        squares = _squares(update.rows, table)
        total += np.bincount(update.index[table].client, squares, len(total))
    for value in update.weights.values():
        total += np.square(value, dtype=np.float64).reshape(len(total), -1).sum(1)
    return np.sqrt(total)


def clip_clients(
    update: CohortUpdate, limit: float
) -> tuple[CohortUpdate, NDArray[np.float64], NDArray[np.bool_]]:
    """Shorten each client's whole update to an L2 norm of at most `limit`.

    McMahan et al., "Learning differentially private recurrent language models" (ICLR
    2018), flat clipping.  An update that is not finite becomes zero: nothing bounds
    it, and it would reach every other client's sum.

    Args:
        update: of C clients.
        limit: the bound.

    Returns:
        The bounded updates, their norms before (float64 [C]), and whether each was
        within the bound (bool [C]).
    """
    norms = client_norms(update)
    finite = np.isfinite(norms)
    within = finite & (norms <= limit)
    shorter = limit * (1.0 - _MARGIN) / np.maximum(norms, limit)
    factor = np.where(within, 1.0, np.where(finite, shorter, 0.0))
    return scale_clients(update, factor), norms, within


def scale_clients(update: CohortUpdate, factor: NDArray[np.float64]) -> CohortUpdate:
    """Multiply each client's update by its factor (float64 [C]); 0 also removes NaN."""
    weights = {n: _times(value, factor) for n, value in update.weights.items()}
    of_row = {t: factor[update.index[t].client] for t in update.rows}
    if isinstance(update.rows, SparseChanges):  # sums of ones and their like, always finite
        shorter = {t: m.multiply(of_row[t][:, None]) for t, m in update.rows.sparse.items()}
        few = SparseChanges({t: csr_matrix(m, dtype=np.float32) for t, m in shorter.items()})
        return replace(update, rows=few, weights=weights)
    rows = {t: _times(value, of_row[t]) for t, value in update.rows.items()}
    return replace(update, rows=rows, weights=weights)


def _squares(changes: Mapping[str, NDArray[np.float32]], table: str) -> NDArray[np.float64]:
    """Return the squared norm of each row of a table, float64 [T]."""
    if isinstance(changes, SparseChanges):
        few = changes.sparse[table].astype(np.float64)
        return np.asarray(few.multiply(few).sum(1), np.float64).ravel()
    squares: NDArray[np.float64] = np.square(changes[table], dtype=np.float64)
    return np.asarray(squares.sum(tuple(range(1, squares.ndim))), np.float64)


def _times(value: NDArray[np.float32], factor: NDArray[np.float64]) -> NDArray[np.float32]:
    wide = factor.reshape(-1, *[1] * (value.ndim - 1))
    with np.errstate(invalid="ignore", over="ignore"):
        return np.where(wide == 0, 0.0, value * wide).astype(np.float32)


def clip_rows(update: CohortUpdate, limit: float) -> CohortUpdate:
    """Shorten every row of an update to an L2 norm of at most `limit`."""
    rows = {}
    for table, value in update.rows.items():
        norms = np.sqrt(np.square(value, dtype=np.float64).reshape(len(value), -1).sum(1))
        shorter = limit * (1.0 - _MARGIN) / np.maximum(norms, limit)
        rows[table] = _times(value, np.where(norms <= limit, 1.0, shorter))
    return replace(update, rows=rows)


def add_pseudo_items(
    update: CohortUpdate, clients: NDArray[np.int64], count: int, seed: int, round_number: int
) -> CohortUpdate:
    """Let each client also send rows of random items that it does not touch.

    The pseudo items of FedGNN (Wu et al. 2021): their rows are normal with the mean
    and the variance, coordinate by coordinate, of the client's true rows.  It makes
    the set of touched items less telling, costs accuracy, and guarantees nothing.

    Args:
        update: of C clients.
        clients: int64 [C], their numbers.
        count: items drawn for each client; those it touches already add nothing.
        seed: of the draws.
        round_number: the round.
    """
    drawing = keys(seed, round_number, clients, Purpose.PSEUDO_ITEMS)
    grown: dict[int, tuple[RowIndex, NDArray[np.intp], NDArray[np.int64]]] = {}
    rows, index = dict(update.rows), dict(update.index)
    for number, (table, old) in enumerate(update.index.items()):
        if id(old) not in grown:  # tables over the same ids share one index, before and after
            grown[id(old)] = _grow(old, drawing, count)
        new, order, added = grown[id(old)]
        owner, item = np.divmod(added, old.num_rows)
        address = draw(drawing[owner], item + (number + 1) * _TABLE_STRIDE)
        made = _like(update.rows[table], old, owner, address)
        rows[table] = np.concatenate([update.rows[table], made])[order]
        index[table] = new
    return replace(update, rows=rows, index=index)


def _grow(
    old: RowIndex, drawing: NDArray[np.uint64], count: int
) -> tuple[RowIndex, NDArray[np.intp], NDArray[np.int64]]:
    """Return the larger index, the order of old and new rows in it, and the new keys."""
    items = integers(draw(drawing[:, None], np.arange(count)), old.num_rows)
    wanted = (np.arange(len(drawing))[:, None] * old.num_rows + items).ravel()
    had = old.client.astype(np.int64) * old.num_rows + old.ids
    added = np.setdiff1d(wanted, had)
    merged = np.concatenate([had, added])
    order = np.argsort(merged, kind="stable")
    client, ids = np.divmod(merged[order], old.num_rows)
    return RowIndex(client.astype(np.int32), ids, old.num_rows, old.num_clients), order, added


def _like(
    rows: NDArray[np.float32],
    index: RowIndex,
    owner: NDArray[np.int64],
    address: NDArray[np.uint64],
) -> NDArray[np.float32]:
    """Return normal rows with the moments of their owner's true rows, float32 [n, d]."""
    width = rows.shape[1]
    number = np.maximum(np.bincount(index.client, minlength=index.num_clients), 1)[:, None]

    def means(values: NDArray) -> NDArray[np.float64]:
        columns = [np.bincount(index.client, v, index.num_clients) for v in values.T]
        return np.stack(columns, 1) / number

    wide = rows.astype(np.float64)
    mean = means(wide)
    deviation = np.sqrt(means((wide - mean[index.client]) ** 2))
    return (mean[owner] + deviation[owner] * normal(address, width)).astype(np.float32)
