"""The server's half of SCAFFOLD: c follows the clients' control variates.

Karimireddy et al. (ICML 2020), algorithm 1: c <- c + |S| / N times the mean change of c_i.
What becomes of the shared parameters is the optimiser's business, as without it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fedrec.params import Shared
from fedrec.training.control import with_controls, without_controls
from fedrec.training.node import Setup, init_shared
from server.aggregation import MeanUpdate

Arrays = dict[str, NDArray]


def first_parameters(setup: Setup) -> Shared:
    """Return what the server begins with: initial parameters, and c = 0 where there is one."""
    shared = init_shared(setup)
    return with_controls(shared) if setup.method.controls else shared


def none_counted(setup: Setup) -> NDArray[np.int64] | None:
    """Return for each client the last round that held its update, int64 [N]: 0, none yet.

    None where clients keep nothing that would have to know it.
    """
    return np.zeros(setup.population.num_clients, np.int64) if setup.method.controls else None


def counted_in(
    counted: NDArray[np.int64] | None, clients: Iterable[int], round_number: int
) -> NDArray[np.int64] | None:
    """Return `counted` after a round whose sum held the updates of some clients."""
    if counted is None:
        return None
    after = counted.copy()
    after[np.array(list(clients), np.int64)] = round_number
    return after


class Optimizer(Protocol):
    """What turns a mean update into new parameters."""

    def apply(self, shared: Shared, update: MeanUpdate, *, in_place: bool = False) -> Shared:
        """Return the parameters after one step."""
        ...

    def state(self) -> Arrays:
        """Return all that it remembers, for a checkpoint."""
        ...

    def restore(self, state: Mapping[str, NDArray]) -> None:
        """Set what `state` returned."""
        ...


class ControlledOptimizer:
    """An optimiser, and c beside the parameters that it was built for.

    Where clients count by their samples c is the mean weighted alike, if all take part in
    every round; where some are missing it is an estimate of it.

    Args:
        inner: optimiser of the model's own parameters.
        num_clients: N, all clients that train together.
        equal: whether clients count alike.
    """

    def __init__(self, inner: Optimizer, num_clients: int, *, equal: bool) -> None:
        self._inner, self._num_clients, self._equal = inner, num_clients, equal
        self.state, self.restore = inner.state, inner.restore

    def apply(self, shared: Shared, update: MeanUpdate, *, in_place: bool = False) -> Shared:
        """Return the parameters after one step, and the new c; arguments as its optimiser's."""
        plain, control = without_controls(shared)
        after = self._inner.apply(plain, update, in_place=in_place)
        present = update.weight if self._equal else update.num_clients
        part = present / self._num_clients
        new = {n: (v + part * update.weights[n]).astype(np.float32) for n, v in control.items()}
        return replace(after, weights={**after.weights, **new})
