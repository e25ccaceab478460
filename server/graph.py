"""The server's side of a graph model: sum the graph, then step through the propagation.

The base table Q never leaves the server.  What clients know as the item table is A Q; the
gradient that they send for it becomes that of Q by A, which is symmetric, and the server's
optimiser steps Q as it would step any table.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedrec.config_sections import ServerSection
from fedrec.errors import CheckpointError
from fedrec.params import Shared, SparseRows
from fedrec.training.gram import TABLE
from fedrec.training.graph import GraphSums, Propagation
from server.aggregation import MeanUpdate
from server.schedule import make_optimizer

Arrays = dict[str, NDArray]
_STEP, _BASE, _TAKEN, _SUM, _GRAPH = "step.", "base", "taken", "sum", "graph."


class GraphOptimizer:
    """Adds up the graph in the first rounds, and trains the base table in the others.

    Args:
        section: of the configuration.
        statistics: the graph as it is summed.
        shared: initial parameters, whose item table is the base table.
        rounds: of the training, those in which the graph is added up among them.
    """

    def __init__(
        self, section: ServerSection, statistics: GraphSums, shared: Shared, rounds: int
    ) -> None:
        self._statistics = statistics
        self._base = shared.tables[TABLE].copy()
        self._sum: NDArray[np.float64] = np.zeros(statistics.zeros(shared).tables[TABLE].shape)
        self._taken = 0
        self._graph: Propagation | None = None
        steps = rounds - statistics.rounds
        self._inner = make_optimizer(section, Shared({TABLE: self._base}), steps)

    def apply(self, shared: Shared, update: MeanUpdate, *, in_place: bool = False) -> Shared:
        """Return the parameters that clients are sent next.

        Args:
            shared: those that they were sent; the same until the graph is complete.
            update: of the round, its rows not divided (server.rows = "sum").
            in_place: nothing of `shared` is changed in place.
        """
        rows = update.tables[TABLE]
        if self._graph is None:
            self._sum[rows.ids] += rows.rows
            self._taken += 1
            if self._taken < self._statistics.rounds:
                return shared
            self._graph = self._statistics.propagation(self._sum)
            self._sum = np.zeros((0, 0))
        else:
            self._step(rows, self._graph)
        return replace(shared, tables={TABLE: self._graph(self._base)})

    def _step(self, rows: SparseRows, graph: Propagation) -> None:
        change = np.zeros_like(self._base)
        change[rows.ids] = rows.rows
        whole = SparseRows(np.arange(len(change)), graph(change).astype(np.float64))
        base = Shared({TABLE: self._base})
        stepped = self._inner.apply(base, MeanUpdate({TABLE: whole}, {}), in_place=True)
        self._base = stepped.tables[TABLE]

    def state(self) -> Arrays:
        """Return base table, optimiser, and the graph or as much of its sum as there is."""
        state: Arrays = {_STEP + name: value for name, value in self._inner.state().items()}
        state |= {_BASE: self._base, _TAKEN: np.array([self._taken], np.int64)}
        if self._graph is None:
            return state | {_SUM: self._sum}
        matrix: Any = self._graph.matrix
        if isinstance(matrix, np.ndarray):
            return state | {_GRAPH + "dense": matrix}
        parts = ("data", "indices", "indptr")
        return state | {_GRAPH + name: getattr(matrix, name) for name in parts}

    def restore(self, state: Mapping[str, NDArray]) -> None:
        """Take up what `state` returned.

        Raises:
            CheckpointError: if it belongs to another method.
        """
        if _BASE not in state or state[_BASE].shape != self._base.shape:
            raise CheckpointError(
                "the checkpoint holds no base table of this graph model: start the run again "
                "with --overwrite"
            )
        import scipy.sparse as sp

        inner = {n.removeprefix(_STEP): v for n, v in state.items() if n.startswith(_STEP)}
        self._inner.restore(inner)
        self._base = np.array(state[_BASE], np.float32)
        self._taken = int(state[_TAKEN][0])
        if _SUM in state:
            self._sum = np.array(state[_SUM], np.float64)
            return
        matrix: Any = state.get(_GRAPH + "dense")
        if matrix is None:
            parts = tuple(state[_GRAPH + name] for name in ("data", "indices", "indptr"))
            matrix = sp.csr_matrix(parts, (len(self._base), len(self._base)))
        self._graph = Propagation(matrix, self._statistics.hops)
        self._sum = np.zeros((0, 0))
