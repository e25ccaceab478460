"""How much a model's rows and tables take, for blocks of clients that fit in memory."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from fedrec.data.interactions import Catalogue
from fedrec.models.recommender import Recommender, RowInput, constants
from fedrec.training.rows import personal_tables

_NO_LIMIT = 1 << 40


@lru_cache(maxsize=64)
def row_width(model: Recommender, row: RowInput) -> int:
    """Return the width of an input's rows."""
    if row.own:
        return int(model.init_personal(np.zeros(1, np.int64), 0).values[row.table].shape[-1])
    shared = model.init_shared(Catalogue(np.array(["0"], object)), 0)
    return int({**constants(model), **shared.fixed, **shared.tables}[row.table].shape[1])


def clients_at_once(model: Recommender, num_bytes: int, num_items: int = 0) -> int:
    """Return how many clients' own tables take so many bytes, at least 1.

    Args:
        model: the model.
        num_bytes: what they may take.
        num_items: rows of the shared tables, if clients train all of them; else 0.
    """
    names = personal_tables(model)
    if num_items:
        rows = {r.table: row_width(model, r) for r in model.row_inputs if not (r.fixed or r.own)}
        return max(1, num_bytes // max(1, 4 * num_items * sum(rows.values())))
    if not names:
        return _NO_LIMIT
    one = model.init_personal(np.zeros(1, np.int64), 0).values
    return max(1, num_bytes // sum(one[name].nbytes for name in names))
