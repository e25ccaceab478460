"""Two towers: an item's attributes on one side, the user's on the other, and their product.

The item tower is a small shared network of the item's attributes plus, where wanted, a
row of its own; the user tower is the client's vector plus a shared network of the
attributes that only its device knows.  A client has one user, so losses that take the
other users of a batch for negatives have none: here negatives are drawn for each client.
"logistic" and "bpr" (a softmax over one negative) are as elsewhere; "hinge" asks a score
of 1 of what was met and holds the products with drawn items near 0, so that vectors
spread out instead of falling together (Zhang et al., ICCV 2017; for federated two-tower
models Ning et al., "Learning federated representations and recommendations with limited
negatives", 2021).

A contrast of attributes is an option: what the item tower makes of an item's attributes
through one mask is to be told, by its other view, from what it makes of other items (Yao
et al., "Self-supervised learning for large-scale item recommendations", CIKM 2021).  There,
the others are those of a batch of many users; here they are items of the client's own
sample (`fedrec.data.views`).  An item's row is no part of its views: it would tell them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

from fedrec.data.interactions import Catalogue
from fedrec.data.views import MASKS, group_size, kept_numbers
from fedrec.errors import ModelError, nearest
from fedrec.models.attributed import (
    FEATURES,
    PROFILE,
    Attributed,
    Matrix,
    layer_shapes,
    run_layers,
)
from fedrec.models.mf import dot
from fedrec.models.recommender import Tensor, Tensors


@dataclass(frozen=True, eq=False)
class TwoTower(Attributed):
    """Two towers for one client.

    Attributes:
        id_rows: an item has a row of its own beside its attributes.
        spread: hinge: weight of the squared scores of negatives.
        contrast: weight of the contrast between two masked views of attributes, 0: none.
        temperature: of the contrast.
        mask: chance that a view masks a number of the attributes.
        seed: of the masks.
        scales: number attributes of items (price, say) that are multiplied by one and a
            learnt weight "scale_<name>", which starts at 0; as a layer that stays with the
            client (`model.local_layers`) it is each merchant's own scale.
    """

    id_rows: bool = True
    spread: float = 1.0
    contrast: float = 0.0
    temperature: float = 0.5
    mask: float = 0.3
    seed: int = 0
    scales: tuple[str, ...] = ()

    @property
    def spreading(self) -> float:
        """As `spread`."""
        return self.spread

    @property
    def activations(self) -> int:
        """See `Attributed`; a contrast has two more views, and a group's cosines."""
        if not self.contrast:
            return super().activations
        width = self.items.width if self.items is not None else 0
        return super().activations + 2 * (sum(self.hidden) + width + self.dim + group_size(1))

    def bound(self, items: Catalogue, users: Catalogue) -> Self:
        """See `Attributed.bound`.

        Raises:
            ModelError: also where a contrast is asked for, and there are no item attributes,
                or what is to be scaled is no number.
        """
        found = super().bound(items, users)
        for name in self.scales:
            fields = found.items.fields if found.items is not None else {}
            if name not in fields or name == "vectors" or items.attributes[name].kind != "number":
                numbers = [n for n, a in items.attributes.items() if a.kind == "number"]
                raise ModelError(
                    f"model.scales names {name!r}, and number attributes of items that the model "
                    f"reads are: {', '.join(numbers) or 'none'}.{nearest(name, numbers)}"
                )
        if self.contrast and FEATURES not in found.constants:
            raise ModelError(
                f"model.contrast = {self.contrast:g} compares views of an item's attributes, and "
                "these data have none: set model.contrast = 0, or name a file of attributes "
                "(data.item_file)"
            )
        return found

    @cached_property
    def _kept(self) -> Matrix:
        return kept_numbers(self.constants[FEATURES].shape[1], self.mask, self.seed)

    def _losses(self, weights: Any, personal: Any, rows: Any, batch: Any) -> Tensor:
        """Return the losses of tiles [N], with a contrast those of groups."""
        if not self.contrast:
            return super()._losses(weights, personal, rows, batch)
        import tensorflow as tf

        from fedrec.models import losses

        told = tf.cast(batch["label"], tf.int32)
        label = tf.cast(told % 2, tf.float32)
        masks = told // 2 - 1  # below 0: takes no part
        views = self._views(weights, rows[FEATURES], tf.maximum(masks, 0))
        real = tf.cast(masks >= 0, tf.float32)
        apart = losses.info_nce(*views, real, self.temperature)
        plain = super()._losses(weights, personal, rows, {**batch, "label": label})
        return plain + self.contrast * tf.reduce_sum(batch["weight"] * apart, -1)

    def _views(self, weights: Tensors, features: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
        """Return the item tower's vectors [N, K, d] of features [N, K, A] in both views."""
        import tensorflow as tf

        kept = tf.constant(self._kept)
        both = tf.stack([features * tf.gather(kept, m) for m in (masks % MASKS, masks // MASKS)])
        first, second = tf.unstack(both)
        return run_layers("item_tower", first, weights), run_layers("item_tower", second, weights)

    def item_tables(self) -> Mapping[str, int]:
        """The item's own row, if it has one."""
        return {"item": self.dim} if self.id_rows else {}

    def vectors(self) -> Mapping[str, int]:
        """The user's vector."""
        return {"user": self.dim}

    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """The layers of both towers, as far as there are attributes."""
        found: dict[str, tuple[int, ...]] = {}
        for name, features in (("item_tower", self.items), ("user_tower", self.users)):
            if features is not None and features.width:
                found |= layer_shapes(name, (features.width, *self.hidden, self.dim))
        for name in self.scales:
            begin, end = self.items.fields[name] if self.items is not None else (0, 0)
            found[f"scale_{name}"] = (end - begin,)
        return found

    def _scaled(self, features: Tensor, weights: Tensors) -> Tensor:
        """Return features [N, K, A] of which some numbers are scaled."""
        import tensorflow as tf

        if not self.scales or self.items is None:
            return features
        many = tf.shape(weights[f"scale_{self.scales[0]}"])[0]  # of many clients, one or each
        factors = []
        for name, (begin, end) in self.items.fields.items():
            one = tf.ones([many, end - begin])
            factors.append(one + weights[f"scale_{name}"] if name in self.scales else one)
        return features * tf.concat(factors, -1)[:, None]

    def logits(self, weights: Tensors, personal: Tensors, rows: Tensors) -> Tensor:
        """See `Attributed.logits`."""
        parts = [rows["item"]] if self.id_rows else []
        if FEATURES in rows:
            parts.append(run_layers("item_tower", self._scaled(rows[FEATURES], weights), weights))
        user = personal["user"]
        if PROFILE in personal:
            user += run_layers("user_tower", personal[PROFILE], weights)
        return dot(sum(parts[1:], start=parts[0]), user)
