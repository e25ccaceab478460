"""What models that read attributes have in common.

Item attributes lie on every node and are neither trained nor sent (`constants`).  The
attributes of a user stay on its device: they are a personal value, "profile", that never
moves.  A model gives its logits on tiles of samples; losses and gradients follow here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from fedrec.data.interactions import Catalogue
from fedrec.models.features import Features, Options, item_features, user_features
from fedrec.models.recommender import (
    Gradients,
    RowInput,
    Tensor,
    Tensors,
    initial_rows,
    initial_vectors,
)
from fedrec.params import Personal, Shared

Matrix = NDArray[np.float32]
FEATURES, PROFILE = "features", "profile"
_WEIGHTS = 10  # numbers of tables below are for those that are trained as rows


@dataclass(frozen=True, eq=False)
class Attributed:
    """A model for one client that reads attributes of its items and of its user.

    Attributes:
        dim: embedding size d.
        hidden: widths of the hidden layers.
        kind: "logistic", "bpr" or, for two towers, "hinge".
        scale: standard deviation of initial embeddings.
        options: which attributes, and how they become numbers.
        items: features of the items [I, A]; None until the model is bound.
        users: features of the users [U, A']; likewise.
    """

    dim: int
    hidden: tuple[int, ...] = (32,)
    kind: str = "logistic"
    scale: float = 0.01
    options: Options = field(default_factory=Options)
    items: Features | None = None
    users: Features | None = None

    one_for_all = True

    @property
    def pairwise(self) -> bool:
        """Whether a sample is a (positive, negative) pair."""
        return self.kind == "bpr"

    @property
    def constants(self) -> Mapping[str, Matrix]:
        """The item features, if there are any."""
        known = self.items is not None and self.items.width
        return {FEATURES: self.items.values} if self.items is not None and known else {}

    @property
    def personal_fixed(self) -> tuple[str, ...]:
        """The user's own attributes: read on the device, never trained."""
        return (PROFILE,) if self.users is not None and self.users.width else ()

    @property
    def activations(self) -> int:
        """Elements of hidden layers that a sample holds in training."""
        return sum(self.hidden) + 4 * self.dim

    def bound(self, items: Catalogue, users: Catalogue) -> Self:
        """Return the model with the features of these items and users.

        Raises:
            ModelError: where an attribute is unknown, or its source fails.
        """
        own = item_features(items, self.options)
        return replace(self, items=own, users=user_features(users, self.options))

    def item_tables(self) -> Mapping[str, int]:
        """Return name -> width of the item tables that are trained."""
        raise NotImplementedError

    def vectors(self) -> Mapping[str, int]:
        """Return name -> width of the personal vectors that are trained."""
        raise NotImplementedError

    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Return name -> shape of the dense weights; those of one axis start at 0."""
        raise NotImplementedError

    def logits(self, weights: Tensors, personal: Tensors, rows: Tensors) -> Tensor:
        """Return logits [N, K] of tiles.

        Args:
            weights: name -> float32 [N or 1, ...].
            personal: name -> float32 [N, 1 or K, ...].
            rows: float32 [N or 1, K, width]: of each item table, and "features".
        """
        raise NotImplementedError

    @property
    def read_names(self) -> tuple[str, ...]:
        """The tables of which `logits` reads rows."""
        return (*self.item_tables(), *self.constants)

    @property
    def row_inputs(self) -> tuple[RowInput, ...]:
        """The rows of an item and, for pairs, of its negative."""
        prefixes = {"": "item", **({"negative_": "negative"} if self.pairwise else {})}
        return tuple(
            RowInput(prefix + table, table, where, fixed=table in self.constants)
            for prefix, where in prefixes.items()
            for table in self.read_names
        )

    @property
    def personal_vectors(self) -> Mapping[str, int]:
        """The trained vectors, and the user's own attributes."""
        width = self.users.width if self.users is not None else 0
        return {**self.vectors(), **dict.fromkeys(self.personal_fixed, width)}

    def init_shared(self, catalogue: Catalogue, seed: int) -> Shared:
        """Return item tables [I, ...], and weights whose variance keeps that of their input."""
        tables = {
            name: initial_rows(seed, len(catalogue), width, self.scale, number)
            for number, (name, width) in enumerate(self.item_tables().items())
        }
        weights = {}
        for number, (name, shape) in enumerate(self.shapes().items()):
            if len(shape) == 1:
                weights[name] = np.zeros(shape, np.float32)
                continue
            scale = (2.0 / sum(shape)) ** 0.5
            into, out = shape
            weights[name] = initial_rows(seed, into, out, scale, _WEIGHTS + number)
        return Shared(tables, weights)

    def init_personal(self, clients: NDArray[np.int64], seed: int) -> Personal:
        """Return personal vectors [C, ...] and the attributes of these users."""
        values = {
            name: initial_vectors(seed, clients, width, self.scale, number)
            for number, (name, width) in enumerate(self.vectors().items())
        }
        if self.personal_fixed and self.users is not None:
            values[PROFILE] = self.users.values[clients]
        return Personal(values)

    def loss(self, weights: Tensors, personal: Tensors, rows: Tensors, batch: Tensors) -> Tensor:
        """See `Recommender.loss`."""
        one = ({n: v[None] for n, v in part.items()} for part in (weights, personal, rows, batch))
        return self._losses(*one)[0]

    def _losses(self, weights: Any, personal: Any, rows: Any, batch: Any) -> Tensor:
        """Return the losses of tiles [N]."""
        import tensorflow as tf

        from fedrec.models import losses

        names = self.read_names
        logit = self.logits(weights, personal, {n: rows[n] for n in names})
        label, weight = batch["label"], batch["weight"]
        if self.pairwise:
            other = {n: rows[f"negative_{n}"] for n in names}
            return losses.bpr(logit, self.logits(weights, personal, other), weight)
        if self.kind == "hinge":
            missed = tf.nn.relu(1.0 - logit)
            each = label * missed + (1.0 - label) * self.spreading * tf.square(logit)
            return tf.reduce_sum(weight * each, -1)
        return losses.logistic(logit, label, weight)

    @property
    def spreading(self) -> float:
        """Weight of the squared logits of negatives in the hinge loss."""
        return 1.0

    def gradients(
        self, weights: Tensors, personal: Tensors, rows: Tensors, batch: Tensors
    ) -> Gradients:
        """The tape's losses and gradients of all tiles at once; what is fixed has none."""
        import tensorflow as tf

        still = {n for n in personal if n in self.personal_fixed}
        moving = {r.name: rows[r.name] for r in self.row_inputs if not r.fixed}
        own = {n: v for n, v in personal.items() if n not in still}
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch((weights, own, moving))
            told = self._losses(weights, {**personal, **own}, {**rows, **moving}, batch)
            total = tf.reduce_sum(told)
        of_weights, of_own, of_rows = tape.gradient(
            total, (dict(weights), own, moving), unconnected_gradients="zero"
        )
        zeros = {n: tf.zeros_like(personal[n]) for n in still}
        return Gradients(told, of_rows, of_weights, {**of_own, **zeros})

    def score(
        self, weights: Tensors, personal: Tensors, item_vectors: Tensors, history: Tensor
    ) -> Tensor:
        """See `Recommender.score`."""
        one = {n: value[None] for n, value in weights.items()}
        return self.scores(one, personal, item_vectors, history)[0]

    def scores(
        self, weights: Tensors, personal: Tensors, item_vectors: Tensors, history: Tensor
    ) -> Tensor:
        """See `Recommender`: of many clients; what is the same for all is computed once."""
        rows = {n: v if v.shape.rank == 3 else v[None] for n, v in item_vectors.items()}
        return self.logits(weights, {n: v[:, None] for n, v in personal.items()}, rows)


def layer_shapes(name: str, widths: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    """Return the shapes of a stack of dense layers, "name_0" [a, b], "name_0_bias" [b], ..."""
    shapes: dict[str, tuple[int, ...]] = {}
    for number, pair in enumerate(zip(widths, widths[1:], strict=False)):
        shapes[f"{name}_{number}"] = pair
        shapes[f"{name}_{number}_bias"] = pair[1:]
    return shapes


def product(x: Tensor, kernel: Tensor) -> Tensor:
    """Return tiles [N or 1, K, a] times a matrix [N or 1, a, b]; one for all is one product."""
    import tensorflow as tf

    if kernel.shape[0] != 1:
        return tf.linalg.matmul(x, kernel)
    shape = tf.shape(x)
    found = tf.linalg.matmul(tf.reshape(x, [-1, x.shape[-1]]), kernel[0])
    return tf.reshape(found, [shape[0], shape[1], kernel.shape[-1]])


def run_rows(name: str, x: Tensor, weights: Tensors) -> Tensor:
    """Run a stack of dense layers on rows [n, a], with weights as the server has them."""
    return run_layers(name, x[None], {n: v[None] for n, v in weights.items()})[0]


def run_layers(name: str, x: Tensor, weights: Tensors, first: int = 0) -> Tensor:
    """Run a stack of dense layers on tiles [N, K, a]: ReLU between them, none at the end.

    Where all tiles have the same weights they are one product, with its bias and its ReLU in
    one pass.

    Args:
        name: of the stack, see `layer_shapes`.
        x: what the first layer reads or, where `first` is not 0, the layer before has given.
        weights: name -> float32 [N or 1, ...].
        first: number of the first layer that is run; beyond the last nothing is.
    """
    import tensorflow as tf

    number, shape = first, tf.shape(x)
    same = weights[f"{name}_0"].shape[0] == 1
    x = tf.reshape(x, [-1, x.shape[-1]]) if same else x
    while f"{name}_{number}" in weights:
        kernel, bias = weights[f"{name}_{number}"], weights[f"{name}_{number}_bias"]
        x = tf.nn.relu(x) if number else x
        if same:
            x = tf.nn.bias_add(tf.linalg.matmul(x, kernel[0]), bias[0])
        else:
            x = tf.linalg.matmul(x, kernel) + bias[:, None]
        number += 1
    return tf.reshape(x, [shape[0], shape[1], x.shape[-1]]) if same else x
