"""A net of item attributes that follows the item table during training (IFedRec).

Zhang et al., "When federated recommendation meets cold-start problem: Separating item
attributes and user interactions" (WWW 2024).  After each round a small net is trained
some steps towards the mean table, on the rows that any client has ever changed, and
what it says of an item is the anchor of the next round.  Attributes never leave the
server and interactions never leave the clients; only the sum of their changes is needed,
so that secure aggregation is as ever.  The row of an item that nobody has changed is its
anchor: so new items are scored, and so they start when their first clients come.

The centralised twin has the same net, which follows after each epoch.
"""

from __future__ import annotations

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


class Anchors:
    """The net, and which rows it learns from.

    Args:
        config: of the run: `model.tower`, `server.anchor_lr`, `server.anchor_steps`.
        shared: initial parameters, with the table "item" [I, d].
        items: the catalogue of I items with its attributes.

    Attributes:
        net: a Keras model of attributes with its optimiser.
        changed: bool [I], rows that have ever been changed.

    Raises:
        ModelError: if there is nothing that could say something about an item.
    """

    def __init__(self, config: Config, shared: Shared, items: Catalogue) -> None:
        self._steps = config.server.anchor_steps
        self._features = item_features(items, feature_options(config)).values
        if not self._features.shape[1]:
            raise ModelError(
                f"model.anchor = {config.model.anchor:g} is a pull towards what attributes say, "
                f"and the items of {config.data.name!r} have none: set model.anchor = 0"
            )
        self.changed = np.zeros(len(items), bool)
        hidden, out = integers(config, "model.tower"), shared.tables[TABLE].shape[1]
        lr, seed = config.server.anchor_lr, config.run.seed
        self.net: Any = attribute_net(self._features.shape[1], hidden, out, lr, seed)

    def follow(self, shared: Shared, moved: NDArray[np.int64]) -> Shared:
        """Train the net towards the table, and return the parameters with what it says.

        Args:
            shared: after a round or an epoch.
            moved: int64 [R], rows of the table "item" that it has changed.

        Returns:
            The parameters with new anchors, in which rows that were never changed are theirs.
        """
        self.changed[moved] = True
        if not self.changed.any():
            return shared
        weight = self.changed.astype(np.float32) / np.float32(self.changed.mean())
        for _ in range(self._steps):
            self.net.train_on_batch(self._features, shared.tables[TABLE], sample_weight=weight)
        anchors = np.array(self.net.predict_on_batch(self._features), np.float32)
        table = np.where(self.changed[:, None], shared.tables[TABLE], anchors)
        fixed = {**shared.fixed, ANCHOR: anchors}
        return replace(shared, tables={**shared.tables, TABLE: table}, fixed=fixed)
