"""A local score head over shared item rows (Zhang et al., IJCAI 2023, PFedRec).

``score = w . q_i + b`` with the logistic loss: there is no user vector, the head
(w, b) itself is what is personal.  All heads start the same, as copies of one linear
layer, so that the first rounds move the shared rows in one direction.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedrec.data.interactions import Catalogue
from fedrec.models.mf import dot, sum_like
from fedrec.models.recommender import (
    Gradients,
    Outer,
    RowInput,
    Tensor,
    Tensors,
    initial_rows,
    initial_vectors,
)
from fedrec.params import Personal, Shared


@dataclass(frozen=True)
class ScoreHead:
    """A linear score head for one client.

    Attributes:
        dim: embedding size d.
        scale: standard deviation of initial item rows.
    """

    dim: int
    scale: float = 1.0

    pairwise = False
    rank_one = True
    """The gradient of an item's row is a number times the head's vector."""

    @property
    def row_inputs(self) -> tuple[RowInput, ...]:
        """The item row."""
        return (RowInput("item", "item"),)

    @property
    def personal_vectors(self) -> Mapping[str, int]:
        """The head's weights and its bias."""
        return {"head": self.dim, "bias": 1}

    def init_shared(self, catalogue: Catalogue, seed: int) -> Shared:
        """Return the item table [I, d]."""
        return Shared({"item": initial_rows(seed, len(catalogue), self.dim, self.scale)})

    def init_personal(self, clients: NDArray[np.int64], seed: int) -> Personal:
        """Return heads [C, d] and biases [C, 1], the same for all clients.

        Their variance is 1 / (3 d), that of a linear layer with d inputs.
        """
        same = np.zeros_like(clients)
        scale = (3 * self.dim) ** -0.5
        head = initial_vectors(seed, same, self.dim, scale)
        return Personal({"head": head, "bias": initial_vectors(seed, same, 1, scale, 1)})

    def loss(self, weights: Tensors, personal: Tensors, rows: Tensors, batch: Tensors) -> Tensor:
        """See `Recommender.loss`."""
        import tensorflow as tf

        from fedrec.models import losses

        logit = tf.reduce_sum(rows["item"] * personal["head"], -1) + personal["bias"][:, 0]
        return losses.logistic(logit, batch["label"], batch["weight"])

    def gradients(
        self, weights: Tensors, personal: Tensors, rows: Tensors, batch: Tensors
    ) -> Gradients:
        """Losses and gradients of tiles, by hand.

        With c = weight * (sigmoid(logit) - label), an item's row moves along ``c * w``,
        the head along ``sum c * q`` and its bias along ``sum c``.
        """
        import tensorflow as tf

        q, w, weight = rows["item"], personal["head"], batch["weight"]
        logit = dot(q, w) + personal["bias"][..., 0]
        c = weight * (tf.sigmoid(logit) - batch["label"])
        terms = tf.nn.sigmoid_cross_entropy_with_logits(labels=batch["label"], logits=logit)
        own = {
            "head": sum_like(c, q, w),
            "bias": sum_like(c, tf.ones_like(q[..., :1]), personal["bias"]),
        }
        return Gradients(tf.reduce_sum(weight * terms, -1), {"item": Outer(c, w)}, {}, own)

    def score(
        self, weights: Tensors, personal: Tensors, item_vectors: Tensors, history: Tensor
    ) -> Tensor:
        """See `Recommender.score`: logits, whose order is that of the probabilities."""
        import tensorflow as tf

        score = tf.linalg.matvec(item_vectors["item"], personal["head"][0])
        return score + personal["bias"][0, 0]
