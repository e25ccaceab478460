from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from fedrec.data.interactions import Catalogue
from fedrec.errors import ModelError
from fedrec.models.keras_adapter import KerasRecommender, stable_names
from fedrec.models.ncf import build_ncf

ITEMS = Catalogue(np.array(["a", "b", "c"], object))


def network(*middle: keras.Layer, units: int = 1, as_list: bool = False) -> keras.Model:
    item, user = keras.Input((3,), name="item"), keras.Input((2,), name="user")
    x = keras.layers.Concatenate()([item, user])
    for layer in middle:
        x = layer(x)
    inputs: Any = [item, user] if as_list else {"item": item, "user": user}
    return keras.Model(inputs, keras.layers.Dense(units, name="head")(x))


def wrap(model: keras.Model, **keys: Any) -> KerasRecommender:
    return KerasRecommender(model, **{"rows": {"item": 3}, "personal": {"user": 2}, **keys})


def test_what_is_shared_and_what_is_personal() -> None:
    model = wrap(network(keras.layers.Dense(4, name="own")), personal_layers=("own",))
    shared, personal = model.init_shared(ITEMS, 0), model.init_personal(np.arange(5), 0)
    assert {n: v.shape for n, v in shared.tables.items()} == {"item": (3, 3)}
    assert {n: v.shape for n, v in shared.weights.items()} == {
        "head/kernel": (4, 1),
        "head/bias": (1,),
    }
    assert {n: v.shape for n, v in personal.values.items()} == {
        "user": (5, 2),
        "own/kernel": (5, 5, 4),
        "own/bias": (5, 4),
    }
    assert model.personal_vectors == {"user": 2}
    assert not model.pairwise


@pytest.mark.parametrize("as_list", [False, True])
@pytest.mark.parametrize("kind", ["logistic", "squared"])
def test_loss_and_score_by_plain_numpy(
    as_list: bool, kind: str, recwarn: pytest.WarningsRecorder
) -> None:
    model = wrap(network(as_list=as_list), kind=kind)
    shared, personal = model.init_shared(ITEMS, 0), model.init_personal(np.arange(1), 0)
    kernel, bias = shared.weights["head/kernel"][:, 0], shared.weights["head/bias"][0]
    items = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    both = np.concatenate([items, np.repeat(personal.values["user"], 4, 0)], 1)
    logit = both @ kernel + bias
    label, weight = np.array([1.0, 0, 0, 1]), np.array([1.0, 2, 0, 1])
    tensors = [{n: tf.constant(v) for n, v in d.items()}
               for d in (shared.weights, personal.values)]  # fmt: skip
    batch = {"label": tf.constant(label, tf.float32), "weight": tf.constant(weight, tf.float32)}
    loss = model.loss(*tensors, {"item": tf.constant(items)}, batch)
    one = (
        (logit - label) ** 2 / 2
        if kind == "squared"
        else np.log1p(np.exp(-(2 * label - 1) * logit))
    )
    assert float(loss) == pytest.approx(float(weight @ one), rel=1e-5)
    score = model.score(*tensors, {"item": tf.constant(items)}, tf.zeros((0,), tf.int32))
    assert score.numpy() == pytest.approx(logit, rel=1e-5)
    assert not [w for w in recwarn if "structure" in str(w.message)]


def test_scoring_is_not_training() -> None:
    """Noise without a state of its own (here of the whole process) is off in scoring."""

    class Doubled(keras.layers.Layer):
        def call(self, x: Any, training: bool = False) -> Any:
            return 2.0 * x if training else x

    model = wrap(network(Doubled()))
    weights = {n: tf.constant(v) for n, v in model.init_shared(ITEMS, 0).weights.items()}
    weights["head/bias"] = tf.zeros(1)
    own = {"user": tf.ones((1, 2))}
    rows = {"item": tf.ones((1, 3))}
    score = float(model.score(weights, own, rows, tf.zeros((0,), tf.int32))[0])
    batch = {"label": tf.constant([0.0]), "weight": tf.constant([1.0])}
    loss = float(model.loss(weights, own, rows, batch))
    assert loss == pytest.approx(np.log1p(np.exp(2 * score)), rel=1e-5)


