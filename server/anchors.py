"""The server's net of item attributes, which follows the item table (IFedRec).

Zhang et al., "When federated recommendation meets cold-start problem: Separating item
attributes and user interactions" (WWW 2024).  After each round a small net is trained
some steps towards the mean table, on the rows that any client has ever changed, and
what it says of an item is the anchor of the next round.  Attributes never leave the
server and interactions never leave the clients; only the sum of their changes is needed,
so that secure aggregation is as ever.  The row of an item that nobody has changed is its
anchor: so new items are scored, and so they start when their first clients come.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedrec.config import Config, integers
from fedrec.data.interactions import Catalogue
from fedrec.errors import ModelError
from fedrec.models.anchored import ANCHOR, TABLE
from fedrec.models.features import feature_options, item_features
from fedrec.params import Shared
from fedrec.training.attribute_net import attribute_net
from fedrec.training.node import Setup
from server.aggregation import MeanUpdate
from server.graph import GraphOptimizer
from server.graph_penalty import GraphPenalty, build_penalty
from server.optimizers import ServerOptimizer
from server.solver import Solver, build_optimizer

Arrays = dict[str, NDArray]
_NET, _CHANGED = "anchors.", "anchors.changed"


class AnchoredOptimizer:
    """The server's optimiser, and the net that follows its item table.

    Args:
        config: of the run.
        shared: initial parameters.
        items: the catalogue with its attributes.
        penalty: what joins items, where `server.graph_l2` is above 0.

    Raises:
        ModelError: if there is nothing that could say something about an item.
    """

    def __init__(
        self,
        config: Config,
        shared: Shared,
        items: Catalogue,
        penalty: GraphPenalty | None = None,
    ) -> None:
        self._inner = ServerOptimizer(config.server, shared, penalty)
        self._steps = config.server.anchor_steps
        self._features = item_features(items, feature_options(config)).values
        if not self._features.shape[1]:
            raise ModelError(
                f"model.anchor = {config.model.anchor:g} is a pull towards what attributes say, "
                f"and the items of {config.data.name!r} have none: set model.anchor = 0"
            )
        self._changed = np.zeros(len(items), bool)
        hidden, out = integers(config, "model.tower"), shared.tables[TABLE].shape[1]
        lr, seed = config.server.anchor_lr, config.run.seed
        self._net = attribute_net(self._features.shape[1], hidden, out, lr, seed)

    def apply(self, shared: Shared, update: MeanUpdate, *, in_place: bool = False) -> Shared:
        """Return the parameters after one step, with new anchors; arguments as its optimiser's."""
        after = self._inner.apply(shared, update, in_place=in_place)
        sent = update.tables[TABLE]
        self._changed[sent.ids[np.any(sent.rows != 0, axis=1)]] = True
        if not self._changed.any():
            return after
        weight = self._changed.astype(np.float32) / np.float32(self._changed.mean())
        for _ in range(self._steps):
            self._net.train_on_batch(self._features, after.tables[TABLE], sample_weight=weight)
        anchors = np.array(self._net.predict_on_batch(self._features), np.float32)
        table = np.where(self._changed[:, None], after.tables[TABLE], anchors)
        fixed = {**after.fixed, ANCHOR: anchors}
        return replace(after, tables={**after.tables, TABLE: table}, fixed=fixed)

    def _variables(self) -> list[Any]:
        return [*self._net.variables, *self._net.optimizer.variables]

    def state(self) -> Arrays:
        """Return the optimiser's variables, the net's, and which rows were ever changed."""
        import keras

        own = {f"{_NET}{i}": keras.ops.convert_to_numpy(v).copy() for i, v in self._numbered()}
        return {**self._inner.state(), **own, _CHANGED: self._changed.copy()}

    def _numbered(self) -> list[tuple[int, Any]]:
        return list(enumerate(self._variables()))

    def restore(self, state: Mapping[str, NDArray]) -> None:
        """Set what `state` returned.

        Raises:
            CheckpointError: if it belongs to another optimiser.
        """
        self._inner.restore({n: a for n, a in state.items() if not n.startswith(_NET)})
        for i, variable in self._numbered():
            variable.assign(state[f"{_NET}{i}"])
        self._changed = np.array(state[_CHANGED], bool)


def optimizer_of(
    setup: Setup, shared: Shared
) -> ServerOptimizer | GraphOptimizer | Solver | AnchoredOptimizer:
    """Return what turns the sum of a round into new parameters, as the configuration says.

    Args:
        setup: the prepared configuration.
        shared: initial parameters.

    Raises:
        DataError: for a file of edges between items that cannot be used.
        ModelError: where anchors or a graph are wanted of items without attributes.
    """
    penalty = build_penalty(setup, shared)
    if setup.config.model.anchor:
        return AnchoredOptimizer(setup.config, shared, setup.population.catalogue, penalty)
    return build_optimizer(setup.config.server, setup.method.statistics, shared, penalty)
