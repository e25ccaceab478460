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
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fedrec.models.attributed import FEATURES, PROFILE, Attributed, layer_shapes, run_layers
from fedrec.models.mf import dot
from fedrec.models.recommender import Tensor, Tensors


@dataclass(frozen=True, eq=False)
class TwoTower(Attributed):
    """Two towers for one client.

    Attributes:
        id_rows: an item has a row of its own beside its attributes.
        spread: hinge: weight of the squared scores of negatives.
    """

    id_rows: bool = True
    spread: float = 1.0

    @property
    def spreading(self) -> float:
        """As `spread`."""
        return self.spread

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
        return found

    def logits(self, weights: Tensors, personal: Tensors, rows: Tensors) -> Tensor:
        """See `Attributed.logits`."""
        parts = [rows["item"]] if self.id_rows else []
        if FEATURES in rows:
            parts.append(run_layers("item_tower", rows[FEATURES], weights))
        user = personal["user"]
        if PROFILE in personal:
            user += run_layers("user_tower", personal[PROFILE], weights)
        return dot(sum(parts[1:], start=parts[0]), user)
