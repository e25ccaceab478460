"""Models whose shared part stands still, with all that follows from it computed once.

On a device only the user's part moves.  What items bring into a score is then the same for
every event, step and list: the vectors of an item tower, the first- and second-order terms of
a factorisation machine, and the items' part of a network's first layer, whose matrix falls
apart into rows of the user and rows of the item, ``[x_u x_i] W = x_u W_u + x_i W_i``.  Two
towers, DeepFM and NCF become one small model over these tables, with the same loss, starts
and scores; it is trained by the same function as any other (`train_cohort`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedrec.models.attributed import FEATURES, Attributed, Matrix, run_layers
from fedrec.models.deepfm import DeepFM
from fedrec.models.keras_adapter import KerasRecommender
from fedrec.models.mf import dot
from fedrec.models.recommender import Gradients, Tensor, Tensors
from fedrec.models.two_tower import TwoTower
from fedrec.params import Shared

Profile = NDArray[np.float32]
Weights = dict[str, Matrix]
WIDE, DEEP, BIAS = "wide", "deep", "bias"


@dataclass(frozen=True, eq=False)
class FrozenItems(Attributed):
    """``bias_i + wide_i (u + offset) + linear u + const + net(deep_i + v W + deep_offset)``.

    Attributes:
        names: of the personal vectors u and v, which may be one.
        tables: of the items, float32: "wide" [I, d], "bias" [I, 1], perhaps "deep" [I, h].
        spread: as `TwoTower.spread`.
    """

    names: tuple[str, str] = ("user", "user")
    tables: Mapping[str, Matrix] | None = None
    spread: float = 1.0

    @property
    def spreading(self) -> float:
        """See `Attributed`."""
        return self.spread

    @property
    def constants(self) -> Mapping[str, Matrix]:
        """All tables: none is trained."""
        return self.tables or {}

    def item_tables(self) -> Mapping[str, int]:
        """None is trained."""
        return {}

    def vectors(self) -> Mapping[str, int]:
        """The user's vectors, numbered as in the model that was trained."""
        return dict.fromkeys(self.names, self.dim)

    def logits(self, weights: Tensors, personal: Tensors, rows: Tensors) -> Tensor:
        """See `Attributed.logits`."""
        import tensorflow as tf

        user, own = personal[self.names[0]], personal[self.names[1]]
        found = dot(rows[WIDE], user + weights["offset"][:, None]) + rows[BIAS][..., 0]
        found += tf.reduce_sum(user * weights["linear"][:, None], -1) + weights["const"]
        if DEEP not in rows:
            return found
        first = tf.linalg.matmul(own, weights["deep_user"]) + weights["deep_offset"][:, None]
        layer = rows[DEEP] + first
        if "rest_0" in weights:
            layer = run_layers("rest", tf.nn.relu(layer), weights)
        return found + layer[..., 0]

    def gradients(
        self, weights: Tensors, personal: Tensors, rows: Tensors, batch: Tensors
    ) -> Gradients:
        """The tape's losses and gradients of what is personal; nothing else moves."""
        import tensorflow as tf

        own = dict(personal)
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(own)
            told = self._losses(weights, own, rows, batch)
            total = tf.reduce_sum(told)
        moved = tape.gradient(total, own, unconnected_gradients="zero")
        return Gradients(told, {}, {n: tf.zeros_like(v) for n, v in weights.items()}, moved)


@dataclass(frozen=True, eq=False)
class Frozen:
    """A model with a still shared part.

    Attributes:
        model: over the tables.
        weights: that do not depend on the user.
        of_profile: the user's own attributes, float32 [A'] -> the other weights.
        width: A'.
    """

    model: FrozenItems
    weights: Weights
    of_profile: Callable[[Profile], Weights]
    width: int = 0

    @cached_property
    def tensors(self) -> dict[str, Tensor]:
        """The tables as tensors, made once for all sessions."""
        import tensorflow as tf

        return {name: tf.constant(value) for name, value in self.model.constants.items()}

    def shared(self, profile: Profile | None) -> Shared:
        """Return the parameters for a user of these attributes; None: none are known."""
        row = np.zeros(self.width, np.float32) if profile is None else profile
        return Shared({}, {**self.weights, **self.of_profile(row)}, dict(self.model.constants))


def freeze(model: Any, shared: Shared) -> Frozen | None:
    """Return a model with its item side computed; None for models that have no such form.

    Args:
        model: as trained, bound to its items.
        shared: its parameters.
    """
    if type(model) is TwoTower and not (model.contrast or model.scales):
        return _two_tower(model, shared)
    if type(model) is DeepFM:
        return _deepfm(model, shared)
    if type(model) is KerasRecommender and model.model.name == "ncf" and _plain(model):
        return _ncf(model, shared)
    return None


def _plain(model: KerasRecommender) -> bool:
    """Whether it has the logistic loss, and no layer that multiplies with fewer bits."""
    return model.kind == "logistic" and not any(
        hasattr(layer, "product_dtype") for layer in model.model.layers
    )


def _layers(name: str, x: Matrix, weights: Mapping[str, NDArray]) -> Matrix:
    """Run a stack of dense layers on rows [n, a], as `run_layers` does on tiles."""
    number = 0
    while f"{name}_{number}" in weights:
        x = np.maximum(x, 0.0) if number else x
        x = x @ weights[f"{name}_{number}"] + weights[f"{name}_{number}_bias"]
        number += 1
    return x


def _width(model: Attributed) -> int:
    return model.users.width if model.users is not None else 0


