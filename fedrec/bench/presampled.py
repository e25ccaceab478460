"""Negatives that are drawn once and used in every round, as other simulators do it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from fedrec.bench.stopwatch import replaced
from fedrec.data.batches import Samples, Sampling, draw_samples
from fedrec.data.population import Population, expand
from fedrec.training.node import Setup

PRESAMPLED_ROUND = 0
"""The round whose draws stand for those of all rounds."""


@contextmanager
def presample(setup: Setup, clients: NDArray[np.int64]) -> Iterator[Samples]:
    """Let clients train on the same samples in every round within.

    Args:
        setup: the prepared configuration.
        clients: int64 [K], ascending, all that will train (user clients).

    Yields:
        The samples of all K clients.
    """
    seed, spec = setup.config.run.seed, setup.method.sampling
    everyone = draw_samples(setup.population, clients, seed, PRESAMPLED_ROUND, spec)
    counts = np.bincount(everyone.client, minlength=len(clients))
    indptr = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])

    def take(
        population: Population,
        chosen: NDArray[np.int64],
        seed: int,
        round_number: int,
        spec: Sampling,
    ) -> Samples:
        return some_clients(everyone, indptr, np.searchsorted(clients, chosen))

    with replaced(draw_samples, take, "fedrec.data.batches", "draw_samples"):
        yield everyone


def some_clients(
    samples: Samples, indptr: NDArray[np.int64], positions: NDArray[np.int64]
) -> Samples:
    """Return the samples of some clients of a block.

    Args:
        samples: of all clients.
        indptr: int64 [K+1], where the samples of each client begin.
        positions: int64 [C], ascending, which clients.
    """
    at = expand(indptr, positions)
    counts = np.diff(indptr)[positions]
    return Samples(
        np.repeat(np.arange(len(positions)), counts),
        {name: value[at] for name, value in samples.fields.items()},
        samples.label[at],
        samples.weight[at],
        samples.order[at],
        len(positions),
    )
