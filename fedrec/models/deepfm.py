"""DeepFM (Guo et al., IJCAI 2017): a factorisation machine and a network on one embedding.

The fields are the user, the item, and each attribute of both.  The embedding of a field
is its vector, or the product of its columns with their embeddings; the machine adds the
products of all pairs of fields, the network reads them side by side.  The user's vector
and attributes stay with the client, item rows are sparse, all else is shared.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fedrec.models.attributed import (
    FEATURES,
    PROFILE,
    Attributed,
    layer_shapes,
    product,
    run_layers,
)
from fedrec.models.features import Features
from fedrec.models.mf import dot
from fedrec.models.recommender import Tensor, Tensors


@dataclass(frozen=True, eq=False)
class DeepFM(Attributed):
    """DeepFM for one client."""

    def item_tables(self) -> Mapping[str, int]:
        """The item's embedding and its first-order weight."""
        return {"item": self.dim, "item_bias": 1}

    def vectors(self) -> Mapping[str, int]:
        """The user's embedding."""
        return {"user": self.dim}

    def _sides(self) -> dict[str, Features]:
        sides = {FEATURES: self.items, PROFILE: self.users}
        return {n: side for n, side in sides.items() if side is not None and side.width}

    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Embeddings and first-order weights of columns, and the network."""
        found: dict[str, tuple[int, ...]] = {}
        number = 2
        for name, side in self._sides().items():
            found |= {f"{name}_embedding": (side.width, self.dim), f"{name}_linear": (side.width,)}
            number += len(side.fields)
        return found | layer_shapes("deep", (number * self.dim, *self.hidden, 1))

    def logits(self, weights: Tensors, personal: Tensors, rows: Tensors) -> Tensor:
        """See `Attributed.logits`."""
        import tensorflow as tf

        sides = [([rows["item"]], rows["item_bias"]), ([personal["user"]], 0.0)]
        for name, side in self._sides().items():
            own = name == PROFILE
            fields, first = sides[own]
            both = [weights[f"{name}_embedding"], weights[f"{name}_linear"][..., None]]
            found = fields_of((personal if own else rows)[name], tf.concat(both, -1), side)
            fields += [field[..., :-1] for field in found]
            sides[own] = (fields, first + sum(field[..., -1:] for field in found))
        (items, first), (users, linear) = sides
        (item, within), (user, between) = summed(items), summed(users)
        deep = self._deep(weights, tf.concat(items, -1), tf.concat(users, -1))
        return dot(item, user) + (first + within + linear + between + deep)[..., 0]

    def _deep(self, weights: Tensors, items: Tensor, users: Tensor) -> Tensor:
        """Run the network; what a user brings into its first layer is the same for all items."""
        import tensorflow as tf

        kernel, end = weights["deep_0"], self.dim + items.shape[-1]
        first = product(items, kernel[:, self.dim : end])
        own = tf.concat([kernel[:, : self.dim], kernel[:, end:]], 1)
        first += product(users, own) + weights["deep_0_bias"][:, None]
        return run_layers("deep", first, weights, 1)


def summed(fields: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Return the sum of fields and the sum of the products of their pairs.

    The products of all pairs of two groups are those within each of them, and the product
    of their sums (Rendle 2010, lemma 3.1).

    Args:
        fields: embeddings, each float32 [..., n, d].

    Returns:
        Float32 [..., n, d] and [..., n, 1].
    """
    import tensorflow as tf

    total = sum(fields[1:], start=fields[0])
    squares = sum((tf.square(f) for f in fields[1:]), start=tf.square(fields[0]))
    return total, 0.5 * tf.reduce_sum(tf.square(total) - squares, -1, keepdims=True)


def fields_of(x: Tensor, embedding: Tensor, side: Features) -> list[Tensor]:
    """Return the embedding of each field of some rows.

    Args:
        x: features of an item or a user, float32 [..., n, A].
        embedding: float32 [..., A, d].
        side: says which columns are a field.
    """
    import tensorflow as tf

    times = product if len(x.shape) == 3 else tf.linalg.matmul
    return [
        times(x[..., begin:end], embedding[..., begin:end, :])
        for begin, end in side.fields.values()
    ]
