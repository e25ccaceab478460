"""Layers that stay with each client: FedPer, for any model.

Arivazhagan et al., "Federated learning with personalization layers" (2019): clients share the
layers below and keep those on top.  Here any dense weights may be kept.  They become personal
values like a local head, one of each client however many users it hosts: they move by
`train.personal_lr`, and no update holds them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Self

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from fedrec.data.interactions import Catalogue
from fedrec.errors import ModelError, nearest
from fedrec.models.recommender import Gradients, Recommender, Tensor, Tensors
from fedrec.models.wrapped import Wrapped
from fedrec.params import Personal, Shared

_ONE_ITEM = Catalogue(np.array(["0"], object))


@lru_cache(maxsize=64)
def weight_names(model: Recommender) -> tuple[str, ...]:
    """Return the names of a model's dense weights, in their order."""
    with tf.init_scope():  # initial values cannot be read while a function is traced
        return tuple(model.init_shared(_ONE_ITEM, 0).weights)


@dataclass(frozen=True)
class Localised(Wrapped):
    """`model` some of whose dense weights stay with the client.

    Attributes:
        model: the model, written for one client.
        layers: what stays: names of layers ("head": all its weights) or of weights, or
            patterns of these ("mlp_*").
    """

    layers: tuple[str, ...]

    def bound(self, items: Catalogue, users: Catalogue) -> Self:
        """See `Recommender`.

        Raises:
            ModelError: if a layer is not one of the model's, before anything is trained.
        """
        found = super().bound(items, users)
        found._own(weight_names(found.model))
        return found

    def init_shared(self, catalogue: Catalogue, seed: int) -> Shared:
        """Return the model's parameters without what stays with clients.

        Raises:
            ModelError: if a layer is not one of the model's.
        """
        shared = self.model.init_shared(catalogue, seed)
        own = self._own(shared.weights)
        return replace(shared, weights={n: v for n, v in shared.weights.items() if n not in own})

    def init_personal(self, clients: NDArray[np.int64], seed: int) -> Personal:
        """Return the model's personal parameters, and the same layers for all clients."""
        values = self.model.init_personal(clients, seed).values
        first = self.model.init_shared(_ONE_ITEM, seed).weights
        own = {n: np.repeat(first[n][None], len(clients), 0) for n in self._own(first)}
        return Personal({**values, **own})

    def _own(self, weights: Iterable[str]) -> list[str]:
        """Return the names of the weights that stay, in their order."""
        names = list(weights)
        if not names:
            raise ModelError(
                f"model.local_layers = {' '.join(self.layers)!r} keeps dense weights at home, and "
                f"{type(self.model).__name__} has none: leave it out, or use a model with layers "
                "(ncf, two-tower, deepfm, sequence models)"
            )
        for layer in self.layers:
            if not any(_belongs(name, layer) for name in names):
                raise ModelError(
                    f"model.local_layers names {layer!r}, and {type(self.model).__name__} has "
                    f"no such layer.{nearest(layer, names)} Its weights: {', '.join(names)}"
                )
        return [n for n in names if any(_belongs(n, layer) for layer in self.layers)]

    def loss(self, weights: Tensors, personal: Tensors, rows: Tensors, batch: Tensors) -> Tensor:
        """See `Recommender.loss`."""
        own, rest = self._split(personal)
        whole = {**weights, **{n: value[0] for n, value in own.items()}}
        return self.model.loss(whole, rest, rows, batch)

    def score(
        self, weights: Tensors, personal: Tensors, item_vectors: Tensors, history: Tensor
    ) -> Tensor:
        """See `Recommender.score`."""
        own, rest = self._split(personal)
        whole = {**weights, **{n: value[0] for n, value in own.items()}}
        return self.model.score(whole, rest, item_vectors, history)

    @property
    def scores(self) -> Callable[..., Tensor] | None:
        """The model's scores of many clients, if it offers them."""
        many = getattr(self.model, "scores", None)
        if many is None:
            return None

        def localised(w: Tensors, personal: Tensors, vectors: Tensors, history: Tensor) -> Tensor:
            own, rest = self._split(personal)
            return many({**w, **own}, rest, vectors, history)

        return localised

    @property
    def gradients(self) -> Callable[..., Gradients] | None:
        """The model's gradients by hand, if it offers them; those of layers are personal."""
        by_hand = getattr(self.model, "gradients", None)
        if by_hand is None:
            return None

        def localised(w: Tensors, personal: Tensors, rows: Tensors, batch: Tensors) -> Gradients:
            own, rest = self._split(personal)
            whole = {**w, **{n: value[:, 0] for n, value in own.items()}}
            found: Gradients = by_hand(whole, rest, rows, batch)
            moved = {n: found.weights[n][:, None] for n in own}
            shared = {n: value for n, value in found.weights.items() if n not in own}
            return found._replace(weights=shared, personal={**found.personal, **moved})

        return localised

    def _split(self, personal: Tensors) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return the layers that stay, and the model's own personal parameters."""
        own = {n: personal[n] for n in self._own(weight_names(self.model))}
        return own, {n: v for n, v in personal.items() if n not in own}


def _belongs(name: str, layer: str) -> bool:
    """Whether a weight is one of a layer's: "head" has "head/kernel" and "head/bias"."""
    bias = name.removesuffix("_bias")  # "deep_1" has "deep_1_bias"
    return any(fnmatchcase(n, layer) for n in (name, name.split("/")[0], bias))
