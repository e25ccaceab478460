"""The centralised twin of a graph model: the same graph, loss and sampler on pooled data.

One machine holds all sub-graphs.  A step takes some users at a time, about `central.batch`
samples; their gradients come from `train_cohort` as on a device, go back through the
propagation, and an optimiser steps the base table.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedrec.data.batches import draw_samples, sample_counts
from fedrec.params import Personal, Shared
from fedrec.rng import Purpose, draw, keys
from fedrec.training.aggregate import partial_sum
from fedrec.training.gram import TABLE
from fedrec.training.graph import GraphSums, Propagation
from fedrec.training.local import train_cohort
from fedrec.training.node import Setup, in_round, init_shared, train_node
from fedrec.training.schedule import share_of_rate


def graph_epochs(setup: Setup) -> Iterator[tuple[int, float, Shared]]:
    """Yield the number, the mean loss and the propagated parameters of each epoch.

    Args:
        setup: the prepared configuration.
    """
    central, population = setup.config.central, setup.population
    graph, base = pooled_graph(setup), init_shared(setup).tables[TABLE]
    method = in_round(setup, setup.config.train.graph_rounds + 1).method
    variable, optimizer = _optimizer(central.optimizer, central.lr, base)
    shared = Shared({TABLE: graph(base)})
    for number in range(1, central.epochs + 1):
        losses, weight = 0.0, 0.0
        share = share_of_rate(central.schedule, number - 1, central.epochs)
        optimizer.learning_rate = central.lr * share
        for clients in _steps(setup, number):
            samples = draw_samples(
                population, clients, setup.config.run.seed, number, method.sampling
            )
            update = train_cohort(setup.model, shared, Personal({}), samples, method)
            total = partial_sum([update], shared, 0.0).tables[TABLE]
            gradient = np.zeros_like(base)
            gradient[total.ids] = -total.rows
            decay = central.l2 * len(clients) / population.num_clients * variable.numpy()
            optimizer.apply_gradients([(graph(gradient) + decay, variable)])
            shared = Shared({TABLE: graph(np.array(variable.numpy()))})
            losses += float(update.loss @ update.samples)
            weight += float(update.samples.sum())
        yield number, losses / max(weight, 1.0), shared


def pooled_graph(setup: Setup) -> Propagation:
    """Return the propagation of the graph of all clients."""
    statistics, start = setup.method.statistics, init_shared(setup)
    if not isinstance(statistics, GraphSums):
        raise ValueError("a graph model needs method.statistics")
    sums = statistics.zeros(start).tables[TABLE].astype(np.float64)
    everyone = np.arange(setup.population.num_clients)
    for number in range(1, statistics.rounds + 1):
        total, _ = train_node(setup, start, Personal({}), everyone, number)
        sums[total.tables[TABLE].ids] += total.tables[TABLE].rows
    return statistics.propagation(sums)


def _steps(setup: Setup, number: int) -> Iterator[NDArray[np.int64]]:
    """Yield the users of each step of an epoch, in an order of its own."""
    users = np.arange(setup.population.num_clients)
    order = draw(keys(setup.config.run.seed, number, users, Purpose.SHUFFLE), 1 << 40)
    users = users[np.argsort(order, kind="stable")]
    size = sample_counts(setup.population, setup.method.sampling)[users]
    step = np.cumsum(size) // max(setup.config.central.batch, 1)
    for part in np.split(users, np.flatnonzero(np.diff(step)) + 1):
        if len(part):
            yield np.sort(part)


def _optimizer(name: str, lr: float, base: NDArray[np.float32]) -> tuple[Any, Any]:
    """Return the base table as a variable, and what steps it."""
    import keras

    variable = keras.Variable(base)
    optimizer: Any = {"sgd": keras.optimizers.SGD, "adam": keras.optimizers.Adam}[name](lr)
    optimizer.build([variable])
    return variable, optimizer
