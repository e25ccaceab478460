"""Networks in batched products against Keras, one tile at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from fedrec.models.batched import read_network
from fedrec.models.keras_adapter import KerasRecommender
from fedrec.models.mixed import in_mixed_precision
from fedrec.models.ncf import build_ncf
from fedrec.models.recommender import Gradients
from fedrec.training.pooled import PREFIX, Pooled
from tests.training.cohorts import relative

TILES, SAMPLES = 3, 4


def inputs() -> tuple[Any, Any]:
    return keras.Input((3,), name="item"), keras.Input((2,), name="user")


def deep() -> KerasRecommender:
    """A personal layer, and a layer for the user alone."""
    item, user = inputs()
    own = keras.layers.Dense(4, activation="tanh", name="own")(user)
    x = keras.layers.Concatenate()([own, item, user])
    x = keras.layers.Activation("relu")(keras.layers.Dense(5, use_bias=False)(x))
    model = keras.Model({"user": user, "item": item}, keras.layers.Dense(1, name="head")(x))
    return KerasRecommender(model, {"item": 3}, {"user": 2}, ("own",), scale=0.5)


def product() -> KerasRecommender:
    """Ratings from a product and a sum, given as a list of inputs."""
    item, user = inputs()
    both = keras.layers.Multiply()([item, keras.layers.Dense(3, name="wide")(user)])
    both = keras.layers.Add()([both, item])
    model = keras.Model([item, user], keras.layers.Dense(1, name="head")(both))
    return KerasRecommender(model, {"item": 3}, {"user": 2}, kind="squared")


def ncf() -> KerasRecommender:
    return build_ncf(3, (5, 2), scale=0.5)


BUILDERS = (deep, product, ncf)


@dataclass(frozen=True, eq=False)
class Given:
    weights: dict[str, Any]
    personal: dict[str, Any]
    rows: dict[str, Any]
    batch: dict[str, Any]

    def of(self, n: int) -> list[dict[str, Any]]:
        parts = (self.weights, self.personal, self.rows, self.batch)
        return [{name: value[n] for name, value in part.items()} for part in parts]


def given(model: KerasRecommender, samples: int = SAMPLES) -> Given:
    generator = np.random.default_rng(0)

    def normal(*shape: int) -> Any:
        return tf.constant(generator.normal(size=shape), tf.float32)

    weights = {n: normal(TILES, *v.shape) for n, v, own in model._variables() if not own}
    personal = {n: normal(TILES, 1, w) for n, w in model.personal.items()}
    personal |= {n: normal(TILES, 1, *v.shape) for n, v, own in model._variables() if own}
    rows = {n: normal(TILES, samples, w) for n, w in model.rows.items()}
    batch = {"label": tf.cast(normal(TILES, samples) > 0, tf.float32),
             "weight": tf.abs(normal(TILES, samples))}  # fmt: skip
    return Given(weights, personal, rows, batch)


def mixed() -> KerasRecommender:
    return in_mixed_precision(ncf())


@pytest.mark.parametrize("build", [*BUILDERS, mixed])
def test_gradients_of_tiles_are_those_of_keras(build: Any) -> None:
    model = build()
    data = given(model)
    bound = 2e-2 if build is mixed else 1e-5  # parts of a product are rounded by themselves
    assert model.gradients is not None
    ours: Gradients = model.gradients(data.weights, data.personal, data.rows, data.batch)
    for n in range(TILES):
        weights, personal, rows, batch = data.of(n)
        with tf.GradientTape() as tape:
            tape.watch((weights, personal, rows))
            loss = model.loss(weights, personal, rows, batch)
        exact = tape.gradient(loss, (weights, personal, rows), unconnected_gradients="zero")
        assert ours.losses[n].numpy() == pytest.approx(loss.numpy(), rel=bound)
        for mine, theirs in zip((ours.weights, ours.personal, ours.rows), exact, strict=True):
            assert mine.keys() == theirs.keys()
            for name, grad in theirs.items():
                assert relative(mine[name][n], grad) <= bound, name


@pytest.mark.parametrize("build", BUILDERS)
def test_pooled_gradients_have_a_vector_for_each_sample(build: Any) -> None:
    model = build()
    data = given(model)
    pooled = Pooled(model)
    generator = np.random.default_rng(1)
    vectors = {
        PREFIX + n: tf.constant(generator.normal(size=(TILES, SAMPLES, w)), tf.float32)
        for n, w in model.personal.items()
    }
    heads = {n: v for n, v in data.personal.items() if n not in model.personal}
    rows = {**data.rows, **vectors}
    assert pooled.gradients is not None
    ours = pooled.gradients(data.weights, heads, rows, data.batch)
    part = Given(data.weights, heads, rows, data.batch).of(1)
    with tf.GradientTape() as tape:
        tape.watch(part[2])
        loss = pooled.loss(*part)
    assert ours.losses[1].numpy() == pytest.approx(loss.numpy(), rel=1e-5)
    for name, grad in tape.gradient(loss, part[2]).items():
        assert relative(ours.rows[name][1], grad) <= 1e-5, name


def test_other_layers_take_the_general_way() -> None:
    """Uncommon layers, layers used twice, other axes, and subclasses of common ones."""

    class Own(keras.layers.Dense):
        pass

    def with_(*layers: Any) -> keras.Model:
        item, user = inputs()
        x = keras.layers.Concatenate()([item, user])
        for layer in layers:
            x = layer(x)
        return keras.Model({"item": item, "user": user}, keras.layers.Dense(1)(x))

    assert read_network(with_(keras.layers.Dense(2))) is not None
    twice = keras.layers.Dense(5)
    for layers in ((keras.layers.LayerNormalization(),), (Own(3),), (twice, twice)):
        assert read_network(with_(*layers)) is None
    model = KerasRecommender(with_(keras.layers.LayerNormalization()), {"item": 3}, {"user": 2})
    assert model.gradients is None
