"""The server's net of item attributes, which follows the item table (IFedRec).

The net itself is `fedrec.training.anchors.Anchors`; here it stands beside the server's
optimiser, and its state goes into checkpoints.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedrec.config import Config
from fedrec.config_merchants import only_merchants
from fedrec.data.interactions import Catalogue
from fedrec.models.anchored import TABLE
from fedrec.params import Shared
from fedrec.training.anchors import Anchors
from fedrec.training.control import without_controls
from fedrec.training.node import Setup
from server.aggregation import MeanUpdate
from server.control import ControlledOptimizer, Optimizer
from server.graph_penalty import GraphPenalty, build_penalty
from server.schedule import make_optimizer
from server.solver import build_optimizer

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
        self._inner = make_optimizer(config.server, shared, config.train.rounds, penalty)
        self._anchors = Anchors(config, shared, items)

    def apply(self, shared: Shared, update: MeanUpdate, *, in_place: bool = False) -> Shared:
        """Return the parameters after one step, with new anchors; arguments as its optimiser's."""
        after = self._inner.apply(shared, update, in_place=in_place)
        sent = update.tables[TABLE]
        return self._anchors.follow(after, sent.ids[np.any(sent.rows != 0, axis=1)])

    def _variables(self) -> list[Any]:
        net = self._anchors.net
        return [*net.variables, *net.optimizer.variables]

    def state(self) -> Arrays:
        """Return the optimiser's variables, the net's, and which rows were ever changed."""
        import keras

        own = {f"{_NET}{i}": keras.ops.convert_to_numpy(v).copy() for i, v in self._numbered()}
        return {**self._inner.state(), **own, _CHANGED: self._anchors.changed.copy()}

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
        self._anchors.changed = np.array(state[_CHANGED], bool)


def optimizer_of(setup: Setup, shared: Shared) -> Optimizer:
    """Return what turns the sum of a round into new parameters, as the configuration says.

    Args:
        setup: the prepared configuration.
        shared: initial parameters.

    Raises:
        DataError: for a file of edges between items that cannot be used.
        ModelError: where anchors or a graph are wanted of items without attributes.
    """
    penalty, section = build_penalty(setup, shared), setup.config.server
    rounds = setup.config.train.rounds
    if setup.method.controls:
        inner = make_optimizer(section, without_controls(shared)[0], rounds, penalty)
        equal = section.weighting == "equal"
        everyone = len(only_merchants(setup.config)) or setup.population.num_clients
        return ControlledOptimizer(inner, everyone, equal=equal)
    if setup.config.model.anchor:
        return AnchoredOptimizer(setup.config, shared, setup.population.catalogue, penalty)
    return build_optimizer(section, setup.method.statistics, shared, rounds, penalty)
