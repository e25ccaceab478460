"""What single clients have of a table: a table of their own, or rows made for them.

Only the rows that a client touches enter its training, and only those come out of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedrec.models.recommender import Recommender
from fedrec.params import Guides, Personal, Shared
from fedrec.training.rows import RowIndex, Touched, personal_tables

Arrays = dict[str, NDArray[np.float32]]


def vectors_of(model: Recommender, personal: Personal) -> Arrays:
    """Return the personal values that are no tables."""
    tables = personal_tables(model)
    return {name: value for name, value in personal.values.items() if name not in tables}


def own_rows(model: Recommender, personal: Personal, touched: Mapping[str, Touched]) -> Arrays:
    """Return the touched rows of the clients' own tables, name -> float32 [T, d]."""
    rows = {}
    for table, entity in personal_tables(model).items():
        index = touched[entity].index
        rows[table] = personal.values[table][index.client, index.ids]
    return rows


def no_rows(model: Recommender, personal: Personal) -> Arrays:
    """Return tables of zeros, [I, d], to which the clients' own rows are added."""
    names = personal_tables(model)
    return {name: np.zeros(personal.values[name].shape[1:], np.float32) for name in names}


def with_own_rows(
    model: Recommender, personal: Personal, touched: Mapping[str, Touched], rows: Mapping[str, Any]
) -> Arrays:
    """Return the clients' own tables [C, I, d] with their touched rows replaced.

    Args:
        model: names the tables.
        personal: what the clients had.
        touched: entity -> the T touched rows.
        rows: table -> float32 [T, d].
    """
    tables = {}
    for table, entity in personal_tables(model).items():
        index, value = touched[entity].index, personal.values[table].copy()
        value[index.client, index.ids] = np.asarray(rows[table])
        tables[table] = value
    return tables


def aims(shared: Shared, index: Mapping[str, RowIndex]) -> Arrays:
    """Return how far each touched row is from what its client's guides say, [T, d].

    Zero where there is no guide: such a row is pulled to what was received.

    Args:
        shared: tables and guides, whose clients are the positions 0..C-1.
        index: table -> the touched rows.
    """
    guides = shared.guides
    if guides is None:
        return {}
    found = {}
    for table, told in guides.rows.items():
        one = index[table]
        place, known = _find(guides, one)
        aim = np.zeros((len(one.ids), *told.shape[1:]), np.float32)
        aim[known] = told[place[known]] - shared.tables[table][one.ids[known]]
        found[table] = aim
    return found


def _find(guides: Guides, index: RowIndex) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return where each touched row stands among the guides, int64 [T], and whether it does."""
    wanted = index.client.astype(np.int64) * index.num_rows + index.ids
    told = guides.client * index.num_rows + guides.ids
    place = np.searchsorted(told, wanted)
    known = place < len(told)
    known[known] = told[place[known]] == wanted[known]
    return place, known