class Subclassed(keras.Model):
    pass


BAD: dict[str, tuple[Any, dict[str, Any], str]] = {
    "no such input": (network, {"rows": {"itme": 3}}, "no input 'itme'. Did you mean 'item'"),
    "no such personal input": (network, {"personal": {"usr": 2}}, "no input 'usr'. Did you mean"),
    "forgotten input": (
        network,
        {"personal": {}},
        r"\['user'\] .* neither in rows nor in personal",
    ),
    "both": (network, {"personal": {"user": 2, "item": 3}}, r"\['item'\] .* both in rows and in"),
    "width": (network, {"rows": {"item": 5}}, r"'item' .* shape \(3,\) where its width .* be 5"),
    "no rows": (
        network,
        {"rows": {}, "personal": {"item": 3, "user": 2}},
        "needs at least one input in rows",
    ),
    "no such layer": (
        network,
        {"personal_layers": ("heda",)},
        "no layer 'heda'. Did you mean 'head'",
    ),
    "two outputs": (lambda: network(units=2), {}, r"gives \[\(None, 2\)\]; expected one output"),
    "moving state": (
        lambda: network(keras.layers.BatchNormalization(name="norm")),
        {},
        r"non-trainable variables \(norm/moving_mean\); layers with a moving state",
    ),
    "dropout": (lambda: network(keras.layers.Dropout(0.5)), {}, "seeded Dropout, cannot be fed"),
    "kind": (network, {"kind": "bpr"}, "kind = 'bpr': a Keras model is trained with"),
    "subclassed": (Subclassed, {}, "has no inputs; build it with the functional interface"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_model_that_does_not_fit_is_refused(name: str) -> None:
    build, keys, message = BAD[name]
    with pytest.raises(ModelError, match=message):
        wrap(build(), **keys)


def test_names_of_weights_do_not_depend_on_what_was_built_before() -> None:
    def names() -> list[str]:
        layers = (keras.layers.Dense(4), keras.layers.Dense(4), keras.layers.LayerNormalization())
        return sorted(wrap(network(*layers)).init_shared(ITEMS, 0).weights)

    first = names()
    keras.layers.Dense(1)  # moves Keras's own counter
    assert names() == first
    assert "dense_0/kernel" in first
    assert "dense_1/kernel" in first
    assert "layer_normalization/gamma" in first
    assert "head/bias" in first


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        (["dense_7/kernel", "dense_7/bias"], ["dense/kernel", "dense/bias"]),
        (["dense/kernel", "dense_1/kernel"], ["dense_0/kernel", "dense_1/kernel"]),
        (["dense_9/kernel", "dense_10/kernel"], ["dense_0/kernel", "dense_1/kernel"]),
        (["mlp_0/kernel", "head/kernel"], ["mlp/kernel", "head/kernel"]),
        (["a_3/b_2/kernel", "a_3/b_5/kernel"], ["a/b_0/kernel", "a/b_1/kernel"]),
        (["scale"], ["scale"]),
    ],
)
def test_stable_names(paths: list[str], expected: list[str]) -> None:
    assert stable_names(paths) == expected


def test_ncf_has_two_pairs_of_embeddings_and_a_network() -> None:
    model = build_ncf(4, (8, 2), "squared", 0.1)
    shared = model.init_shared(ITEMS, 0)
    assert {n: v.shape for n, v in shared.tables.items()} == {
        "item_gmf": (3, 4),
        "item_mlp": (3, 4),
    }
    assert (shared.tables["item_gmf"] != shared.tables["item_mlp"]).all()
    assert {n: v.shape for n, v in shared.weights.items()} == {
        "mlp_0/kernel": (8, 8),
        "mlp_0/bias": (8,),
        "mlp_1/kernel": (8, 2),
        "mlp_1/bias": (2,),
        "head/kernel": (4 + 2, 1),
        "head/bias": (1,),
    }
    assert model.personal_vectors == {"user_gmf": 4, "user_mlp": 4}
    assert (model.kind, model.scale) == ("squared", 0.1)
