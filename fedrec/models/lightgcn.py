"""LightGCN by client sub-graphs: items are propagated at the server, users at home.

LightGCN (He et al., SIGIR 2020) has one base vector for each item and no weights; layers
only average over neighbours in the graph of users and items.  Here no user has a base
vector (as in inductive variants of the model), so that all that a user is follows from its
items: ``e_u = |N_u|^-1/2 sum_i z_i`` over its training items, where z are the item
vectors that the server has propagated (`fedrec.training.graph`).  This hop is the client's
own sub-graph; as in FedPerGNN (Wu et al., Nature Communications 2022) it never leaves it,
but no neighbour's vector is handed to a client either.

Loss: BPR (Rendle et al., UAI 2009) of an item against one that the user has not met.  The
item itself is left out of e_u (`leave_out`): otherwise its vector would partly be scored
against itself, which no item to be predicted can be.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedrec.data.interactions import Catalogue
from fedrec.models.recommender import (
    WHOLE_HISTORY,
    Gradients,
    RowInput,
    Tensor,
    Tensors,
    initial_rows,
)
from fedrec.params import Personal, Shared


@dataclass(frozen=True)
class LightGCN:
    """The client's part of LightGCN, for one client.

    Its personal values are made anew in each round by `neighbourhood.user_vectors`, and
    nothing of them is kept: "user" [C, d] is e_u, "share" [C, 1] is ``|N_u|^-1/2``.

    Attributes:
        dim: embedding size d.
        scale: standard deviation of initial item rows.
        leave_out: whether a training sample's own item is left out of e_u.
    """

    dim: int
    scale: float = 0.1
    leave_out: bool = True

    pairwise = True
    history_length = WHOLE_HISTORY

    @property
    def row_inputs(self) -> tuple[RowInput, ...]:
        """The row of the item, and of one that the user has not met."""
        return (RowInput("item", "item"), RowInput("negative", "item", "negative"))

    @property
    def personal_vectors(self) -> Mapping[str, int]:
        """None that would be kept."""
        return {}

    def init_shared(self, catalogue: Catalogue, seed: int) -> Shared:
        """Return the base table Q [I, d]; clients are sent what the server makes of it."""
        return Shared({"item": initial_rows(seed, len(catalogue), self.dim, self.scale)})

    def init_personal(self, clients: NDArray[np.int64], seed: int) -> Personal:
        """Return none."""
        return Personal({})

    def loss(self, weights: Tensors, personal: Tensors, rows: Tensors, batch: Tensors) -> Tensor:
        """See `Recommender.loss`; personal values as the class says."""
        import tensorflow as tf

        from fedrec.models import losses

        own = personal["user"]
        if self.leave_out:
            own = own - personal["share"] * rows["item"]
        item = tf.reduce_sum(rows["item"] * own, -1)
        negative = tf.reduce_sum(rows["negative"] * own, -1)
        return losses.bpr(item, negative, batch["weight"])

    def gradients(
        self, weights: Tensors, personal: Tensors, rows: Tensors, batch: Tensors
    ) -> Gradients:
        """Losses and gradients of tiles, by hand.

        With q and n the rows of item and negative, s the share, ``v = e - s q`` and
        ``c = -weight * sigmoid(v . (n - q))``: q moves along ``c (v - s (q - n))``, n along
        ``-c v``, and e along ``sum c (q - n)``.
        """
        import tensorflow as tf

        q, n, weight = rows["item"], rows["negative"], batch["weight"]
        ahead = q - n
        own = personal["user"] + tf.zeros_like(q)
        if self.leave_out:
            own -= personal["share"] * q
        behind = -tf.reduce_sum(own * ahead, -1)
        c = (-weight * tf.sigmoid(behind))[..., None]
        losses = tf.reduce_sum(weight * tf.nn.softplus(behind), -1)
        of_item = c * own
        if self.leave_out:
            of_item -= personal["share"] * c * ahead
        of_user = tf.reduce_sum(c * ahead, 1, keepdims=True)
        still = tf.zeros_like(personal["share"])
        return Gradients(
            losses,
            {"item": of_item, "negative": -c * own},
            {},
            {"user": of_user, "share": still},
        )

    def score(
        self, weights: Tensors, personal: Tensors, item_vectors: Tensors, history: Tensor
    ) -> Tensor:
        """See `Recommender.score`."""
        return self.scores(weights, personal, item_vectors, history[None])[0]

    def scores(
        self, weights: Tensors, personal: Tensors, item_vectors: Tensors, history: Tensor
    ) -> Tensor:
        """See `Recommender`: the scores of many clients, float32 [b, I]."""
        import tensorflow as tf

        table = item_vectors["item"]
        real = tf.cast(history >= 0, table.dtype)
        share = tf.math.rsqrt(tf.maximum(tf.reduce_sum(real, -1, keepdims=True), 1.0))
        own = len(table.shape) - 2  # clients with tables of their own: [b, I, d]
        met = tf.gather(table, tf.maximum(history, 0), batch_dims=own)
        user = tf.linalg.matmul(real[:, None], met)[:, 0] * share
        if own:
            return tf.linalg.matvec(table, user)
        return tf.linalg.matmul(user, table, transpose_b=True)