def _none(dim: int) -> Weights:
    """Return weights of a model that adds nothing to the product."""
    zeros = np.zeros(dim, np.float32)
    return {"offset": zeros, "linear": zeros, "const": np.zeros(1, np.float32)}


def _two_tower(model: TwoTower, shared: Shared) -> Frozen:
    weights, size = shared.weights, len(next(iter((*shared.tables.values(),
                                                   *model.constants.values()))))  # fmt: skip
    wide = np.zeros((size, model.dim), np.float32)
    if model.id_rows:
        wide = wide + shared.tables["item"]
    if FEATURES in model.constants:
        wide = wide + _layers("item_tower", model.constants[FEATURES], weights)
    tables = {WIDE: wide.astype(np.float32), BIAS: np.zeros((size, 1), np.float32)}
    still = FrozenItems(
        model.dim, (), model.kind, model.scale, tables=tables,
        spread=model.spread,
    )  # fmt: skip

    def of_profile(profile: Profile) -> Weights:
        if not len(profile):
            return {}
        return {"offset": _layers("user_tower", profile[None], weights)[0]}

    return Frozen(still, _none(model.dim), of_profile, _width(model))


def _deepfm(model: DeepFM, shared: Shared) -> Frozen:
    """Split the fields of DeepFM into those of the item and those of the user.

    With T the sum of the item's fields and G that of the user's attributes the products of
    all pairs are ``(|T|^2 - sum |f|^2) / 2 + T (u + G) + u G + (|G|^2 - sum |g|^2) / 2``.
    """
    weights, dim, tables = shared.weights, model.dim, shared.tables
    first, item = tables["item_bias"][:, 0], [tables["item"]]
    if FEATURES in model.constants:
        x = model.constants[FEATURES]
        first = first + x @ weights[f"{FEATURES}_linear"]
        item += _fields(x, weights[f"{FEATURES}_embedding"], model.items)
    total = np.sum(item, axis=0)
    second = 0.5 * (np.square(total) - np.sum([np.square(f) for f in item], axis=0)).sum(1)
    kernel = weights["deep_0"]
    of_item = slice(dim, dim * (1 + len(item)))  # the user's own vector comes first
    deep = np.concatenate(item, axis=1) @ kernel[of_item] + weights["deep_0_bias"]
    still = FrozenItems(
        dim, model.hidden, model.kind, model.scale,
        tables={WIDE: total, BIAS: (first + second)[:, None], DEEP: deep},
    )  # fmt: skip
    rest = {n: v for n, v in weights.items() if n.startswith("deep_") and "deep_0" not in n}
    fixed = {**_none(dim), "deep_user": kernel[:dim], **_renamed(rest)}

    def of_profile(profile: Profile) -> Weights:
        if not len(profile):
            return {"deep_offset": np.zeros(kernel.shape[1], np.float32)}
        own = _fields(profile[None], weights["profile_embedding"], model.users)
        joined, summed = np.concatenate(own, axis=1)[0], np.sum(own, axis=0)[0]
        pairs = 0.5 * (np.square(summed).sum() - np.square(joined).sum())
        const = pairs + profile @ weights["profile_linear"]
        return {
            "offset": summed,
            "linear": summed,
            "const": np.array([const], np.float32),
            "deep_offset": joined @ kernel[of_item.stop :],
        }

    return Frozen(still, fixed, of_profile, _width(model))


def _fields(x: Matrix, embedding: Matrix, side: Any) -> list[Matrix]:
    """Return the embedding of each field of some rows, float32 [n, d]."""
    return [x[:, b:e] @ embedding[b:e] for b, e in side.fields.values()]


def _renamed(rest: Mapping[str, NDArray]) -> Weights:
    """Return the layers after the first under the names "rest_0", "rest_0_bias", ..."""
    found = {}
    for name, value in rest.items():
        number, bias, _ = name.removeprefix("deep_").partition("_bias")
        found[f"rest_{int(number) - 1}{bias}"] = value
    return found


def _ncf(model: KerasRecommender, shared: Shared) -> Frozen:
    weights = shared.weights
    layers = sorted({n.partition("/")[0] for n in weights} - {"head"}, key=_number)
    dim, head = model.rows["item_gmf"], weights["head/kernel"]
    stack = [(weights[f"{n}/kernel"], weights[f"{n}/bias"]) for n in layers]
    stack.append((head[dim:], weights["head/bias"]))
    kernel, bias = stack[0]
    rest: Weights = {}
    for number, (matrix, shift) in enumerate(stack[1:]):
        rest |= {f"rest_{number}": matrix, f"rest_{number}_bias": shift}
    tables = {
        WIDE: shared.tables["item_gmf"] * head[:dim, 0],
        BIAS: np.zeros((len(shared.tables["item_gmf"]), 1), np.float32),
        DEEP: shared.tables["item_mlp"] @ kernel[:dim] + bias,
    }
    still = FrozenItems(
        dim, tuple(len(v) for _, v in stack[:-1]), model.kind, model.scale,
        names=("user_gmf", "user_mlp"), tables=tables,
    )  # fmt: skip
    zeros = np.zeros(kernel.shape[1], np.float32)
    fixed = {**_none(dim), "deep_user": kernel[dim:], "deep_offset": zeros, **rest}
    return Frozen(still, fixed, lambda profile: {})


def _number(name: str) -> int:
    """Return the number of a layer "mlp_1"; a single one is called "mlp"."""
    return int(name.rpartition("_")[2]) if "_" in name else 0
