"""What a strategy for strangers is, and what it may know of those who trained."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fedrec.data.population import Population
from fedrec.models.export_starts import Kept
from fedrec.params import Personal, Shared
from fedrec.training.node import Setup
from fedrec.training.scorer import Scorer

if TYPE_CHECKING:
    import scipy.sparse as sp

COUNT_BYTES = 4
"""Bytes of an item's score or count on its way to a device."""


@dataclass(frozen=True, eq=False)
class Warm:
    """The clients that trained, and what their training left.

    A strategy may use what belongs to a client through sums over all of them only.

    Attributes:
        setup: its population's training interactions are those of the warm users; the
            held-out users have none in it.
        shared: the trained shared parameters.
        round_number: the round that `shared` comes from.
        personal: personal parameters of all local users, stacked like their numbers, as
            training left them on the devices; None: they are derived anew from `shared`.
    """

    setup: Setup
    shared: Shared
    round_number: int = 0
    personal: Personal | None = None

    @cached_property
    def users(self) -> NDArray[np.int64]:
        """Users with training interactions, ascending, int64 [W]."""
        return np.flatnonzero(np.diff(self.setup.population.indptr))

    @cached_property
    def rows(self) -> sp.csr_matrix:
        """Their interactions, sparse float32 [U, I] of ones, a user's in the order of time."""
        return history_rows(self.setup.population)


@dataclass(frozen=True, eq=False)
class Strategy:
    """A way to serve strangers.

    Attributes:
        name: its name in tables.
        privacy: one sentence: what leaves a device, of strangers and of those who trained.
        bytes_down: what one stranger's device receives.
        start: a population of strangers -> the scorer of its users.
        bytes_up: what it sends.
        kept: what its device receives beside the model, to serve one user (`fedrec.serving`).
    """

    name: str
    privacy: str
    bytes_down: int
    start: Callable[[Population], Scorer]
    bytes_up: int = 0
    kept: Kept = field(default_factory=Kept)

    def scorer(self, population: Population) -> Scorer:
        """Return the scorer of strangers (`fedrec.coldstart.strangers.strangers`)."""
        return self.start(population)


def history_rows(population: Population) -> sp.csr_matrix:
    """Return the training interactions of a population, sparse float32 [U, I] of ones."""
    import scipy.sparse as sp

    ones = np.ones(len(population.items), np.float32)
    shape = (population.num_users, population.num_items)
    return sp.csr_matrix((ones, population.items, population.indptr), shape)


def same_for_all(scores: NDArray) -> Scorer:
    """Return a scorer that gives everybody the same scores, [I]."""
    row = np.asarray(scores, np.float32)
    return lambda users: np.broadcast_to(row, (len(users), len(row)))


def or_else(scorer: Scorer, otherwise: Scorer, population: Population) -> Scorer:
    """Return a scorer that serves users who have revealed nothing by another one.

    Args:
        scorer: of those with a history.
        otherwise: of those without.
        population: the strangers.
    """
    shown = np.diff(population.indptr) > 0

    def score(users: NDArray[np.int64]) -> NDArray[np.float32]:
        if shown[users].all():
            return scorer(users)
        scores = np.array(otherwise(users), np.float32)
        known = np.flatnonzero(shown[users])
        if len(known):
            scores[known] = scorer(users[known])
        return scores

    return score
