"""How much time does GPFedRec's graph of users take, without a table for each client?

    python experiments/graph_speed.py [--json FILE]

The committed figures come from --json experiments/results/bench/graph.json.

The clients of both data sets change the rows of the items that a round's samples give them, by
drawn numbers.  The similarities of the clients' tables and the means of their neighbours' tables
in the rows that each has changed (`fedrec.training.user_graph`) are timed, in turns with the
same from tables written out, [clients, items, dim], and their products; the least of `TURNS`
counts.  Both must come to the same means.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import tensorflow as tf

from experiments.board.entries import read_entries
from experiments.still_speed import time_all
from fedrec.data.batches import draw_samples
from fedrec.errors import FedrecError
from fedrec.params import Shared
from fedrec.robust.updates import Updates
from fedrec.training.node import init_shared, prepare
from fedrec.training.user_graph import guides_of, neighbours, side_by_side, similarities

DATA = ("ml-100k", "complete-journey")
TURNS, CHANGE = 3, 0.1


def drawn(method: str, data: str) -> tuple[Updates, Shared, float]:
    """Return updates of all clients, what they received, and the factor of the method's file."""
    (entry,) = [e for e in read_entries() if e.name == method and not e.leaky]
    setup = prepare(entry.config(data))
    population, config = setup.population, setup.config
    everyone = np.arange(population.num_clients)
    samples = draw_samples(population, everyone, config.run.seed, 1, setup.method.sampling)
    pairs = np.unique(samples.client * population.num_items + samples.fields["item"])
    client, ids = np.divmod(pairs, population.num_items)
    draw = np.random.default_rng(0)
    rows = CHANGE * draw.standard_normal((len(pairs), config.model.dim), np.float32)
    shared = init_shared(setup)
    weight, widths = np.ones(len(everyone)), {"item": config.model.dim}
    updates = Updates(everyone, client, ids, rows, {}, weight, population.num_items, widths)
    return updates, shared, config.train.neighbour_factor


def ours(updates: Updates, shared: Shared, factor: float) -> Any:
    """Return the means of the neighbours' tables in the rows that clients changed, [T, D]."""
    joined = neighbours(similarities(updates, shared), factor)
    return guides_of(updates, shared, joined).rows["item"]


def written_out(updates: Updates, shared: Shared, factor: float) -> Any:
    """Return the same from a table for each client."""
    tables = np.tile(side_by_side(updates, shared), (len(updates.clients), 1, 1))
    tables[updates.client, updates.ids] += updates.rows
    flat = tables.reshape(len(tables), -1)
    norm = np.linalg.norm(flat, axis=1)
    alike = flat @ flat.T / (norm[:, None] * norm)
    joined = neighbours(alike, factor).astype(np.float32)
    means = tf.matmul(joined / joined.sum(1, keepdims=True), flat).numpy()
    return means.reshape(tables.shape)[updates.client, updates.ids]


def measure(method: str, data: str) -> dict[str, Any]:
    """Time both for a method on a data set.

    Raises:
        FedrecError: if their means differ.
    """
    given = drawn(method, data)
    found: dict[str, list[float]] = {"with": [], "without": []}
    for _ in range(TURNS):
        came = []
        for name, way in (("with", ours), ("without", written_out)):
            start = time.perf_counter()
            came.append(way(*given))
            found[name].append(time.perf_counter() - start)
        apart = float(np.abs(came[0] - came[1]).max())
        if apart > 0.01 * CHANGE:
            raise FedrecError(f"the means of neighbours differ by {apart}: they must be the same")
    least = {name: round(min(values), 4) for name, values in found.items()}
    return {"method": method, "data": data, **least, "turns": TURNS}


if __name__ == "__main__":
    time_all(__doc__ or "", [("gpfedrec", data) for data in DATA], measure)
