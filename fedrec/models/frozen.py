"""Models whose shared part stands still, with all that follows from it computed once.

On a device, and in every phase in which only personal parameters move, what items bring into
a score is the same for every event, step and list: the vectors of an item tower, the first-
and second-order terms of a factorisation machine, and the items' part of a network's first
layer, whose matrix falls apart into rows of the user and rows of the item,
``[x_u x_i] W = x_u W_u + x_i W_i``.  Two towers, DeepFM and NCF become one small model over
these tables, with the same loss, starts and scores; it is trained by the same function as any
other (`train_cohort`).  What follows from a user's own attributes is a personal value, too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from fedrec.models.attributed import FEATURES, PROFILE, Attributed, run_layers, run_rows
from fedrec.models.deepfm import DeepFM, fields_of, summed
from fedrec.models.features import Features
from fedrec.models.keras_adapter import KerasRecommender
from fedrec.models.mf import dot
from fedrec.models.recommender import Gradients, RowInput, Tensor, Tensors
from fedrec.models.two_tower import TwoTower

WIDE, DEEP, BIAS = "wide", "deep", "bias"
OFFSET, LINEAR, CONST, DEEP_OFFSET = "offset", "linear", "const", "deep_offset"


@dataclass(frozen=True, eq=False)
class FrozenItems(Attributed):
    """``bias_i + wide_i (u + offset) + linear u + const + net(deep_i + v W + deep_offset)``.

    Attributes:
        names: of the personal vectors u and v, which may be one.
        tables: of the items: "wide" [I, d], perhaps "bias" [I, 1] and "deep" [I, h].
        of_profile: width of what follows from a user's attributes, each a personal value
            that never moves: some of "offset", "linear", "const", "deep_offset".  A value
            that is none of these may be a weight, the same for all users.
        spread: as `TwoTower.spread`.
        moving: whether tables, weights and what follows from attributes have gradients: what
            is pulled back to the model itself (`fedrec.training.pulled`).
    """

    names: tuple[str, str] = ("user", "user")
    tables: tuple[str, ...] = (WIDE,)
    of_profile: tuple[tuple[str, int], ...] = ()
    spread: float = 1.0
    moving: bool = False

    @property
    def spreading(self) -> float:
        """See `Attributed`."""
        return self.spread

    @property
    def read_names(self) -> tuple[str, ...]:
        """The tables."""
        return self.tables

    @property
    def row_inputs(self) -> tuple[RowInput, ...]:
        """The tables, of which none is trained, unless the form moves."""
        prefixes = {"": "item", **({"negative_": "negative"} if self.pairwise else {})}
        return tuple(
            RowInput(prefix + table, table, where, fixed=not self.moving)
            for prefix, where in prefixes.items()
            for table in self.tables
        )

    @property
    def personal_fixed(self) -> tuple[str, ...]:
        """What follows from the user's attributes."""
        return () if self.moving else tuple(name for name, _ in self.of_profile)

    @property
    def personal_vectors(self) -> Mapping[str, int]:
        """The user's vectors, and what follows from the attributes."""
        return {**self.vectors(), **dict(self.of_profile)}

    def item_tables(self) -> Mapping[str, int]:
        """None is trained."""
        return {}

    def vectors(self) -> Mapping[str, int]:
        """The user's vectors, numbered as in the model that was trained."""
        return dict.fromkeys(self.names, self.dim)

    def logits(self, weights: Tensors, personal: Tensors, rows: Tensors) -> Tensor:
        """See `Attributed.logits`."""
        import tensorflow as tf

        def given(name: str) -> Tensor | None:
            if name in personal:
                return personal[name]
            return weights[name][:, None] if name in weights else None

        user, own = personal[self.names[0]], personal[self.names[1]]
        offset, linear, const = given(OFFSET), given(LINEAR), given(CONST)
        found = dot(rows[WIDE], user if offset is None else user + offset)
        found = found + rows[BIAS][..., 0] if BIAS in rows else found
        if linear is not None:
            found += tf.reduce_sum(user * linear, -1)
        if const is not None:
            found += const[..., 0]
        if DEEP not in rows:
            return found
        first, shift = tf.linalg.matmul(own, weights["deep_user"]), given(DEEP_OFFSET)
        layer = rows[DEEP] + (first if shift is None else first + shift)
        if "rest_0" in weights:
            layer = run_layers("rest", tf.nn.relu(layer), weights)
        return found + layer[..., 0]

    def gradients(
        self, weights: Tensors, personal: Tensors, rows: Tensors, batch: Tensors
    ) -> Gradients:
        """The tape's losses and gradients: of the user's vectors alone, unless the form moves."""
        import tensorflow as tf

        if self.moving:
            return super().gradients(weights, personal, rows, batch)

        own = {n: personal[n] for n in self.vectors()}
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(own)
            told = self._losses(weights, {**personal, **own}, rows, batch)
            total = tf.reduce_sum(told)
        moved = tape.gradient(total, own, unconnected_gradients="zero")
        still = {n: tf.zeros_like(personal[n]) for n in self.personal_fixed}
        return Gradients(told, {}, {n: tf.zeros_like(v) for n, v in weights.items()},
                         {**moved, **still})  # fmt: skip


