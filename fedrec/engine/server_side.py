"""The server's half of a round from the app, for those who play rounds without a wire."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedrec.engine.apps import app_dir, load_app
from fedrec.params import PartialSum, Shared
from fedrec.privacy.policy import build_policy
from fedrec.training.node import Setup


class AppServer:
    """Sampling, mean update and optimisers of the server app.

    Args:
        setup: the prepared configuration.
        shared: the parameters, for names and shapes.
    """

    def __init__(self, setup: Setup, shared: Shared) -> None:
        load_app(app_dir())
        self._setup = setup
        self._sampling: Any = importlib.import_module("server.sampling")
        self._aggregation: Any = importlib.import_module("server.aggregation")
        anchors: Any = importlib.import_module("server.anchors")
        self._optimizer = anchors.optimizer_of(setup, shared)

    def sample(self, round_number: int) -> NDArray[np.int64]:
        """Return the clients that train in a round, int64 [C], ascending."""
        everyone = np.arange(self._setup.population.num_clients)
        chosen: NDArray[np.int64] = self._sampling.sample_clients(
            self._setup.config, everyone, round_number
        ).training
        return chosen

    def apply(
        self, shared: Shared, total: PartialSum, round_number: int, *, in_place: bool = False
    ) -> Shared:
        """Return the shared parameters after the sum of a round has been applied.

        Args:
            shared: the parameters before.
            total: the sum of the round.
            round_number: the round.
            in_place: `shared` is not needed any more, as in the app itself.
        """
        policy = build_policy(self._setup.config, self._setup.population.num_clients)
        total = policy.on_sum(total, shared, policy.at(round_number))
        after: Shared = self._optimizer.apply(shared, self.mean_update(total), in_place=in_place)
        return after

    def branch(self, shared: Shared) -> AppServer:
        """Return a server in the same state, whose rounds leave this one as it is.

        Args:
            shared: the parameters, for names and shapes.
        """
        twin = AppServer(self._setup, shared)
        twin._optimizer.restore(self._optimizer.state())
        return twin

    def mean_update(self, total: PartialSum) -> Any:
        """Return the mean change of a sum, a `server.aggregation.MeanUpdate`."""
        return self._aggregation.mean_update(total, self._setup.config.server.rows)
