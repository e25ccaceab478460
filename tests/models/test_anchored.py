"""Rows pulled to an anchor: the loss by hand, and its gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from fedrec.data.interactions import Catalogue
from fedrec.models.anchored import Anchored
from fedrec.models.head import ScoreHead
from fedrec.models.mf import MatrixFactorisation


def test_the_pull_by_hand() -> None:
    model = Anchored(MatrixFactorisation(2), 0.5)
    rows = {"item": tf.constant([[[1.0, 2.0]]]), "anchor/item": tf.constant([[[0.0, 4.0]]])}
    own = {"user": tf.constant([[[0.0, 0.0]]])}
    batch = {"label": tf.constant([[1.0]]), "weight": tf.constant([[2.0]])}
    found = model.gradients({}, own, rows, batch)
    assert found.losses.numpy() == pytest.approx([2 * np.log(2) + 0.5 * 0.5 * 2 * (1 + 4)])
    assert found.rows["item"].numpy()[0, 0] == pytest.approx([0.5 * 2 * 1, 0.5 * 2 * -2])


@pytest.mark.parametrize("model", [MatrixFactorisation(3, "bpr"), ScoreHead(3)])
def test_gradients_are_those_of_the_loss(model: Any) -> None:
    anchored, draw = Anchored(model, 0.3), np.random.default_rng(0)
    items = Catalogue(np.array(list("abcd"), object))
    shared = anchored.init_shared(items, 0)
    assert np.array_equal(shared.fixed["anchor"], shared.tables["item"])
    known = {"item": draw.normal(size=(4, 3)), "anchor": draw.normal(size=(4, 3))}
    rows = {r.name: tf.constant(known[r.table][draw.integers(4, size=5)].astype("f"))
            for r in anchored.row_inputs}  # fmt: skip
    own = {n: tf.constant(draw.normal(size=(1, w)).astype("f"))
           for n, w in anchored.personal_vectors.items()}  # fmt: skip
    batch = {"label": tf.constant(draw.integers(2, size=5).astype("f")),
             "weight": tf.constant(draw.random(5).astype("f"))}  # fmt: skip
    with tf.GradientTape() as tape:
        tape.watch((rows, own))
        loss = anchored.loss({}, own, rows, batch)
    of_rows, of_own = tape.gradient(loss, (rows, own))
    one = [{n: v[None] for n, v in part.items()} for part in (own, rows, batch)]
    found = anchored.gradients({}, *one)
    assert found.losses.numpy() == pytest.approx([float(loss)], rel=1e-5)
    assert set(found.rows) == {r.name for r in anchored.row_inputs if not r.fixed}
    for name, value in found.rows.items():
        assert value[0].numpy() == pytest.approx(of_rows[name].numpy(), rel=1e-4, abs=1e-6)
    for name, value in found.personal.items():
        assert value[0].numpy() == pytest.approx(of_own[name].numpy(), rel=1e-4, abs=1e-6)
    scores = anchored.score({}, own, {n: rows[n] for n in ("item", "anchor/item")}, None)
    assert np.array_equal(scores, model.score({}, own, {"item": rows["item"]}, None))
