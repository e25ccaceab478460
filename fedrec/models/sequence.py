"""What sequence models share: an item table, a small network, and no user parameters.

A window of L places is one client's items in the order of time.  The network turns the
items up to a place into a vector, whose product with an item's row scores what comes
next.  The state of a user is its history, which never leaves the client; the server
learns the table and the network.  Negatives are drawn for each place, and every place
of a window uses those of all: a client downloads no more rows for it.

A contrast between two views of a window is an option (CL4SRec, Xie et al., ICDE 2022, item
masks).  There, the negatives of a user are other users, of whom a client knows none.  Here
the state of a place in one view is to be told from the states of the window's other places
in the other view: a window needs no other, of its client or of any.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedrec.data.interactions import Catalogue
from fedrec.data.sequences import negative_fields
from fedrec.models.recommender import Gradients, RowInput, Tensor, Tensors, initial_rows
from fedrec.params import Personal, Shared


@dataclass(frozen=True)
class SequenceRecommender:
    """A model of the next item, written for one client; children say how a window is read.

    Attributes:
        dim: width d of items and of the network.
        window: L, places of a window, and items of the history that a score reads.
        negatives: K, negatives drawn for each place.
        kind: "softmax" (of the next item among the negatives), "logistic" or "bpr".
        scale: standard deviation of initial item rows.
        layers: how many layers of its kind the network has.
        contrast: weight of the contrast between two masked views of a window, 0: none.
        temperature: of the contrast.
    """

    dim: int
    window: int = 50
    negatives: int = 1
    kind: str = "softmax"
    scale: float = 0.01
    layers: int = 1
    contrast: float = field(default=0.0, kw_only=True)
    temperature: float = field(default=0.5, kw_only=True)

    pairwise = False

    @property
    def history_length(self) -> int:
        """Items of the history that a score reads."""
        return self.window

    @property
    def row_inputs(self) -> tuple[RowInput, ...]:
        """Rows of one table: the item before a place, the one that came next, negatives."""
        fields = ("input", "item", *negative_fields(self.negatives))
        return tuple(RowInput(name, "item", name) for name in fields)

    @property
    def personal_vectors(self) -> Mapping[str, int]:
        """None: the history is the state of a user."""
        return {}

    @property
    def activations(self) -> int:
        """Floats of a place, beside its rows, of which a step of training holds some copies."""
        weights = sum(int(np.prod(shape)) for shape in self.shapes.values())
        scores = self.window * (self.negatives + self.layers)
        views = 3 if self.contrast else 1
        return views * (weights // self.window + scores + 3 * self.layers * self.dim)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Name -> shape of the network's weights; those named "scale" start at one."""
        raise NotImplementedError

    def encode(self, weights: Tensors, items: Tensor, real: Tensor) -> Tensor:
        """Read windows from the left to the right.

        Args:
            weights: name -> float32 [N or 1, ...].
            items: float32 [N, L, d], rows of the items, zero where there is none.
            real: float32 [N, L], 1 where there is an item; the others stand in front.

        Returns:
            float32 [N, L, d]; place t depends on the places 0..t alone.
        """
        raise NotImplementedError

    def init_shared(self, catalogue: Catalogue, seed: int) -> Shared:
        """Return the item table [I, d] and the weights (Glorot and Bengio, AISTATS 2010)."""
        table = initial_rows(seed, len(catalogue), self.dim, self.scale)
        shapes = sorted(self.shapes.items())
        weights = {n: _initial(seed, n, s, number) for number, (n, s) in enumerate(shapes, 1)}
        return Shared({"item": table}, weights)

    def init_personal(self, clients: NDArray[np.int64], seed: int) -> Personal:
        """Return nothing."""
        return Personal({})

    def loss(self, weights: Tensors, personal: Tensors, rows: Tensors, batch: Tensors) -> Tensor:
        """See `Recommender.loss`; the batch is one window, B = L."""
        one = tuple({n: v[None] for n, v in part.items()} for part in (weights, rows, batch))
        return self._losses(*one)[0]

    def gradients(
        self, weights: Tensors, personal: Tensors, rows: Tensors, batch: Tensors
    ) -> Gradients:
        """See `Recommender`: the tape's gradients of N windows, K = L, in batched products."""
        import tensorflow as tf

        inputs = (weights, {r.name: rows[r.name] for r in self.row_inputs})
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(inputs)
            told = self._losses(*inputs, batch)
            total = tf.reduce_sum(told)
        of_weights, of_rows = tape.gradient(total, inputs, unconnected_gradients="zero")
        return Gradients(told, of_rows, of_weights, {})

    def _losses(self, weights: Tensors, rows: Tensors, batch: Tensors) -> Tensor:
        """Return the losses of N windows, float32 [N]."""
        import tensorflow as tf

        weight = tf.reshape(batch["weight"], [-1, self.window])
        real = tf.cast(weight > 0, tf.float32)
        placed = {n: tf.reshape(v, [-1, self.window, self.dim]) for n, v in rows.items()}
        hidden = self.encode(weights, placed["input"] * real[..., None], real)
        positive = tf.reduce_sum(hidden * placed["item"], -1)
        drawn = tf.concat([placed[name] for name in negative_fields(self.negatives)], 1)
        negative = tf.linalg.matmul(hidden, drawn, transpose_b=True)  # [N, L, L * K]
        usable = tf.tile(real, [1, self.negatives])[:, None]
        terms = self._terms(positive, negative, usable)
        if self.contrast:
            masks = tf.reshape(batch["label"], [-1, self.window])
            terms += self.contrast * self._contrast(weights, placed["input"], real, masks)
        return tf.reduce_sum(weight * terms, -1)

    def _contrast(self, weights: Tensors, items: Tensor, real: Tensor, label: Tensor) -> Tensor:
        """Return InfoNCE of each place [N, L] between two views (`losses.info_nce`).

        Args:
            weights: of the network.
            items: float32 [N, L, d].
            real: float32 [N, L], 1 where there is an item.
            label: float32 [N, L], which view masks a place (`fedrec.data.sequences`).
        """
        import tensorflow as tf

        from fedrec.models import losses

        masked = tf.cast(label, tf.int32) - 1
        kept = (1 - masked % 2, 1 - masked // 2)
        shown = (items * (real * tf.cast(one, tf.float32))[..., None] for one in kept)
        first, second = (self.encode(weights, one, real) for one in shown)
        return losses.info_nce(first, second, real, self.temperature)

    def _terms(self, positive: Tensor, negative: Tensor, usable: Tensor) -> Tensor:
        """Return the loss of each place [N, L]; a mean over negatives stands for K of them."""
        import tensorflow as tf

        count = tf.maximum(tf.reduce_sum(usable, -1), 1.0)  # [N, 1]
        if self.kind == "softmax":
            spread = tf.math.log(float(self.window * self.negatives) / count)[..., None]
            negative = tf.where(usable > 0, negative + spread, -1e9)  # padding drops out
            logits = tf.concat([positive[..., None], negative], -1)
            return tf.reduce_logsumexp(logits, -1) - positive
        if self.kind == "bpr":
            behind = tf.nn.softplus(negative - positive[..., None])
            return tf.reduce_sum(behind * usable, -1) / count
        below = tf.reduce_sum(tf.nn.softplus(negative) * usable, -1) / count
        return tf.nn.softplus(-positive) + self.negatives * below

    def score(
        self, weights: Tensors, personal: Tensors, item_vectors: Tensors, history: Tensor
    ) -> Tensor:
        """See `Recommender.score`; reads the latest L items of the history."""
        one = {n: v[None] for n, v in weights.items()}
        return self.scores(one, personal, item_vectors, history[None])[0]

    def scores(
        self, weights: Tensors, personal: Tensors, item_vectors: Tensors, history: Tensor
    ) -> Tensor:
        """See `Recommender`: the scores of many clients, float32 [b, I]."""
        import tensorflow as tf

        table = item_vectors["item"]
        history = tf.reshape(history, [-1, self.window])
        real = tf.cast(history >= 0, tf.float32)
        own = len(table.shape) - 2  # clients with tables of their own: [b, I, d]
        items = tf.gather(table, tf.maximum(history, 0), batch_dims=own) * real[..., None]
        hidden = self.encode(weights, items, real)[:, -1:]
        return tf.linalg.matmul(hidden, table, transpose_b=True)[:, 0]


def _initial(seed: int, name: str, shape: tuple[int, ...], number: int) -> NDArray[np.float32]:
    """Return ones for scales, zeros for other vectors, and Glorot's normal for matrices."""
    if len(shape) == 1:
        return np.full(shape, 1.0 if name.endswith("scale") else 0.0, np.float32)
    spread = float(np.sqrt(2.0 / sum(shape)))
    return initial_rows(seed, shape[0], shape[1], spread, number).astype(np.float32)


def dense(values: Tensor, kernel: Tensor, bias: Tensor | None = None) -> Tensor:
    """Multiply each window with its own kernel.

    Args:
        values: float32 [N, L, a].
        kernel: float32 [N or 1, a, b].
        bias: float32 [N or 1, b].

    Returns:
        float32 [N, L, b].
    """
    import tensorflow as tf

    product: Any = tf.linalg.matmul(values, kernel)
    return product if bias is None else product + bias[:, None]


def normalise(values: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """Layer normalisation (Ba, Kiros and Hinton 2016) over the last axis.

    Args:
        values: float32 [N, L, d].
        scale: float32 [N or 1, d].
        shift: float32 [N or 1, d].

    Returns:
        float32 [N, L, d].
    """
    import tensorflow as tf

    centred = values - tf.reduce_mean(values, -1, keepdims=True)
    variance = tf.reduce_mean(tf.square(centred), -1, keepdims=True)
    return centred * tf.math.rsqrt(variance + 1e-6) * scale[:, None] + shift[:, None]
