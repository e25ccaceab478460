"""Steps of the server that grow shorter from round to round.

Where every client takes part, and its own parameters answer to each step of the shared ones,
steps that stay as long as they were keep both in motion; so they do where each round is of a
few clients, whose mean changes from draw to draw.  A schedule lets them settle
(`fedrec.training.schedule`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from fedrec.config_sections import ScheduleName, ServerSection
from fedrec.errors import CheckpointError
from fedrec.params import Shared
from fedrec.training.schedule import share_of_rate
from server.aggregation import MeanUpdate
from server.control import Optimizer
from server.graph_penalty import GraphPenalty
from server.optimizers import ServerOptimizer

Arrays = dict[str, NDArray]
_TAKEN = "schedule.taken"


class FadingOptimizer:
    """An optimiser of which each step is made in part, less from round to round.

    For rules whose step is proportional to their learning rate this is a schedule of that
    rate; the velocity of momentum, a sum of earlier steps, fades as a whole.

    Args:
        inner: the optimiser.
        schedule: how they fade.
        rounds: steps until nothing moves.
    """

    def __init__(self, inner: Optimizer, schedule: ScheduleName, rounds: int) -> None:
        self._inner, self._schedule, self._rounds = inner, schedule, rounds
        self._taken = 0

    def apply(self, shared: Shared, update: MeanUpdate, *, in_place: bool = False) -> Shared:
        """Return the parameters after a part of the optimiser's step.

        Args:
            shared: the parameters.
            update: their mean change by the clients.
            in_place: nothing of `shared` is changed in place: it is where the step begins.
        """
        part = np.float32(share_of_rate(self._schedule, self._taken, self._rounds))
        self._taken += 1
        after = self._inner.apply(shared, update)
        return replace(
            after,
            tables=_between(shared.tables, after.tables, part),
            weights=_between(shared.weights, after.weights, part),
        )

    def state(self) -> Arrays:
        """Return what the optimiser remembers, and how many steps were made."""
        return self._inner.state() | {_TAKEN: np.array([self._taken], np.int64)}

    def restore(self, state: Mapping[str, NDArray]) -> None:
        """Set what `state` returned.

        Raises:
            CheckpointError: if it belongs to another optimiser.
        """
        if _TAKEN not in state:
            raise CheckpointError(
                "the checkpoint holds an optimiser without a schedule: "
                "start the run again with --overwrite"
            )
        self._taken = int(state[_TAKEN][0])
        self._inner.restore({n: a for n, a in state.items() if n != _TAKEN})


def make_optimizer(
    section: ServerSection, shared: Shared, rounds: int, penalty: GraphPenalty | None = None
) -> Optimizer:
    """Return the optimiser of some parameters, with the schedule that is asked for.

    Args:
        section: of the configuration.
        shared: initial parameters.
        rounds: in which it makes a step.
        penalty: what joins items.
    """
    inner = ServerOptimizer(section, shared, penalty)
    if section.schedule == "constant":
        return inner
    return FadingOptimizer(inner, section.schedule, rounds)


def _between(before: Arrays, after: Arrays, part: np.float32) -> Arrays:
    return {n: before[n] + part * (value - before[n]) for n, value in after.items()}
