"""The server's side of methods that sum statistics: add up, and solve.

It stands in the place of the server's optimiser: it takes the sum of a round and returns
the new parameters.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedrec.config_sections import ServerSection
from fedrec.errors import CheckpointError, EngineError
from fedrec.params import Shared
from fedrec.training.graph import GraphSums
from fedrec.training.statistics import Statistics
from server.aggregation import MeanUpdate
from server.control import Optimizer
from server.graph import GraphOptimizer
from server.graph_penalty import GraphPenalty
from server.schedule import make_optimizer

Arrays = dict[str, NDArray]


class Solver:
    """Adds the sums of some rounds, then solves for the shared parameters.

    Args:
        statistics: what is summed.
        shared: initial parameters.
    """

    def __init__(self, statistics: Statistics, shared: Shared) -> None:
        self._statistics = statistics
        self._sums = _empty(statistics.zeros(shared))
        self._taken = 0

    def apply(self, shared: Shared, update: MeanUpdate, *, in_place: bool = False) -> Shared:
        """Return the parameters after one more round.

        Args:
            shared: the parameters; they stay as they are until a sum is complete.
            update: of the round, its rows not divided (server.rows = "sum").
            in_place: nothing is changed in place.
        """
        for name, rows in update.tables.items():
            self._sums.tables[name][rows.ids] += rows.rows
        for name, value in update.weights.items():
            self._sums.weights[name] += value * update.weight
        self._taken += 1
        if self._taken % self._statistics.rounds:
            return shared
        solved = self._statistics.solve(shared, self._sums)
        self._sums = _empty(self._statistics.zeros(solved))
        return solved

    def state(self) -> Arrays:
        """Return the sum so far, and how many rounds are in it."""
        begun = self._taken % self._statistics.rounds > 0
        taken = {"taken": np.array([self._taken], np.int64)}
        if not begun:
            return taken
        tables = {f"table.{name}": value for name, value in self._sums.tables.items()}
        return taken | tables | {f"weight.{n}": v for n, v in self._sums.weights.items()}

    def restore(self, state: Mapping[str, NDArray]) -> None:
        """Take up what `state` returned.

        Raises:
            CheckpointError: if it belongs to another method.
        """
        if "taken" not in state:
            raise CheckpointError(
                "the checkpoint holds an optimiser, and this method sums and solves: "
                "start the run again with --overwrite"
            )
        self._taken = int(state["taken"][0])
        for prefix, arrays in (("table.", self._sums.tables), ("weight.", self._sums.weights)):
            for name in arrays:
                if prefix + name in state:
                    arrays[name] = np.array(state[prefix + name], np.float64)


def build_optimizer(
    section: ServerSection,
    statistics: Statistics | None,
    shared: Shared,
    rounds: int,
    penalty: GraphPenalty | None = None,
) -> Optimizer:
    """Return what turns the sum of a round into new parameters.

    Args:
        section: of the configuration.
        statistics: what the method sums; None if it sums changes of the parameters.
        shared: initial parameters.
        rounds: of the training.
        penalty: what joins items, of use to an optimiser alone.
    """
    if statistics is None:
        return make_optimizer(section, shared, rounds, penalty)
    if isinstance(statistics, GraphSums):
        return GraphOptimizer(section, statistics, shared, rounds)
    return Solver(statistics, shared)


def refuse_gap(statistics: Statistics | None, skipped: str | None) -> None:
    """Stop where a part of a sum is missing: nothing could be solved from the rest.

    Raises:
        EngineError: if the method sums statistics, and a round was skipped.
    """
    if statistics is not None and skipped is not None:
        raise EngineError(
            f"a method that solves from one sum needs all of it, and a round was skipped "
            f"({skipped}): resume the run when more clients are there, or lower "
            "server.min_clients"
        )


def _empty(shape: Shared) -> Shared:
    tables: dict[str, Any] = {n: np.zeros(v.shape) for n, v in shape.tables.items()}
    weights: dict[str, Any] = {n: np.zeros(v.shape) for n, v in shape.weights.items()}
    return Shared(tables, weights)
