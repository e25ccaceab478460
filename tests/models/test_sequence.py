"""Sequence models: causal, blind to padding, and equal to their parts in Keras or NumPy."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from fedrec.config import from_flat
from fedrec.data.interactions import Catalogue
from fedrec.errors import ConfigError, ModelError
from fedrec.models.build import build_model
from fedrec.models.gru4rec import GRU4Rec
from fedrec.models.nextitnet import NextItNet
from fedrec.models.recommender import Gradients
from fedrec.models.sasrec import SASRec
from fedrec.models.sequence import SequenceRecommender
from fedrec.training.scoring import compile_score

L, D, I = 6, 4, 11  # noqa: E741
MODELS: dict[str, SequenceRecommender] = {
    "gru4rec": GRU4Rec(D, L, 2, layers=2),
    "sasrec": SASRec(D, L, 2, layers=2, heads=2),
    "nextitnet": NextItNet(D, L, 2, layers=2),
}
ITEMS = Catalogue(np.array([f"i{n}" for n in range(I)], object))
every_model = pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)


def weights_of(model: SequenceRecommender, windows: int = 1) -> dict[str, np.ndarray]:
    """Weights unlike those a model starts with: no zeros, each window its own."""
    generator = np.random.default_rng(0)
    return {
        name: generator.normal(0.5 if name.endswith("scale") else 0, 0.5, (windows, *shape)).astype(
            np.float32
        )
        for name, shape in sorted(model.shapes.items())
    }


def numbers(*shape: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def window(model: SequenceRecommender, windows: int, seed: int = 2) -> tuple[dict, dict]:
    """Rows [N, L, d] and a batch; the first two places of the first window are padding."""
    names = [r.name for r in model.row_inputs]
    rows = {n: numbers(windows, L, D, seed=seed + k) for k, n in enumerate(names)}
    weight = np.ones((windows, L), np.float32)
    weight[0, :2] = 0
    return rows, {"label": np.ones((windows, L), np.float32), "weight": weight}


def gradients_of(model: SequenceRecommender, weights: dict, rows: dict, batch: dict) -> Gradients:
    """The gradients of windows given as arrays."""
    parts = ({n: tf.constant(v) for n, v in part.items()} for part in (weights, rows, batch))
    weights, rows, batch = parts
    return model.gradients(weights, {}, rows, batch)


def encode(model: SequenceRecommender, items: np.ndarray, real: np.ndarray) -> np.ndarray:
    shown = items * real[..., None]
    out: np.ndarray = model.encode(weights_of(model), tf.constant(shown), tf.constant(real)).numpy()
    return out


@every_model
def test_a_later_item_never_changes_an_earlier_place(model: SequenceRecommender) -> None:
    items, real = numbers(1, L, D), np.ones((1, L), np.float32)
    before = encode(model, items, real)
    for t in range(L):
        other = items.copy()
        other[:, t:] += 1
        after = encode(model, other, real)
        assert np.allclose(after[:, :t], before[:, :t], rtol=0, atol=1e-6)
        assert np.abs(after[:, t] - before[:, t]).max() > 1e-3  # but its own place, yes


@every_model
def test_the_loss_of_a_place_has_no_gradient_at_later_inputs(model: SequenceRecommender) -> None:
    rows, batch = window(model, 1)
    for t in range(2, L):
        weight = np.zeros((1, L), np.float32)
        weight[0, 2:] = 1e-30  # real, but next to nothing
        weight[0, t] = 1
        found = gradients_of(model, weights_of(model), rows, {**batch, "weight": weight})
        of_input = np.abs(found.rows["input"].numpy()).max(-1)[0]
        assert (of_input[t + 1 :] < 1e-20).all()
        assert of_input[t] > 1e-5
        assert (of_input[:2] == 0).all()  # padding


@every_model
def test_what_stands_in_padding_does_not_matter(model: SequenceRecommender) -> None:
    rows, batch = window(model, 1)
    first = gradients_of(model, weights_of(model), rows, batch)
    other = {n: v.copy() for n, v in rows.items()}
    for value in other.values():
        value[0, :2] = 99
    second = gradients_of(model, weights_of(model), other, batch)
    assert first.losses.numpy() == pytest.approx(second.losses.numpy(), rel=1e-6)
    for name, value in first.rows.items():
        assert (value.numpy()[0, :2] == 0).all(), name
        assert np.allclose(value, second.rows[name], atol=1e-6)


@pytest.mark.parametrize("name", ["gru4rec", "nextitnet"])
def test_more_padding_gives_the_same_score(name: str) -> None:
    """Recurrence and convolution do not know how long a window is (attention counts places)."""
    model = MODELS[name]
    long = replace(model, window=L + 3)
    table, history = numbers(I, D), np.array([4, 2, 9], np.int32)
    weights = {n: v[0] for n, v in weights_of(model).items()}
    scores = []
    for one in (model, long):
        padded = np.concatenate([np.full(one.window - 3, -1, np.int32), history])
        scores.append(one.score(weights, {}, {"item": table}, padded).numpy())
    assert scores[0] == pytest.approx(scores[1], rel=1e-5, abs=1e-6)


@every_model
@pytest.mark.parametrize("kind", ["softmax", "logistic", "bpr"])
def test_gradients_of_tiles_are_those_of_the_loss(model: SequenceRecommender, kind: str) -> None:
    model = replace(model, kind=kind)
    rows, batch = window(model, 3)
    weights = weights_of(model, 3)
    found = gradients_of(model, weights, rows, batch)
    for n in range(3):
        own = {k: tf.constant(v[n]) for k, v in weights.items()}
        mine = {k: tf.constant(v[n]) for k, v in rows.items()}
        with tf.GradientTape() as tape:
            tape.watch((own, mine))
            loss = model.loss(own, {}, mine, {k: v[n] for k, v in batch.items()})
        of_weights, of_rows = tape.gradient(loss, (own, mine))
        assert found.losses[n].numpy() == pytest.approx(loss.numpy(), rel=1e-5)
        for name, grad in of_weights.items():
            assert np.allclose(found.weights[name][n], grad, rtol=1e-4, atol=1e-5), name
        for name, grad in of_rows.items():
            assert np.allclose(found.rows[name][n], grad, rtol=1e-4, atol=1e-5), name


@every_model
def test_a_window_without_real_places_teaches_nothing(model: SequenceRecommender) -> None:
    rows, batch = window(model, 1)
    empty = {**batch, "weight": np.zeros((1, L), np.float32)}
    found = gradients_of(model, weights_of(model), rows, empty)
    assert found.losses.numpy() == [0]
    for value in (*found.rows.values(), *found.weights.values()):
        assert (value.numpy() == 0).all()


class Given(SequenceRecommender):
    """Reads nothing: its hidden vectors are the inputs."""

    def encode(self, weights: Any, items: Any, real: Any) -> Any:
        return items


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        # four are drawn and two of them usable: each of these counts twice
        ("softmax", np.log(np.exp(2) + 2 * (np.exp(1) + np.exp(-1))) - 2),
        ("logistic", np.log1p(np.exp(-2)) + np.log1p(np.exp(1)) + np.log1p(np.exp(-1))),
        ("bpr", (np.log1p(np.exp(-1)) + np.log1p(np.exp(-3))) / 2),
    ],
)
def test_losses_by_hand(kind: str, expected: float) -> None:
    """The first of two places is padding; the second scores its item 2, negatives 1 and -1."""
    model = Given(1, 2, 2, kind)
    column = {"input": [5, 1], "item": [7, 2], "negative_0": [50, 1], "negative_1": [60, -1]}
    rows = {n: np.array(v, np.float32)[:, None] for n, v in column.items()}
    batch = {"weight": np.array([0, 3], np.float32)}
    assert model.loss({}, {}, rows, batch).numpy() == pytest.approx(3 * expected, rel=1e-6)


@every_model
def test_many_scores_are_those_of_each(model: SequenceRecommender) -> None:
    weights = {n: v[0] for n, v in weights_of(model).items()}
    tables = numbers(3, I, D)
    history = np.array([[-1] * L, [-1] * (L - 2) + [4, 2], [1, 2, 3, 4, 5, 6]], np.int32)
    one = [model.score(weights, {}, {"item": tables[0]}, h).numpy() for h in history]
    together = compile_score(model)(weights, {}, {"item": tables[0]}, {}, history).numpy()
    assert np.isfinite(together).all()
    assert together == pytest.approx(np.stack(one), rel=1e-5, abs=1e-5)
    each = {n: np.repeat(v[None], 3, 0) for n, v in weights.items()}
    own = compile_score(model, own_rows=True)(each, {}, {"item": tables}, {}, history).numpy()
    expected = [
        model.score(weights, {}, {"item": t}, h).numpy()
        for t, h in zip(tables, history, strict=True)
    ]
    assert own == pytest.approx(np.stack(expected), rel=1e-5, abs=1e-5)


def test_a_long_history_is_compiled_and_scored() -> None:
    model = GRU4Rec(D, 60)
    shared = model.init_shared(ITEMS, 0)
    history = np.full((2, 60), 3, np.int32)
    scores = compile_score(model)(shared.weights, {}, shared.tables, {}, history).numpy()
    assert scores.shape == (2, I)
    assert np.isfinite(scores).all()


def test_the_recurrent_layer_is_that_of_keras() -> None:
    model = GRU4Rec(D, L)
    weights = {n: v[0] for n, v in weights_of(model).items()}
    layer = keras.layers.GRU(D, return_sequences=True, reset_after=True)
    layer.build((None, L, D))

    def order(value: np.ndarray) -> np.ndarray:  # Keras has the update gate first
        reset, update, new = np.split(value, 3, -1)
        return np.concatenate([update, reset, new], -1)

    biases = np.stack([order(weights["gru_0/bias"]), order(weights["gru_0/recurrent_bias"])])
    kernels = [order(weights[f"gru_0/{part}"]) for part in ("kernel", "recurrent")]
    layer.set_weights([*kernels, biases])
    items = numbers(1, L, D)
    state = np.asarray(layer(items * np.float32(2.0)))  # the root of d = 4
    expected = state @ weights["out/kernel"] + weights["out/bias"]
    assert encode(model, items, np.ones((1, L), np.float32)) == pytest.approx(expected, abs=1e-5)


def test_convolutions_are_those_of_keras() -> None:
    model = NextItNet(D, L, layers=2)
    weights = {n: v[0] for n, v in weights_of(model).items()}
    items = numbers(1, L, D)
    x = items * np.float32(2.0)

    def convolution(given: np.ndarray, n: int) -> np.ndarray:
        layer = keras.layers.Conv1D(D, 3, padding="causal", dilation_rate=2**n)
        layer.build((None, L, D))
        layer.set_weights([weights[f"conv_{n}/kernel"].reshape(3, D, D), weights[f"conv_{n}/bias"]])
        norm = keras.layers.LayerNormalization(epsilon=1e-6)
        norm.build((None, L, D))
        norm.set_weights([weights[f"conv_{n}/scale"], weights[f"conv_{n}/shift"]])
        return np.maximum(np.asarray(norm(layer(given))), 0)

    for block in range(2):
        x = x + convolution(convolution(x, 2 * block), 2 * block + 1)
    expected = x @ weights["out/kernel"] + weights["out/bias"]
    assert encode(model, items, np.ones((1, L), np.float32)) == pytest.approx(expected, abs=1e-4)


def layer_norm(x: np.ndarray, scale: np.ndarray, shift: np.ndarray) -> np.ndarray:
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(
        x.var(-1, keepdims=True) + 1e-6
    ) * scale + shift


def test_attention_in_numpy_over_real_items_only() -> None:
    """Place by place, with nothing in sight but the real items up to it."""
    model = SASRec(D, L, layers=1, heads=2)
    w = {n: v[0].astype(np.float64) for n, v in weights_of(model).items()}
    items, real = numbers(1, L, D), np.array([[0, 0, 1, 1, 1, 1]], np.float32)
    ours = encode(model, items, real)
    x = items[0].astype(np.float64) * 2 + w["position"]
    b = "block_0/"
    for t in range(2, L):
        seen = x[2 : t + 1]
        query = layer_norm(x[t], w[b + "attention_norm/scale"], w[b + "attention_norm/shift"])
        q, k, v = query @ w[b + "query"], seen @ w[b + "key"], seen @ w[b + "value"]
        parts = []
        for h in (slice(0, 2), slice(2, 4)):
            weight = np.exp(k[:, h] @ q[h] / np.sqrt(2))
            parts.append(weight / weight.sum() @ v[:, h])
        y = x[t] + np.concatenate(parts)
        inner = layer_norm(y, w[b + "dense_norm/scale"], w[b + "dense_norm/shift"])
        inner = np.maximum(inner @ w[b + "kernel_1"] + w[b + "bias_1"], 0)
        y = y + inner @ w[b + "kernel_2"] + w[b + "bias_2"]
        expected = layer_norm(y, w["last/scale"], w["last/shift"])
        assert ours[0, t] == pytest.approx(expected, rel=1e-3, abs=1e-4)


@pytest.mark.parametrize("name", MODELS)
def test_built_as_the_configuration_says(name: str) -> None:
    keys = {"model.name": name, "train.method": "fedavg", "model.loss": "softmax",
            "model.dim": 6, "model.history": 9, "train.negatives": 3, "model.layers": 2,
            "model.init": 0.2, "model.heads": 3}  # fmt: skip
    model = build_model(from_flat(keys))
    common = (6, 9, 3, "softmax", 0.2, 2)
    expected = SASRec(*common, 3) if name == "sasrec" else type(MODELS[name])(*common)
    assert model == expected
    assert [r.field for r in model.row_inputs] == [
        "input", "item", "negative_0", "negative_1", "negative_2"
    ]  # fmt: skip
    shared = model.init_shared(ITEMS, 0)
    assert {n: v.shape for n, v in shared.weights.items()} == model.shapes
    assert shared.tables["item"].shape == (I, 6)
    assert model.init_personal(np.arange(3), 0).values == {}
    again, other = model.init_shared(ITEMS, 0), model.init_shared(ITEMS, 1)
    for weight, value in shared.weights.items():
        assert (value == again.weights[weight]).all()
        assert value.ndim == 1 or (value != other.weights[weight]).any()
        if value.ndim == 1:
            assert (value == (1 if weight.endswith("scale") else 0)).all()


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"model.history": 1}, "model.history"),
        ({"data.feedback": "explicit", "model.loss": "squared"}, "predicts the next item"),
        ({"model.loss": "squared"}, "model.loss = 'softmax', 'logistic' or 'bpr'"),
        (
            {"train.method": "alternating"},
            "train.method = 'fedavg' or 'fedprox', not 'alternating'",
        ),
        ({"model.dim": 5, "model.heads": 2}, "not a multiple of model.heads = 2"),
        ({"model.name": "ncf", "model.loss": "softmax"}, "'softmax' is for sequence models"),
        ({"train.negatives": 0}, "train.negatives of at least 1"),
    ],
)
def test_what_does_not_fit_is_refused(keys: dict[str, Any], message: str) -> None:
    base = {"model.name": "sasrec", "model.loss": "softmax", "train.method": "fedavg"}
    with pytest.raises(ConfigError, match=message):
        from_flat({**base, **keys})


def test_mixed_precision_is_refused() -> None:
    keys = {"model.name": "sasrec", "train.method": "fedavg", "train.precision": "mixed"}
    with pytest.raises(ModelError, match="not for SASRec: set train.precision = 'float32'"):
        build_model(from_flat(keys))


def contrast_by_hand(first: np.ndarray, second: np.ndarray, heat: float) -> np.ndarray:
    """InfoNCE of the places of one window [L], states [L, d] of two views."""
    unit = [s / np.linalg.norm(s, axis=1, keepdims=True) for s in (first, second)]
    near = np.exp(unit[0] @ unit[1].T / heat)
    told: np.ndarray = -0.5 * (
        np.log(np.diag(near) / near.sum(1)) + np.log(np.diag(near) / near.sum(0))
    )
    return told


@every_model
def test_the_contrast_of_two_views_by_hand(model: SequenceRecommender) -> None:
    rows, batch = window(model, 1)
    batch = {**batch, "label": np.array([[4, 4, 1, 2, 3, 4]], np.float32)}
    views = replace(model, contrast=0.7, temperature=0.4)
    weights, real = weights_of(model), (batch["weight"] > 0).astype(np.float32)
    masks = np.array([[[1, 1, 1, 0, 1, 0]], [[1, 1, 1, 1, 0, 0]]], np.float32)
    first, second = (encode(model, rows["input"] * m[..., None], real)[0, 2:] for m in masks)
    without = gradients_of(model, weights, rows, batch)
    found = gradients_of(views, weights, rows, batch)
    expected = 0.7 * contrast_by_hand(first, second, 0.4).sum()
    assert expected > 0.1
    assert (found.losses - without.losses).numpy() == pytest.approx([expected], rel=1e-4)
    assert (found.rows["input"].numpy()[0, :2] == 0).all()  # padding
    assert np.isfinite(found.rows["input"].numpy()).all()
    alone = {n: tf.constant(v[0]) for n, v in rows.items()}
    flat = {n: tf.constant(v[0]) for n, v in batch.items()}
    own = {n: tf.constant(v[0]) for n, v in weights.items()}
    assert views.loss(own, {}, alone, flat).numpy() == pytest.approx(found.losses.numpy()[0], 1e-5)


def test_windows_are_contrasted_each_for_itself() -> None:
    model = replace(MODELS["gru4rec"], contrast=1.0)
    rows, batch = window(model, 2)
    batch = {**batch, "label": np.random.default_rng(5).integers(1, 5, (2, L)).astype(np.float32)}
    both = gradients_of(model, weights_of(model, 2), rows, batch)
    second = [{n: v[1:] for n, v in part.items()} for part in (weights_of(model, 2), rows, batch)]
    alone = gradients_of(model, *second)
    assert both.losses.numpy()[1] == pytest.approx(alone.losses.numpy()[0], rel=1e-5)
    assert np.allclose(both.rows["input"][1], alone.rows["input"][0], atol=1e-5)


def test_other_models_have_no_views() -> None:
    with pytest.raises(ConfigError, match="model.contrast = 0.1 compares views of a sequence"):
        from_flat({"model.contrast": 0.1})
    config = from_flat({"model.name": "sasrec", "model.loss": "softmax", "model.contrast": 0.1,
                        "train.method": "fedavg", "model.contrast_temperature": 0.2})  # fmt: skip
    built: Any = build_model(config)
    assert (built.contrast, built.temperature, built.heads) == (0.1, 0.2, 1)