Make = Callable[[Tensors, Tensors], Tensors]


@dataclass(frozen=True, eq=False)
class Form:
    """What a model is while its shared part stands still.

    Attributes:
        model: over tables of the items.
        of_items: (item tables and features [I, ...], weights) -> those tables.
        weights: weights -> those of the form, the same for all users.
        of_profile: (attributes of n users [n, A'], weights) -> values [n, ...] of
            `FrozenItems.of_profile`.
        width: A'; 0 without attributes.
    """

    model: FrozenItems
    of_items: Make
    weights: Callable[[Tensors], Tensors]
    of_profile: Callable[[Tensor, Tensors], Tensors]
    width: int = 0

    @cached_property
    def moving(self) -> FrozenItems:
        """The model with gradients of all it is made of; always the same, compiled once."""
        return replace(self.model, moving=True)


@lru_cache(maxsize=64)
def form_of(model: Any) -> Form | None:
    """Return the form of a model, the same for each call; None for models that have none.

    Args:
        model: bound to its items and users.
    """
    if type(model) is TwoTower and not (model.contrast or model.scales):
        return _two_tower(model)
    if type(model) is DeepFM:
        return _deepfm(model)
    if type(model) is KerasRecommender and model.model.name == "ncf" and _plain(model):
        return _ncf(model)
    return None


def _plain(model: KerasRecommender) -> bool:
    """Whether its loss is logistic, no layer is personal or multiplies with fewer bits."""
    return (
        model.kind == "logistic"
        and not model.personal_layers
        and not any(hasattr(layer, "product_dtype") for layer in model.model.layers)
    )


def _width(model: Attributed) -> int:
    return model.users.width if model.users is not None else 0


def _two_tower(model: TwoTower) -> Form:
    featured, width = FEATURES in model.constants, _width(model)
    still = FrozenItems(
        model.dim, (), model.kind, model.scale,
        of_profile=((OFFSET, model.dim),) if width else (),
        spread=model.spread,
    )  # fmt: skip

    def of_items(tables: Tensors, weights: Tensors) -> Tensors:
        parts = [tables["item"]] if model.id_rows else []
        parts += [run_rows("item_tower", tables[FEATURES], weights)] if featured else []
        return {WIDE: sum(parts[1:], start=parts[0])}

    def of_profile(profile: Tensor, weights: Tensors) -> Tensors:
        return {OFFSET: run_rows("user_tower", profile, weights)}

    return Form(still, of_items, lambda weights: {}, of_profile, width)


