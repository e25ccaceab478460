"""Scales of numbers of items, and merchants that keep their own (a price scale)."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from fedrec.config import Config
from fedrec.engine.run_engine import execute
from fedrec.errors import ConfigError, ModelError
from fedrec.models.attributed import FEATURES
from fedrec.models.features import Features
from fedrec.models.two_tower import TwoTower
from fedrec.storage import RunDirectory, read_arrays
from fedrec.training.node import prepare

Make = Callable[..., Config]
KEYS: dict[str, Any] = {
    "model__name": "two-tower", "model__item_attributes": "price department", "model__scales": "price",
    "train__personal_lr": 1.0, "train__reduction": "mean", "train__lr": 1.0,
    "server__weight_optimizer": "sgd", "server__weight_lr": 1.0,
}  # fmt: skip
MERCHANTS = {"clients__unit": "merchant", "data__merchants": 4, "model__local_layers": "scale_*"}


def logit(scale: float) -> float:
    """Of one item of price 3 and colour 5, through a tower of one layer."""
    items = Features(np.array([[3.0, 5.0]], np.float32), {"price": (0, 1), "colour": (1, 2)})
    model = TwoTower(1, (), id_rows=False, items=items, scales=("price",))
    assert model.shapes()["scale_price"] == (1,)
    weights = {
        "item_tower_0": tf.constant([[[2.0], [0.1]]]),
        "item_tower_0_bias": tf.constant([[0.25]]),
        "scale_price": tf.constant([[scale]]),
    }
    user = {"user": tf.constant([[[10.0]]])}
    found = model.logits(weights, user, {FEATURES: tf.constant(items.values[None])})
    return float(found[0, 0])


def test_the_number_is_scaled_and_nothing_else() -> None:
    assert logit(0.0) == pytest.approx(10 * (3 * 2 + 0.5 + 0.25))
    assert logit(0.5) == pytest.approx(10 * (4.5 * 2 + 0.5 + 0.25))
    assert logit(-1.0) == pytest.approx(10 * (0.5 + 0.25))


def test_it_starts_as_the_model_without(small_run: Make) -> None:
    plain = prepare(small_run(**{**KEYS, "model__scales": ""})).model
    scaled = prepare(small_run(**KEYS)).model
    assert set(scaled.shapes()) - set(plain.shapes()) == {"scale_price"}
    items = prepare(small_run(**KEYS)).population.split.dataset.items
    assert not scaled.init_shared(items, 0).weights["scale_price"].any()


def test_each_merchant_has_its_own(small_run: Make) -> None:
    config = small_run(**KEYS, **MERCHANTS, train__rounds=3, engine__nodes=4)
    execute(config)
    files = RunDirectory(Path(config.run.out))
    folders = sorted(files.clients.iterdir())
    newest = [max(f.rglob("round-*.ckpt"), key=lambda file: file.name) for f in folders]
    scales = [read_arrays(file)[0]["current.client/scale_price"] for file in newest]
    assert all(s.shape == (1, 1) and np.isfinite(s).all() and s.any() for s in scales)
    assert len({float(s[0, 0]) for s in scales}) == 4
    shared, _ = read_arrays(files.checkpoint)
    assert not any("scale_price" in name for name in shared)  # no update has held it


def test_merchants_of_one_node_have_their_own(small_run: Make) -> None:
    """A node with all of them scores with the scale of each."""
    keys = {**KEYS, **MERCHANTS, "train__rounds": 2}
    one, four = small_run("one", **keys), small_run("four", **keys, engine__nodes=4)
    execute(one)
    execute(four)
    arrays = [read_arrays(RunDirectory(Path(c.run.out)).checkpoint)[0] for c in (one, four)]
    for name, value in arrays[0].items():
        assert np.allclose(arrays[1][name], value, atol=1e-5), name
    told = [json.loads(RunDirectory(Path(c.run.out)).system.read_text()) for c in (one, four)]
    metrics = [t["metrics"]["test"]["full"] for t in told]
    assert metrics[0] == pytest.approx(metrics[1], abs=1e-6)


@pytest.mark.parametrize(
    ("keys", "error", "told"),
    [
        ({"model__scales": "department"}, ModelError, "number attributes .* price"),
        ({"model__scales": "prize"}, ModelError, "Did you mean 'price'"),
        ({"model__item_attributes": "department"}, ModelError, "names 'price'"),
        ({"model__contrast": 0.1}, ConfigError, "is for model.name = 'two-tower' without"),
        ({"model__name": "deepfm"}, ConfigError, "is for model.name = 'two-tower' without"),
        ({"model__name": "mf", "model__item_attributes": "all"}, ConfigError, "scales = 'price'"),
    ],
)
def test_what_cannot_be_scaled_is_refused(
    small_run: Make, keys: dict[str, Any], error: type[Exception], told: str
) -> None:
    with pytest.raises(error, match=told):
        prepare(small_run(**{**KEYS, **keys}))
