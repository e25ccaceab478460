"""Models of several tasks: losses by hand, batched gradients, local heads."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from fedrec.models.multitask import MultiTask, build_multitask
from fedrec.training.pooled import Pooled
from tests.models.test_batched import SAMPLES, TILES, given
from tests.training.cohorts import relative


def bottom(**keys: Any) -> MultiTask:
    return build_multitask(3, (5, 2), scale=0.5, **keys)


def mmoe(**keys: Any) -> MultiTask:
    return build_multitask(3, (4,), experts=3, scale=0.5, **keys)


def levels() -> tf.Tensor:
    drawn = np.random.default_rng(2).integers(-1, 4, (TILES, SAMPLES))
    return tf.constant(drawn, tf.float32)


@pytest.mark.parametrize("build", [bottom, mmoe])
@pytest.mark.parametrize("local", [False, True])
def test_batched_gradients_are_those_of_keras(build: Any, local: bool) -> None:
    model = build(local_heads=local, task_weights=(0.5, 0.0, 2.0))
    data = given(model)
    data.batch["label"] = levels()
    assert model.gradients is not None
    assert Pooled(model).gradients is not None
    ours = model.gradients(data.weights, data.personal, data.rows, data.batch)
    for n in range(TILES):
        parts = data.of(n)
        with tf.GradientTape() as tape:
            tape.watch(parts[:3])
            loss = model.loss(*parts)
        exact = tape.gradient(loss, parts[:3], unconnected_gradients="zero")
        assert float(ours.losses[n]) == pytest.approx(float(loss), rel=1e-5)
        for mine, theirs in zip((ours.weights, ours.personal, ours.rows), exact, strict=True):
            assert mine.keys() == theirs.keys()
            for name, grad in theirs.items():
                assert relative(mine[name][n], grad) <= 1e-5, name


def test_the_loss_by_hand() -> None:
    """Levels: negative, view, cart, purchase, and one of which nothing further is known."""
    model = bottom(task_weights=(1.0, 2.0, 3.0))
    logit = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    weight = np.array([1.0, 1.0, 0.5, 1.0, 2.0], np.float32)
    label = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [1, 1, 1], [1, 0, 0]])
    counts = np.array([[1, 1, 1]] * 4 + [[1, 0, 0]])
    each = np.log1p(np.exp(-(2 * label - 1) * logit)) * counts * [1.0, 2.0, 3.0]
    batch = {"label": tf.constant([0.0, 1, 2, 3, -1]), "weight": tf.constant(weight)}
    loss = model._loss_of(tf.constant(logit), batch)
    assert float(loss) == pytest.approx(float(weight @ each.sum(1)), rel=1e-5)


@pytest.mark.parametrize("target", [0, 1, 2])
def test_the_target_ranks(target: int) -> None:
    model = bottom(target=("view", "cart", "purchase")[target])
    assert model._score_of(tf.constant([[1.0, 2, 3]])).numpy().tolist() == [target + 1.0]


def test_what_is_local() -> None:
    model = mmoe(local_heads=True)
    own = model.init_personal(np.arange(2), 0).values
    heads = {n for task in ("view", "cart", "purchase")
             for n in (f"head_{task}/kernel", f"head_{task}/bias", f"dot_{task}/kernel")}  # fmt: skip
    assert set(own) == {"user", *heads}
    names = {name for name, _, personal in model._variables() if not personal}
    assert len([name for name in names if name.startswith("gate")]) == 6
    assert len([name for name in names if name.startswith("expert")]) == 6


def test_a_mixture_by_plain_numpy() -> None:
    model = mmoe()
    mixture = model.model.get_layer("mixture_view")
    gate, *experts = np.random.default_rng(1).normal(size=(4, 6, 3)).astype(np.float32)
    expected = sum(gate[:, e : e + 1] * experts[e] for e in range(3))
    assert np.allclose(mixture.call([gate, *experts]), expected, atol=1e-6)


def test_the_product_goes_past_the_layers_from_the_start() -> None:
    """With the heads' layers at 0 every task is the plain product of the vectors."""
    model = bottom()
    data = given(model)
    begun = {n: v for n, v, _ in model._variables() if n.startswith("dot_")}
    assert [v.numpy().tolist() for v in begun.values()] == [[[1.0]] * 3] * 3
    still = {n: tf.zeros_like(v[0]) for n, v in data.weights.items()}
    still |= {n: tf.constant(v.numpy()) for n, v in begun.items()}
    personal, rows = ({n: v[0] for n, v in part.items()} for part in (data.personal, data.rows))
    output = model._call(still, personal, rows, training=False)
    product = (rows["item"] * personal["user"]).numpy().sum(-1)
    assert output.numpy() == pytest.approx(np.repeat(product[:, None], 3, 1), rel=1e-5)


def test_the_loss_of_a_funnel_by_hand() -> None:
    """Negatives teach the view alone, views the cart, carts the purchase."""
    model = bottom(task_weights=(1.0, 2.0, 3.0), funnel=True)
    logit = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    label = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [1, 1, 1], [1, 0, 0]])
    counts = np.array([[1, 0, 0], [1, 1, 0], [1, 1, 1], [1, 1, 1], [1, 0, 0]])
    each = np.log1p(np.exp(-(2 * label - 1) * logit)) * counts * [1.0, 2.0, 3.0]
    batch = {"label": tf.constant([0.0, 1, 2, 3, -1]), "weight": tf.ones(5)}
    loss = model._loss_of(tf.constant(logit), batch)
    assert float(loss) == pytest.approx(float(each.sum()), rel=1e-5)


@pytest.mark.parametrize(("target", "ranked"), [("view", 0), ("cart", 1), ("purchase", 2)])
def test_a_funnel_ranks_by_the_product_up_to_its_target(target: str, ranked: int) -> None:
    logit = np.array([[0.3, -1.0, 2.0], [0.1, 4.0, -3.0]], np.float32)
    expected = logit[:, 0] - np.log1p(np.exp(-logit[:, 1 : ranked + 1])).sum(1)
    found = bottom(target=target, funnel=True)._score_of(tf.constant(logit)).numpy()
    assert found == pytest.approx(expected, rel=1e-5)
