"""Samples that are the same in every round, kept for all clients of a population.

With negatives drawn once, a client's samples and the rows they touch never change: they
are drawn and indexed a single time, and a round only picks those of its clients.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from fedrec.data.batches import Samples, Sampling, make_samples, sample_counts, shuffling_words
from fedrec.data.population import Population, expand
from fedrec.data.touched import RowIndex, Touched, find_touched

_CHUNK = 1 << 18  # samples that are drawn at a time
LARGEST = 1 << 26
"""Samples that are kept, at most; those of larger populations are drawn again each round."""


@dataclass(frozen=True, eq=False)
class FixedSamples:
    """The samples of all clients.

    Attributes:
        num_rows: rows of the item table.
        start: int64 [C+1], the samples of client c are start[c]..start[c+1].
        row_start: int64 [C+1], its touched rows likewise.
        row_ids: int32 [R].
        places: id column -> int32 [n], row of each sample among those of its client.
        label: float32 [n].
        weight: float32 [n], or None: all weigh 1.
        users: int64 [C], the user behind each client.
        seed: of the run, for the order of each round.
    """

    num_rows: int
    start: NDArray[np.int64]
    row_start: NDArray[np.int64]
    row_ids: NDArray[np.int32]
    places: dict[str, NDArray[np.int32]]
    label: NDArray[np.float32]
    weight: NDArray[np.float32] | None
    users: NDArray[np.int64]
    seed: int

    def take(self, clients: NDArray[np.int64], round_number: int) -> Samples:
        """Return the samples of some clients for a round, which decides their order.

        Args:
            clients: int64 [C'], ascending.
            round_number: the round.
        """
        at = expand(self.start, clients)
        counts = self.start[clients + 1] - self.start[clients]
        owner = np.repeat(np.arange(len(clients)), counts)
        rows = self.row_start[clients + 1] - self.row_start[clients]
        ids = self.row_ids[expand(self.row_start, clients)].astype(np.int64)
        of_row = np.repeat(np.arange(len(clients), dtype=np.int32), rows)
        first = np.repeat((np.cumsum(rows) - rows).astype(np.int32), counts)
        places = {name: place[at] + first for name, place in self.places.items()}
        return Samples(
            owner,
            {name: ids[place] for name, place in places.items()},
            self.label[at],
            np.ones(len(at), np.float32) if self.weight is None else self.weight[at],
            shuffling_words(self.seed, round_number, self.users[clients], counts),
            len(clients),
            Touched(RowIndex(of_row, ids, self.num_rows, len(clients)), places),
        )


def fixed_samples(population: Population, seed: int, spec: Sampling) -> FixedSamples | None:
    """Return the samples of all clients (cached), or None if they cannot be kept.

    Args:
        population: the clients, each of one user.
        seed: of the run.
        spec: how samples are made.
    """
    one_user = population.num_clients == population.num_users
    too_many = int(sample_counts(population, spec).sum()) > LARGEST
    alone = not (spec.pooled or spec.all_items or spec.window or spec.support or spec.views)
    if not spec.fixed or not alone or not one_user or too_many:
        return None
    return _build(population, seed, spec)


@lru_cache(maxsize=2)
def _build(population: Population, seed: int, spec: Sampling) -> FixedSamples:
    counts = sample_counts(population, spec)
    places: dict[str, list[NDArray[np.int32]]] = {}
    labels, weights, ids, rows = [], [], [], []
    for clients in _chunks(counts):
        samples = make_samples(population, clients, seed, 1, spec)
        touched = find_touched(samples, tuple(sorted(samples.fields)), population.num_items)
        own = np.bincount(touched.index.client, minlength=len(clients))
        first = (np.cumsum(own) - own).astype(np.int32)[samples.client]
        for name, place in touched.places.items():
            places.setdefault(name, []).append((place - first).astype(np.int32))
        labels.append(samples.label)
        weights.append(samples.weight)
        ids.append(touched.index.ids.astype(np.int32))
        rows.append(own)
    even = all((weight == 1).all() for weight in weights)
    return FixedSamples(
        population.num_items,
        np.concatenate([[0], np.cumsum(counts)]),
        np.concatenate([[0], np.cumsum(np.concatenate(rows))]),
        np.concatenate(ids),
        {name: np.concatenate(parts) for name, parts in places.items()},
        np.concatenate(labels),
        None if even else np.concatenate(weights),
        np.argsort(population.client_of_user),
        seed,
    )


def _chunks(counts: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Cut all clients into runs of about `_CHUNK` samples."""
    which = (np.cumsum(counts) - counts) // _CHUNK
    bounds = np.flatnonzero(np.diff(which)) + 1
    yield from np.split(np.arange(len(counts)), bounds)
