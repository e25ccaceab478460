from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from fedrec.config import from_flat
from fedrec.data.interactions import Catalogue
from fedrec.errors import ModelError
from fedrec.models.build import build_model
from fedrec.models.head import ScoreHead

ITEMS = Catalogue(np.array(["a", "b", "c"], object))
MODEL = ScoreHead(2)


def test_all_heads_start_the_same_and_at_the_size_of_a_linear_layer() -> None:
    model = ScoreHead(400)
    values = model.init_personal(np.array([3, 8]), 5).values
    assert {n: v.shape for n, v in values.items()} == {"head": (2, 400), "bias": (2, 1)}
    assert all((v[0] == v[1]).all() for v in values.values())
    assert values["head"][0].std() == pytest.approx((3 * 400) ** -0.5, rel=0.1)
    assert (model.init_personal(np.array([3]), 6).values["head"] != values["head"][0]).all()
    assert values["head"][0, 0] != values["bias"][0, 0]
    assert model.personal_vectors == {"head": 400, "bias": 1}


def test_rows_start_as_wide_as_asked() -> None:
    table = ScoreHead(4000, 0.5).init_shared(ITEMS, 0).tables["item"]
    assert table.shape == (3, 4000)
    assert table.std() == pytest.approx(0.5, rel=0.05)


def test_scores_by_hand() -> None:
    own = {"head": tf.constant([[0.5, 0.25]]), "bias": tf.constant([[2.0]])}
    items = {"item": tf.constant([[1.0, 2.0], [0.0, -1.0]])}
    assert MODEL.score({}, own, items, tf.zeros((0,), tf.int32)).numpy().tolist() == [3.0, 1.75]


@pytest.mark.parametrize("width", [1, 3], ids=["one client", "a head for each sample"])
def test_gradients_by_hand_are_those_of_the_loss(width: int) -> None:
    draw = np.random.default_rng(1).normal
    rows = tf.constant(draw(size=(1, 3, 2)), tf.float32)
    head = tf.constant(draw(size=(1, width, 2)), tf.float32)
    bias = tf.constant(draw(size=(1, width, 1)), tf.float32)
    batch = {"label": tf.constant([[1.0, 0.0, 1.0]]), "weight": tf.constant([[1.0, 2.0, 0.0]])}
    found = MODEL.gradients({}, {"head": head, "bias": bias}, {"item": rows}, batch)
    with tf.GradientTape() as tape:
        tape.watch([rows, head, bias])
        one = {name: value[0] for name, value in batch.items()}
        loss = MODEL.loss({}, {"head": head[0], "bias": bias[0]}, {"item": rows[0]}, one)
    q, w, b = tape.gradient(loss, [rows, head, bias])
    outer = found.rows["item"]
    assert found.losses[0].numpy() == pytest.approx(loss.numpy(), rel=1e-6)
    assert (outer.coefficient[..., None] * outer.vector).numpy() == pytest.approx(q.numpy())
    assert found.personal["head"].numpy() == pytest.approx(w.numpy(), abs=1e-6)
    assert found.personal["bias"].numpy() == pytest.approx(b.numpy(), abs=1e-6)


def test_it_is_named_in_the_configuration() -> None:
    keys = {"model.name": "head", "model.dim": 7, "model.init": 0.2}
    assert build_model(from_flat(keys)) == ScoreHead(7, 0.2)
    with pytest.raises(ModelError, match="needs model.loss = 'logistic', not 'squared'"):
        build_model(from_flat({**keys, "model.loss": "squared", "data.feedback": "explicit"}))
