"""Matrix factorisation: the item table is shared, the user vector is personal.

Implicit feedback: ``score = p . q_i`` with the logistic loss, or with BPR
(Rendle et al., UAI 2009).  Explicit feedback: ``rating = mean + b_u + b_i + p . q_i``
with squared error (Koren, Bell and Volinsky, Computer 2009).  Federated first by
Ammad-ud-din et al. (2019, FCF) and Chai et al. (2020, FedMF).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedrec.data.interactions import Catalogue
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
class MatrixFactorisation:
    """Matrix factorisation for one client.

    Attributes:
        dim: embedding size d.
        kind: "logistic", "bpr" or "squared".
        scale: standard deviation of initial embeddings.
        explicit: ratings with biases; the mean starts at the middle of the range.
        rating_range: lowest and highest rating; predictions are clipped to it.
    """

    dim: int
    kind: str = "logistic"
    scale: float = 0.01
    explicit: bool = False
    rating_range: tuple[float, float] = (1.0, 5.0)

    rank_one = True
    """The gradient of an item's row is a number times the user's vector."""

    @property
    def pairwise(self) -> bool:
        """Whether a sample is a (positive, negative) pair."""
        return self.kind == "bpr"

    @property
    def row_inputs(self) -> tuple[RowInput, ...]:
        """The item row, its bias (explicit) and the negative's row (BPR)."""
        inputs = [RowInput("item", "item")]
        if self.explicit:
            inputs.append(RowInput("item_bias", "item_bias"))
        if self.pairwise:
            inputs.append(RowInput("negative", "item", "negative"))
        return tuple(inputs)

    @property
    def personal_vectors(self) -> Mapping[str, int]:
        """The user vector and, for ratings, the user bias."""
        return {"user": self.dim, "user_bias": 1} if self.explicit else {"user": self.dim}

    def init_shared(self, catalogue: Catalogue, seed: int) -> Shared:
        """Return the item table [I, d] and, for ratings, biases [I, 1] and the mean."""
        tables = {"item": initial_rows(seed, len(catalogue), self.dim, self.scale)}
        if not self.explicit:
            return Shared(tables)
        tables["item_bias"] = np.zeros((len(catalogue), 1), np.float32)
        return Shared(tables, {"mean": np.array(sum(self.rating_range) / 2, np.float32)})

    def init_personal(self, clients: NDArray[np.int64], seed: int) -> Personal:
        """Return user vectors [C, d] and, for ratings, zero biases [C, 1]."""
        values = {"user": initial_vectors(seed, clients, self.dim, self.scale)}
        if self.explicit:
            values["user_bias"] = np.zeros((len(clients), 1), np.float32)
        return Personal(values)

    def loss(self, weights: Tensors, personal: Tensors, rows: Tensors, batch: Tensors) -> Tensor:
        """See `Recommender.loss`."""
        import tensorflow as tf

        from fedrec.models import losses

        prediction = tf.reduce_sum(rows["item"] * personal["user"], -1)
        if self.pairwise:
            negative = tf.reduce_sum(rows["negative"] * personal["user"], -1)
            return losses.bpr(prediction, negative, batch["weight"])
        if self.explicit:
            prediction += weights["mean"] + rows["item_bias"][:, 0] + personal["user_bias"][:, 0]
        loss = losses.squared if self.kind == "squared" else losses.logistic
        return loss(prediction, batch["label"], batch["weight"])

    def gradients(
        self, weights: Tensors, personal: Tensors, rows: Tensors, batch: Tensors
    ) -> Gradients:
        """Losses and gradients of tiles, by hand: one number for each sample carries them.

        With x the prediction and c = weight * dloss/dx, an item's row moves along
        ``c * p`` and the user's vector along ``sum c * q``.
        """
        import tensorflow as tf

        q, p, weight = rows["item"], personal["user"], batch["weight"]
        x = dot(q, p)
        if self.pairwise:
            n = rows["negative"]
            behind = dot(n, p) - x
            c = -weight * tf.sigmoid(behind)
            losses = tf.reduce_sum(weight * tf.nn.softplus(behind), -1)
            both = {"item": Outer(c, p), "negative": Outer(-c, p)}
            return Gradients(losses, both, {}, {"user": sum_like(c, q, p) - sum_like(c, n, p)})
        if self.explicit:
            x += weights["mean"][:, None] + rows["item_bias"][..., 0]
            x += personal["user_bias"][..., 0]
        if self.kind == "squared":
            c = weight * (x - batch["label"])
            losses = 0.5 * tf.reduce_sum(c * (x - batch["label"]), -1)
        else:
            c = weight * (tf.sigmoid(x) - batch["label"])
            terms = tf.nn.sigmoid_cross_entropy_with_logits(labels=batch["label"], logits=x)
            losses = tf.reduce_sum(weight * terms, -1)
        item, user = {"item": Outer(c, p)}, {"user": sum_like(c, q, p)}
        if not self.explicit:
            return Gradients(losses, item, {}, user)
        bias = personal["user_bias"]
        ones = tf.ones_like(bias)
        item["item_bias"] = Outer(c, ones)
        user["user_bias"] = sum_like(c, tf.ones_like(rows["item_bias"]), bias)
        return Gradients(losses, item, {"mean": tf.reduce_sum(c, -1)}, user)

    def score(
        self, weights: Tensors, personal: Tensors, item_vectors: Tensors, history: Tensor
    ) -> Tensor:
        """See `Recommender.score`; ratings are clipped to their range."""
        import tensorflow as tf

        score = tf.linalg.matvec(item_vectors["item"], personal["user"][0])
        if not self.explicit:
            return score
        score += weights["mean"] + item_vectors["item_bias"][:, 0] + personal["user_bias"][0, 0]
        return tf.clip_by_value(score, *self.rating_range)


def dot(q: Tensor, p: Tensor) -> Tensor:
    """Return the products of rows [N, K, d] with vectors [N, 1 or K, d], [N, K]."""
    import tensorflow as tf

    if p.shape[1] == 1:
        return tf.linalg.matmul(q, p, transpose_b=True)[..., 0]
    return tf.reduce_sum(q * p, -1)


def sum_like(c: Tensor, q: Tensor, p: Tensor) -> Tensor:
    """Return ``c * q`` [N, K, d], summed over the samples where p [N, 1, d] is one for all."""
    import tensorflow as tf

    if p.shape[1] == 1:
        return tf.linalg.matmul(c[:, None], q)
    return c[..., None] * q
