"""A small federation for the tests of audits: a server that adds, and hand-made updates."""

from __future__ import annotations

import numpy as np

from fedrec.params import PartialSum, Shared
from fedrec.robust.updates import Updates
from fedrec.training.node import Setup
from tests.training.cohorts import random_population, setup_of


class PlainServer:
    """Chooses the first clients and adds the mean of the sum."""

    def __init__(self, setup: Setup, shared: Shared, per_round: int = 10**9) -> None:
        self.clients = np.arange(setup.population.num_clients)[:per_round]

    def sample(self, round_number: int) -> np.ndarray:
        return self.clients

    def apply(self, shared: Shared, total: PartialSum, round_number: int) -> Shared:
        tables = {
            name: (table + total.tables[name].dense(len(table)) / max(total.weight, 1)).astype("f4")
            for name, table in shared.tables.items()
        }
        weights = {n: (v + total.weights[n] / max(total.weight, 1)).astype("f4")
                   for n, v in shared.weights.items()}  # fmt: skip
        return Shared(tables, weights)


def small_setup(num_users: int = 40, num_items: int = 60, **keys: object) -> Setup:
    sizes = [6 + user % 9 for user in range(num_users)]
    values = {"train__method": "alternating", "train__optimizer": "adam", "train__reduction": "sum",
              "train__negatives": 4, "server__weighting": "equal", "audit__bootstrap": 100,
              "audit__shadow_passes": 3}  # fmt: skip
    return setup_of(random_population(sizes, num_items), **{**values, **keys})


def updates_of(
    rows: list[dict[int, list[float]]],
    num_items: int,
    weights: list[list[float]] | None = None,
) -> Updates:
    """Make updates from item -> row for each client, and one dense weight vector each."""
    client = [c for c, mine in enumerate(rows) for _ in mine]
    ids = [i for mine in rows for i in sorted(mine)]
    values = [mine[i] for mine in rows for i in sorted(mine)]
    width = len(values[0])
    dense = {} if weights is None else {"head": np.array(weights, np.float32)}
    return Updates(
        np.arange(len(rows)),
        np.array(client, np.int64),
        np.array(ids, np.int64),
        np.array(values, np.float32),
        dense,
        np.ones(len(rows)),
        num_items,
        {"item": width},
    )