def _deepfm(model: DeepFM) -> Form:
    """Split the fields of DeepFM into those of the item and those of the user.

    With T the sum of the item's fields and G that of the user's attributes the products of
    all pairs are ``(|T|^2 - sum |f|^2) / 2 + T (u + G) + u G + (|G|^2 - sum |g|^2) / 2``.
    """
    dim, width = model.dim, _width(model)
    count = 1 + (len(model.items.fields) if model.items is not None else 0)
    of_item = slice(dim, dim * (1 + count))  # the user's own vector comes first
    layer = (*model.hidden, 1)[0]
    own = ((OFFSET, dim), (LINEAR, dim), (CONST, 1), (DEEP_OFFSET, layer))
    still = FrozenItems(
        dim, model.hidden, model.kind, model.scale,
        tables=(WIDE, BIAS, DEEP), of_profile=own if width else (),
    )  # fmt: skip

    def of_items(tables: Tensors, weights: Tensors) -> Tensors:
        import tensorflow as tf

        first, fields = tables["item_bias"], [tables["item"]]
        if FEATURES in model.constants and model.items is not None:
            x = tables[FEATURES]
            first += tf.linalg.matmul(x, weights[f"{FEATURES}_linear"][:, None])
            fields += fields_of(x, weights[f"{FEATURES}_embedding"], model.items)
        total, pairs = summed(fields)
        deep = tf.linalg.matmul(tf.concat(fields, -1), weights["deep_0"][of_item])
        return {WIDE: total, BIAS: first + pairs, DEEP: deep + weights["deep_0_bias"]}

    def of_profile(profile: Tensor, weights: Tensors) -> Tensors:
        import tensorflow as tf

        side = model.users or Features(np.zeros((0, 0), np.float32), {})
        fields = fields_of(profile, weights[f"{PROFILE}_embedding"], side)
        total, pairs = summed(fields)
        const = pairs + tf.linalg.matmul(profile, weights[f"{PROFILE}_linear"][:, None])
        deep = tf.linalg.matmul(tf.concat(fields, -1), weights["deep_0"][of_item.stop :])
        return {OFFSET: total, LINEAR: total, CONST: const, DEEP_OFFSET: deep}

    def of_all(weights: Tensors) -> Tensors:
        rest = {n: v for n, v in weights.items() if n.startswith("deep_") and "deep_0" not in n}
        return {"deep_user": weights["deep_0"][:dim], **_renamed(rest)}

    return Form(still, of_items, of_all, of_profile, width)


def _renamed(rest: Tensors) -> Tensors:
    """Return the layers after the first under the names "rest_0", "rest_0_bias", ..."""
    found = {}
    for name, value in rest.items():
        number, bias, _ = name.removeprefix("deep_").partition("_bias")
        found[f"rest_{int(number) - 1}{bias}"] = value
    return found


def _ncf(model: KerasRecommender) -> Form:
    dim = model.rows["item_gmf"]
    hidden = tuple(layer.units for layer in model.model.layers if layer.name.startswith("mlp_"))
    still = FrozenItems(
        dim, hidden, model.kind, model.scale,
        names=("user_gmf", "user_mlp"), tables=(WIDE, DEEP),
    )  # fmt: skip

    def stack(weights: Tensors) -> list[tuple[Tensor, Tensor]]:
        layers = sorted({n.partition("/")[0] for n in weights} - {"head"}, key=_number)
        found = [(weights[f"{n}/kernel"], weights[f"{n}/bias"]) for n in layers]
        return [*found, (weights["head/kernel"][dim:], weights["head/bias"])]

    def of_items(tables: Tensors, weights: Tensors) -> Tensors:
        import tensorflow as tf

        kernel, bias = stack(weights)[0]
        deep = tf.linalg.matmul(tables["item_mlp"], kernel[:dim]) + bias
        return {WIDE: tables["item_gmf"] * weights["head/kernel"][:dim, 0], DEEP: deep}

    def of_all(weights: Tensors) -> Tensors:
        (kernel, _), *rest = stack(weights)
        found = {"deep_user": kernel[dim:]}
        for number, (matrix, shift) in enumerate(rest):
            found |= {f"rest_{number}": matrix, f"rest_{number}_bias": shift}
        return found

    return Form(still, of_items, of_all, lambda profile, weights: {})


def _number(name: str) -> int:
    """Return the number of a layer "mlp_1"; a single one is called "mlp"."""
    return int(name.rpartition("_")[2]) if "_" in name else 0
