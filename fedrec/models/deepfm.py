"""DeepFM (Guo et al., IJCAI 2017): a factorisation machine and a network on one embedding.

The fields are the user, the item, and each attribute of both.  The embedding of a field
is its vector, or the product of its columns with their embeddings; the machine adds the
products of all pairs of fields, the network reads them side by side.  The user's vector
and attributes stay with the client, item rows are sparse, all else is shared.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fedrec.models.attributed import FEATURES, PROFILE, Attributed, layer_shapes, run_layers
from fedrec.models.features import Features
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

        given = {**rows, **personal}
        fields, first = [personal["user"], rows["item"]], rows["item_bias"]
        for name, side in self._sides().items():
            x, embedding = given[name], weights[f"{name}_embedding"]
            first += tf.linalg.matmul(x, weights[f"{name}_linear"][..., None])
            fields += [
                tf.linalg.matmul(x[..., begin:end], embedding[:, begin:end])
                for begin, end in side.fields.values()
            ]
        same = tf.zeros_like(rows["item"] + personal["user"])  # of the shape of all fields
        fields = [field + same for field in fields]
        total = sum(fields[1:], start=fields[0])
        squares = sum((tf.square(field) for field in fields[1:]), start=tf.square(fields[0]))
        second = 0.5 * tf.reduce_sum(tf.square(total) - squares, -1)
        deep = run_layers("deep", tf.concat(fields, -1), weights)
        return first[..., 0] + second + deep[..., 0]
