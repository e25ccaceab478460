"""A shared item table plus a table of one's own, under a local head.

Li et al., "Federated recommendation with additive personalization" (ICLR 2024, FedRAP):
``score = w . (c_i + d_ui) + b`` with the logistic loss.  The table C is shared; the
head (w, b) and the table D_u stay with the client.  All clients start alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fedrec.data.interactions import Catalogue
from fedrec.models.head import ScoreHead
from fedrec.models.mf import dot, sum_like
from fedrec.models.recommender import (
    Gradients,
    Outer,
    Recommender,
    RowInput,
    Tensor,
    Tensors,
    initial_rows,
)
from fedrec.params import Personal, Shared


@dataclass(frozen=True)
class Additive:
    """A linear head over the sum of a shared row and an own row, for one client.

    Attributes:
        dim: embedding size d.
        scale: standard deviation of initial rows, shared and own.
        num_items: I, for the size of the own table; `bound` sets it.
    """

    dim: int
    scale: float = 1.0
    num_items: int = 1

    pairwise = False
    rank_one = True
    """The gradient of either row is a number times the head's vector."""

    @property
    def row_inputs(self) -> tuple[RowInput, ...]:
        """The shared row and the own row of an item."""
        return (RowInput("item", "item"), RowInput("own", "own", own=True))

    @property
    def personal_vectors(self) -> Mapping[str, int]:
        """The head's weights and its bias."""
        return {"head": self.dim, "bias": 1}

    def bound(self, items: Catalogue, users: Catalogue) -> Recommender:
        """Return the model for the items of a catalogue."""
        model: Recommender = replace(self, num_items=len(items))
        return model

    def init_shared(self, catalogue: Catalogue, seed: int) -> Shared:
        """Return the shared item table [I, d]."""
        return Shared({"item": initial_rows(seed, len(catalogue), self.dim, self.scale)})

    def init_personal(self, clients: NDArray[np.int64], seed: int) -> Personal:
        """Return heads [C, d], biases [C, 1] and own tables [C, I, d], the same for all."""
        head = ScoreHead(self.dim).init_personal(clients, seed).values
        table = initial_rows(seed, self.num_items, self.dim, self.scale, 1)
        return Personal({**head, "own": np.tile(table, (len(clients), 1, 1))})

    def loss(self, weights: Tensors, personal: Tensors, rows: Tensors, batch: Tensors) -> Tensor:
        """See `Recommender.loss`; the penalties are the method's."""
        import tensorflow as tf

        from fedrec.models import losses

        both = rows["item"] + rows["own"]
        logit = tf.reduce_sum(both * personal["head"], -1) + personal["bias"][:, 0]
        return losses.logistic(logit, batch["label"], batch["weight"])

    def gradients(
        self, weights: Tensors, personal: Tensors, rows: Tensors, batch: Tensors
    ) -> Gradients:
        """Losses and gradients of tiles, by hand.

        With c = weight * (sigmoid(logit) - label), both rows move along ``c * w``, the
        head along ``sum c * (q + p)`` and its bias along ``sum c``.
        """
        import tensorflow as tf

        both, w, weight = rows["item"] + rows["own"], personal["head"], batch["weight"]
        logit = dot(both, w) + personal["bias"][..., 0]
        c = weight * (tf.sigmoid(logit) - batch["label"])
        terms = tf.nn.sigmoid_cross_entropy_with_logits(labels=batch["label"], logits=logit)
        own = {
            "head": sum_like(c, both, w),
            "bias": sum_like(c, tf.ones_like(both[..., :1]), personal["bias"]),
        }
        moved = {"item": Outer(c, w), "own": Outer(c, w)}
        return Gradients(tf.reduce_sum(weight * terms, -1), moved, {}, own)

    def score(
        self, weights: Tensors, personal: Tensors, item_vectors: Tensors, history: Tensor
    ) -> Tensor:
        """See `Recommender.score`: logits, whose order is that of the probabilities."""
        import tensorflow as tf

        both = item_vectors["item"] + personal["own"][0]
        return tf.linalg.matvec(both, personal["head"][0]) + personal["bias"][0, 0]
