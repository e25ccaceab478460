"""`train.precision = "mixed"`: what computes in bfloat16, and what stays float32."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from fedrec.config import Config, from_flat
from fedrec.data.interactions import Catalogue
from fedrec.errors import ModelError
from fedrec.models.build import build_model
from fedrec.models.keras_adapter import KerasRecommender
from fedrec.models.mixed import MixedDense
from fedrec.training.node import init_personal, init_shared, prepare, train_node

ITEMS = Catalogue(np.array(["a", "b"], object))
NCF: dict[str, Any] = {"model.name": "ncf", "model.dim": 8, "model.mlp": "16 8"}
OWN: dict[str, Any] = {
    "model.name": "keras", "model.dim": 8, "model.source": "experiments/own_model.py:build"
}  # fmt: skip
MARKET: dict[str, Any] = {
    "data.name": "marketplace", "data.users": 40, "data.items": 60, "data.merchants": 2,
    "data.events_per_user": 20.0, "model.init": 0.3, "train.optimizer": "sgd", "train.lr": 0.05,
}  # fmt: skip


def mixed(keys: dict[str, Any]) -> Config:
    return from_flat({**keys, "train.precision": "mixed"})


def built(config: Config) -> KerasRecommender:
    model = build_model(config)
    assert isinstance(model, KerasRecommender)
    return model


def test_products_are_taken_in_bfloat16_and_all_else_in_float32() -> None:
    net = built(mixed(NCF)).model
    kinds = {layer.name: type(layer) for layer in net.layers if layer.weights}
    dense = keras.layers.Dense
    assert kinds == {"mlp_0": MixedDense, "mlp_1": MixedDense, "head": dense}
    assert {variable.dtype for variable in net.variables} == {"float32"}
    assert type(built(from_flat(NCF)).model.get_layer("mlp_0")) is dense


def test_a_layer_by_hand() -> None:
    """1 + 2^-9 is 1 in bfloat16 (8 bits), and the bias, added after the product, is not."""
    layer = MixedDense(2, activation="relu")
    layer.build((None, 2))
    near = 1 + 2.0**-9
    layer.set_weights([np.array([[near, -1], [near, 0]]), np.array([near - 1, 0.5])])
    found = layer(tf.constant([[near, 2.0], [0.0, 0.0]])).numpy()
    np.testing.assert_array_equal(found, np.array([[2 + near, 0], [near - 1, 0.5]], np.float32))
    no_bias = MixedDense(1, use_bias=False)
    no_bias.build((None, 1))
    no_bias.set_weights([np.array([[near]])])
    assert no_bias(tf.constant([[3.0]])).numpy() == 3.0


def test_gradients_of_biases_are_summed_in_float32() -> None:
    """In bfloat16 a sum of ones stands still at 256."""
    layer = MixedDense(2)
    layer.build((None, 2))
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(layer(tf.ones([1001, 2])))
    gradient = tape.gradient(total, layer.bias.value)
    assert gradient.dtype == tf.float32
    assert gradient.numpy().tolist() == [1001.0, 1001.0]


def test_both_precisions_begin_with_the_same_weights() -> None:
    ours, theirs = (built(c).init_shared(ITEMS, 0).weights for c in (mixed(NCF), from_flat(NCF)))
    assert ours.keys() == theirs.keys()
    assert all(np.array_equal(ours[n], theirs[n]) for n in ours)


def test_gradients_of_parameters_are_float32() -> None:
    model = built(mixed(NCF))
    shared, personal = model.init_shared(ITEMS, 0), model.init_personal(np.arange(1), 0)
    weights, vectors, rows = (
        {n: tf.constant(v) for n, v in group.items()}
        for group in (shared.weights, personal.values, shared.tables)
    )
    batch = {"label": tf.constant([1.0, 0.0]), "weight": tf.constant([1.0, 1.0])}
    with tf.GradientTape() as tape:
        tape.watch([weights, vectors, rows])
        loss = model.loss(weights, vectors, rows, batch)
    gradients = tf.nest.flatten(tape.gradient(loss, [weights, vectors, rows]))
    assert {g.dtype for g in gradients} == {tf.float32}
    assert loss.dtype == tf.float32
    assert model.score(weights, vectors, rows, tf.zeros([0], tf.int32)).dtype == tf.float32


@pytest.mark.parametrize("keys", [NCF, OWN])
def test_an_update_is_that_of_float32_but_for_rounding(keys: dict[str, Any]) -> None:
    changes = []
    for config in (from_flat({**MARKET, **keys}), mixed({**MARKET, **keys})):
        setup = prepare(config)
        clients = np.arange(40)
        shared, personal = init_shared(setup), init_personal(setup, clients)
        total, after = train_node(setup, shared, personal, clients, 1)
        tables = [total.tables[n].dense(60).ravel() for n in shared.tables]
        weights = [total.weights[n].ravel() for n in shared.weights]
        assert {v.dtype for v in after.values.values()} == {np.dtype(np.float32)}
        changes.append(np.concatenate([*tables, *weights]))
    exact, rounded = changes
    apart = np.linalg.norm(rounded - exact) / np.linalg.norm(exact)
    assert 1e-5 < apart < 0.1  # gradients of an untrained model cancel, its roundings do not
    # kept in more than the 8 bits of bfloat16
    coarse = tf.cast(tf.cast(rounded, tf.bfloat16), tf.float32).numpy()
    assert (coarse != rounded.astype(np.float32)).mean() > 0.5


def test_models_without_products_are_refused(tmp_path: Path) -> None:
    (tmp_path / "flat.py").write_text(
        "import keras\n"
        "from fedrec.models.keras_adapter import KerasRecommender\n"
        "from fedrec.models.mf import MatrixFactorisation\n"
        "def build(config):\n"
        "    item, user = (keras.Input((8,), name=n) for n in ('item', 'user'))\n"
        "    dot = keras.layers.Dense(1)(keras.layers.Multiply()([item, user]))\n"
        "    return KerasRecommender(keras.Model([item, user], dot), {'item': 8}, {'user': 8})\n"
        "def other(config):\n    return MatrixFactorisation(8)\n"
    )
    keys = {"model.name": "keras", "model.source": f"{tmp_path}/flat.py:build"}
    build_model(from_flat(keys))
    with pytest.raises(ModelError, match="Dense layers of several units, and the Keras model has"):
        build_model(mixed(keys))
    keys["model.source"] = f"{tmp_path}/flat.py:other"
    build_model(from_flat(keys))
    with pytest.raises(ModelError, match="KerasRecommender, not for MatrixFactorisation"):
        build_model(mixed(keys))
