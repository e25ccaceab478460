"""From the updates of a cohort to one partial sum."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from fedrec.config import Config
from fedrec.params import PartialSum, Shared
from fedrec.training.cohort import CohortUpdate
from fedrec.training.rows import FactoredRows
from fedrec.training.table_sum import Summed, TableSum, summed_weight

ROW_ID_BYTES = 4
_NO_METRICS = {"loss": 0.0, "samples": 0.0, "bytes_up": 0.0}


def weight_exponent(config: Config) -> float:
    """Return the power of a client's samples that is its weight: 0 where all count alike."""
    return config.server.weight_power if config.server.weighting == "samples" else 0.0


def client_weights(update: CohortUpdate, exponent: float) -> NDArray[np.float64]:
    """Return each client's weight in the mean, float64 [C]: its samples to a power.

    Args:
        update: of C clients.
        exponent: 1: their samples; 0: all alike; between, large clients count more than small
            ones, and less than their samples would have it.
    """
    return np.power(update.samples, exponent)


def bytes_up(update: CohortUpdate) -> float:
    """Bytes that the C clients would send: row ids (4 bytes), float32 rows and weights.

    A compressed update says so itself.
    """
    if update.sent is not None:
        return float(update.sent.sum())
    total = sum(_bytes(update.weights, name) for name in update.weights)
    for table, index in update.index.items():
        total += _bytes(update.rows, table)
        total += len(index.ids) * ROW_ID_BYTES if table == _first_table(update, table) else 0
    return float(total)


def _bytes(changes: Mapping[str, NDArray], name: str) -> int:
    """Bytes of some changes in float32; what is not written out says so itself."""
    if isinstance(changes, FactoredRows | Summed):
        return changes.num_bytes(name)
    return changes[name].nbytes


def _first_table(update: CohortUpdate, table: str) -> str:
    """Tables over the same ids share one list of ids on the wire."""
    return next(t for t, index in update.index.items() if index is update.index[table])


def partial_sum(updates: Iterable[CohortUpdate], shared: Shared, exponent: float) -> PartialSum:
    """Sum the weighted updates of all clients of some cohorts.

    Sums are kept in float64, so that they do not depend on how clients are spread.

    Args:
        updates: cohort updates, consumed one at a time.
        shared: the shared parameters, for their shapes.
        exponent: of their samples, in the weights of clients.

    Returns:
        The partial sum; an empty one if there is no update.
    """
    tables = {t: TableSum(*v.shape) for t, v in shared.tables.items()}
    weights = {n: np.zeros(v.shape) for n, v in shared.weights.items()}
    metrics: dict[str, float] = {}
    total, clients = 0.0, 0
    for update in updates:
        weight = client_weights(update, exponent)
        for name, table in tables.items():
            table.add(update.rows, name, update.index[name], weight)
        for name in weights:
            weights[name] += summed_weight(update.weights, name, weight)
        total += float(weight.sum())
        clients += len(weight)
        add_metrics(metrics, update, weight)
    sums = {t: table.take() for t, table in tables.items()}
    return PartialSum(
        {t: rows for t, (rows, _) in sums.items()},
        {t: weight for t, (_, weight) in sums.items()},
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
