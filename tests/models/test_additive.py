from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from fedrec.config import from_flat
from fedrec.data.interactions import Catalogue
from fedrec.errors import ModelError
from fedrec.models.additive import Additive
from fedrec.models.build import build_model
from fedrec.models.recommender import bound

ITEMS = Catalogue(np.array(["a", "b", "c"], object))
MODEL = Additive(2, 0.5, 3)


def test_clients_start_alike_with_a_table_that_is_not_the_shared_one() -> None:
    model = bound(Additive(2, 0.5), ITEMS, Catalogue(np.array(["u"], object)))
    assert model == MODEL
    values = model.init_personal(np.array([3, 8]), 5).values
    shapes = {name: value.shape for name, value in values.items()}
    assert shapes == {"head": (2, 2), "bias": (2, 1), "own": (2, 3, 2)}
    assert all((value[0] == value[1]).all() for value in values.values())
    shared = model.init_shared(ITEMS, 5)
    assert list(shared.tables) == ["item"]
    assert (shared.tables["item"] != values["own"][0]).all()


def test_scores_by_hand() -> None:
    own = {
        "head": tf.constant([[0.5, 0.25]]),
        "bias": tf.constant([[2.0]]),
        "own": tf.constant([[[1.0, 0.0], [0.0, 4.0]]]),
    }
    items = {"item": tf.constant([[1.0, 2.0], [0.0, -1.0]])}
    assert MODEL.score({}, own, items, tf.zeros((0,), tf.int32)).numpy().tolist() == [3.5, 2.75]


def test_gradients_by_hand_are_those_of_the_loss() -> None:
    draw = np.random.default_rng(1).normal
    rows = {n: tf.constant(draw(size=(1, 3, 2)), tf.float32) for n in ("item", "own")}
    head = tf.constant(draw(size=(1, 1, 2)), tf.float32)
    bias = tf.constant(draw(size=(1, 1, 1)), tf.float32)
    batch = {"label": tf.constant([[1.0, 0.0, 1.0]]), "weight": tf.constant([[1.0, 2.0, 0.0]])}
    found = MODEL.gradients({}, {"head": head, "bias": bias}, rows, batch)
    with tf.GradientTape() as tape:
        tape.watch([rows, head, bias])
        one = {name: value[0] for name, value in batch.items()}
        inside = {name: value[0] for name, value in rows.items()}
        loss = MODEL.loss({}, {"head": head[0], "bias": bias[0]}, inside, one)
    q, w, b = tape.gradient(loss, [rows, head, bias])
    assert found.losses[0].numpy() == pytest.approx(loss.numpy(), rel=1e-6)
    for name, outer in found.rows.items():
        assert (outer.coefficient[..., None] * outer.vector).numpy() == pytest.approx(
            q[name].numpy(), abs=1e-6
        )
    assert found.personal["head"].numpy() == pytest.approx(w.numpy(), abs=1e-6)
    assert found.personal["bias"].numpy() == pytest.approx(b.numpy(), abs=1e-6)


def test_it_is_named_in_the_configuration() -> None:
    keys = {"model.name": "additive", "model.dim": 7, "model.init": 0.2, "train.method": "fedrap"}
    assert build_model(from_flat(keys)) == Additive(7, 0.2)
    with pytest.raises(ModelError, match="'additive' needs model.loss = 'logistic', not 'squared'"):
        build_model(from_flat({**keys, "model.loss": "squared", "data.feedback": "explicit"}))
