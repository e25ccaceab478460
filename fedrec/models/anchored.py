"""Item rows that are pulled to an anchor of the server (Zhang et al. 2024, IFedRec).

The server makes the anchors of item attributes that it alone holds (`server.anchors`);
a client reads them as it reads the item table, and pays for the distance of each row of
its samples.  What the client learns of an item stays near what can be said of an item
that nobody has met.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedrec.data.interactions import Catalogue
from fedrec.models.recommender import Gradients, Outer, RowInput, Tensor, Tensors
from fedrec.params import Personal, Shared

ANCHOR, TABLE = "anchor", "item"


@dataclass(frozen=True)
class Anchored:
    """A model with ``pull / 2 * |q_i - anchor_i|^2`` on top of the loss of each sample.

    Attributes:
        model: matrix factorisation or a score head: it has a table "item", offers its
            gradients, and asks for no catalogues.
        pull: weight of the squared distance.
    """

    model: Any
    pull: float

    @property
    def row_inputs(self) -> tuple[RowInput, ...]:
        """The model's, and the anchor of each item row."""
        own: tuple[RowInput, ...] = self.model.row_inputs
        anchors = (replace(r, name=_anchor_of(r), table=ANCHOR, fixed=True) for r in self._pulled)
        return (*own, *anchors)

    @property
    def _pulled(self) -> tuple[RowInput, ...]:
        return tuple(r for r in self.model.row_inputs if r.table == TABLE)

    @property
    def personal_vectors(self) -> Mapping[str, int]:
        """As the model."""
        vectors: Mapping[str, int] = self.model.personal_vectors
        return vectors

    @property
    def pairwise(self) -> bool:
        """As the model."""
        return bool(self.model.pairwise)

    def init_shared(self, catalogue: Catalogue, seed: int) -> Shared:
        """The model's parameters; before the first round anchors are where rows begin."""
        start: Shared = self.model.init_shared(catalogue, seed)
        return replace(start, fixed={**start.fixed, ANCHOR: start.tables[TABLE].copy()})

    def init_personal(self, clients: NDArray[np.int64], seed: int) -> Personal:
        """As the model."""
        personal: Personal = self.model.init_personal(clients, seed)
        return personal

    def _without(self, rows: Tensors) -> dict[str, Tensor]:
        return {r.name: rows[r.name] for r in self.model.row_inputs if r.name in rows}

    def loss(self, weights: Tensors, personal: Tensors, rows: Tensors, batch: Tensors) -> Tensor:
        """See `Recommender.loss`."""
        import tensorflow as tf

        total = self.model.loss(weights, personal, self._without(rows), batch)
        for r in self._pulled:
            away = tf.square(rows[r.name] - rows[_anchor_of(r)])
            total += 0.5 * self.pull * tf.reduce_sum(batch["weight"] * tf.reduce_sum(away, -1))
        return total

    def gradients(
        self, weights: Tensors, personal: Tensors, rows: Tensors, batch: Tensors
    ) -> Gradients:
        """The model's, with ``pull * weight * (q - anchor)`` on its item rows."""
        import tensorflow as tf

        found: Gradients = self.model.gradients(weights, personal, self._without(rows), batch)
        losses, moved, weight = found.losses, dict(found.rows), batch["weight"]
        for r in self._pulled:
            away, grad = rows[r.name] - rows[_anchor_of(r)], found.rows[r.name]
            if isinstance(grad, Outer):
                grad = grad.coefficient[..., None] * grad.vector
            moved[r.name] = grad + self.pull * weight[..., None] * away
            squares = tf.reduce_sum(tf.square(away), -1)
            losses += 0.5 * self.pull * tf.reduce_sum(weight * squares, -1)
        return found._replace(losses=losses, rows=moved)

    def score(
        self, weights: Tensors, personal: Tensors, item_vectors: Tensors, history: Tensor
    ) -> Tensor:
        """As the model: anchors are for training."""
        return self.model.score(weights, personal, self._without(item_vectors), history)


def _anchor_of(row: RowInput) -> str:
    return f"{ANCHOR}/{row.name}"
