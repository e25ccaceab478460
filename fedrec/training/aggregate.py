"""From the updates of a cohort to one partial sum."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from fedrec.params import PartialSum, Shared, SparseRows
from fedrec.training.local import CohortUpdate

ROW_ID_BYTES = 4
_NO_METRICS = {"loss": 0.0, "samples": 0.0, "bytes_up": 0.0}


def client_weights(update: CohortUpdate, weighting: str) -> NDArray[np.float64]:
    """Return each client's weight in the mean, float64 [C]: its samples, or 1."""
    return update.samples if weighting == "samples" else np.ones_like(update.samples)


def bytes_up(update: CohortUpdate) -> float:
    """Bytes that the C clients would send: row ids (4 bytes), float32 rows and weights.

    A compressed update says so itself.
    """
    if update.sent is not None:
        return float(update.sent.sum())
    total = sum(v.nbytes for v in update.weights.values())
    for table, rows in update.rows.items():
        total += rows.nbytes
        total += len(rows) * ROW_ID_BYTES if table == _first_table(update, table) else 0
    return float(total)


def _first_table(update: CohortUpdate, table: str) -> str:
    """Tables over the same ids share one list of ids on the wire."""
    return next(t for t, index in update.index.items() if index is update.index[table])


def partial_sum(updates: Iterable[CohortUpdate], shared: Shared, weighting: str) -> PartialSum:
    """Sum the weighted updates of all clients of some cohorts.

    Sums are kept in float64, so that they do not depend on how clients are spread.

    Args:
        updates: cohort updates, consumed one at a time.
        shared: the shared parameters, for their shapes.
        weighting: "samples" or "equal".

    Returns:
        The partial sum; an empty one if there is no update.
    """
    tables = {t: np.zeros(v.shape) for t, v in shared.tables.items()}
    row_weight = {t: np.zeros(len(v)) for t, v in shared.tables.items()}
    touched = {t: np.zeros(len(v), bool) for t, v in shared.tables.items()}
    weights = {n: np.zeros(v.shape) for n, v in shared.weights.items()}
    metrics: dict[str, float] = {}
    total, clients = 0.0, 0
    for update in updates:
        weight = client_weights(update, weighting)
        for table in tables:
            index = update.index[table]
            of_row = weight[index.client]
            shape = (index.num_rows, len(index.ids))
            scatter = csr_matrix((of_row, (index.ids, np.arange(len(index.ids)))), shape)
            tables[table] += scatter @ update.rows[table]
            row_weight[table] += np.bincount(index.ids, of_row, index.num_rows)
            touched[table][index.ids] = True
        for name in weights:
            weights[name] += np.tensordot(weight, update.weights[name].astype(np.float64), 1)
        total += float(weight.sum())
        clients += len(weight)
        add_metrics(metrics, update, weight)
    ids = {t: np.flatnonzero(hit) for t, hit in touched.items()}
    return PartialSum(
        {t: SparseRows(ids[t], tables[t][ids[t]]) for t in tables},
        {t: row_weight[t][ids[t]] for t in tables},
        weights,
        total,
        clients,
        {**_NO_METRICS, **metrics},
    )


def add_metrics(
    metrics: dict[str, float], update: CohortUpdate, weight: NDArray[np.float64]
) -> None:
    """Add the numbers of C clients to sums over clients, in place.

    Args:
        metrics: "loss" (weighted), "samples", "bytes_up" and whatever else clients count.
        update: of C clients.
        weight: float64 [C], weight of each client in the mean.
    """
    told = {
        "loss": float(weight @ update.loss),
        "samples": float(update.samples.sum()),
        "bytes_up": bytes_up(update),
        **{name: float(value.sum()) for name, value in update.metrics.items()},
    }
    for name, value in told.items():
        metrics[name] = metrics.get(name, 0.0) + value
