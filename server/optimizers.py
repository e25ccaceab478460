"""Server optimisers: Keras optimisers fed the negative mean update as a gradient.

Reddi et al., "Adaptive federated optimization" (ICLR 2021): the mean update of
the clients is a pseudo-gradient.  With SGD of learning rate 1 this is FedAvg.
One optimiser serves all tables and another all dense weights.  Where a rule leaves rows
with a zero gradient alone, or is told to, tables are updated by `row_optimizers`, and so are
dense weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedrec.config_sections import ServerSection
from fedrec.params import Shared, SparseRows
from server.aggregation import MeanUpdate
from server.graph_penalty import GraphPenalty
from server.row_optimizers import RULES, RowOptimizer, check_state, works_on_rows

Arrays = dict[str, NDArray]


def keras_optimizer(name: str, learning_rate: float) -> Any:
    """Return a Keras optimiser by its name in the configuration."""
    from keras import optimizers

    makers = {
        "sgd": lambda: optimizers.SGD(learning_rate),
        "momentum": lambda: optimizers.SGD(learning_rate, momentum=0.9),
        "adam": lambda: optimizers.Adam(learning_rate),
        "adagrad": lambda: optimizers.Adagrad(learning_rate),
        "rmsprop": lambda: optimizers.RMSprop(learning_rate),
        "adamw": lambda: optimizers.AdamW(learning_rate),
        "lion": lambda: optimizers.Lion(learning_rate),
    }
    return makers[name]()


class ServerOptimizer:
    """Applies mean updates to the shared parameters it was built for.

    Args:
        section: names, learning rates and weight decay.
        shared: initial parameters; names and shapes stay the same.
        penalty: what joins items, where `server.graph_l2` is above 0.
    """

    def __init__(
        self, section: ServerSection, shared: Shared, penalty: GraphPenalty | None = None
    ) -> None:
        self._tables: RowOptimizer | _DenseTables
        if works_on_rows(section):
            self._tables = RowOptimizer(section, shared.tables)
        else:
            self._tables = _DenseTables(section, shared.tables, penalty)
        self._weights: _RowWeights | _Group
        if RULES[section.weight_optimizer].exact:
            self._weights = _RowWeights(section, shared.weights)
        else:
            self._weights = _Group(section.weight_optimizer, section.weight_lr, shared.weights)

    def apply(self, shared: Shared, update: MeanUpdate, *, in_place: bool = False) -> Shared:
        """Return the parameters after one optimiser step.

        Args:
            shared: the parameters; `l2` times a table is added to its gradient.
            update: their mean change by the clients.
            in_place: the tables of `shared` are not needed any more and may be changed,
                which saves a copy of them.
        """
        dense = {n: (-update.weights[n]).astype(np.float32) for n in shared.weights}
        tables = self._tables.step(shared.tables, update.tables, in_place=in_place)
        weights = self._weights.step(shared.weights, dense)
        return replace(shared, tables=tables, weights=weights)

    def state(self) -> Arrays:
        """Return the optimisers' variables: moments, step counts, learning rates."""
        tables = {f"table.{name}": value for name, value in self._tables.state().items()}
        return tables | {f"weight.{name}": value for name, value in self._weights.state().items()}

    def restore(self, state: Mapping[str, NDArray]) -> None:
        """Set what `state` returned, bit by bit.

        Raises:
            CheckpointError: if it belongs to other optimisers.
        """
        for prefix, group in (("table.", self._tables), ("weight.", self._weights)):
            group.restore(
                {n.removeprefix(prefix): a for n, a in state.items() if n.startswith(prefix)}
            )


class _DenseTables:
    """A Keras optimiser over all rows of all tables, whether clients touched them or not."""

    def __init__(
        self, section: ServerSection, tables: Arrays, penalty: GraphPenalty | None = None
    ) -> None:
        self._l2, self._penalty = section.l2, penalty
        self._group = _Group(section.table_optimizer, section.table_lr, tables)
        self.state, self.restore = self._group.state, self._group.restore

    def step(self, tables: Arrays, update: Mapping[str, SparseRows], *, in_place: bool) -> Arrays:
        """Return the tables after one step; those that are given stay as they are."""
        gradients = {n: self._gradient(n, update[n], table) for n, table in tables.items()}
        return self._group.step(tables, gradients)

    def _gradient(self, name: str, update: SparseRows, table: NDArray) -> NDArray:
        gradient = self._l2 * table if self._l2 else np.zeros(table.shape, np.float32)
        gradient[update.ids] = self._l2 * table[update.ids] - update.rows
        pull = None if self._penalty is None else self._penalty.gradient(name, table)
        return gradient if pull is None else gradient + pull


class _RowWeights:
    """A rule on rows over dense weights, each a table of one row.

    The few weights of a small network take Keras longer to hand over than to change.
    """

    def __init__(self, section: ServerSection, weights: Arrays) -> None:
        keys = {"table_optimizer": section.weight_optimizer, "table_lr": section.weight_lr}
        own = section.model_copy(update={**keys, "l2": 0.0})
        self._rows = RowOptimizer(own, {n: v.reshape(1, -1) for n, v in weights.items()})
        self.state, self.restore = self._rows.state, self._rows.restore

    def step(self, weights: Arrays, gradients: Arrays) -> Arrays:
        """Return the weights after one step along these gradients."""
        flat = {n: v.reshape(1, -1) for n, v in weights.items()}
        whole = {n: SparseRows(np.zeros(1, np.int64), -gradients[n].reshape(1, -1)) for n in flat}
        done = self._rows.step(flat, whole, in_place=False)
        return {n: done[n].reshape(v.shape) for n, v in weights.items()}


class _Group:
    """One Keras optimiser over some named arrays."""

    def __init__(self, name: str, learning_rate: float, arrays: Arrays) -> None:
        self._variables: dict[str, Any] = {}
        if not arrays:
            return
        import keras

        self._variables = {name: keras.Variable(array) for name, array in arrays.items()}
        self._optimizer = keras_optimizer(name, learning_rate)
        self._optimizer.build(list(self._variables.values()))

    def step(self, arrays: Arrays, gradients: Arrays) -> Arrays:
        """Return the arrays after one step along these gradients."""
        if not self._variables:
            return {}
        import keras

        for name, variable in self._variables.items():
            variable.assign(arrays[name])
        pairs = [(keras.ops.convert_to_tensor(gradients[n]), v) for n, v in self._variables.items()]
        self._optimizer.apply_gradients(pairs)
        return {n: keras.ops.convert_to_numpy(v).copy() for n, v in self._variables.items()}

    def state(self) -> Arrays:
        """Return all that the optimiser remembers, for a checkpoint."""
        if not self._variables:
            return {}
        from keras import ops

        variables = self._optimizer.variables
        return {str(i): ops.convert_to_numpy(v).copy() for i, v in enumerate(variables)}

    def restore(self, state: Arrays) -> None:
        """Take up what `state` returned.

        Raises:
            CheckpointError: if it is that of another optimiser or model.
        """
        variables = self._optimizer.variables if self._variables else []
        shapes = {str(i): tuple(v.shape) for i, v in enumerate(variables)}
        check_state(state, shapes)
        for i, variable in enumerate(variables):
            variable.assign(state[str(i)])
