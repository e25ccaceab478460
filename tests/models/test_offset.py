"""User vectors on top of an offset that nobody trains."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from fedrec.data.interactions import Catalogue
from fedrec.models.mf import MatrixFactorisation
from fedrec.models.offset import OFFSET, Offset

ITEMS = Catalogue(np.array(["a", "b", "c"], dtype=object))


@pytest.mark.parametrize("kind", ["logistic", "bpr"])
def test_it_is_the_model_at_the_sum_and_the_offset_has_no_gradient(kind):
    draw = np.random.default_rng(0)
    model = Offset(MatrixFactorisation(4, kind))
    assert model.personal_vectors == {"user": 4, OFFSET: 4}
    assert model.personal_fixed == (OFFSET,)

    def tensor(*shape):
        return tf.constant(draw.normal(size=shape), tf.float32)

    own, known = tensor(2, 1, 4), tensor(2, 1, 4)
    rows = {r.name: tensor(2, 3, 4) for r in model.row_inputs}
    batch = {"label": tf.constant([[1.0, 0, 1], [0, 1, 0]]), "weight": tf.ones((2, 3))}
    found = model.gradients({}, {"user": own, OFFSET: known}, rows, batch)
    plain = model.model.gradients({}, {"user": own + known}, rows, batch)
    np.testing.assert_allclose(found.losses, plain.losses)
    np.testing.assert_allclose(found.personal["user"], plain.personal["user"])
    assert not found.personal[OFFSET].numpy().any()
    one = {"user": own[0], OFFSET: known[0]}
    first = {n: v[0] for n, v in rows.items()}
    loss = model.loss({}, one, first, {n: v[0] for n, v in batch.items()})
    np.testing.assert_allclose(loss, plain.losses[0], rtol=1e-5)
    items = {"item": tensor(3, 4)}
    np.testing.assert_allclose(
        model.score({}, one, items, tf.zeros(0)),
        tf.linalg.matvec(items["item"], (own[0] + known[0])[0]),
    )


def test_offsets_begin_at_zero():
    personal = Offset(MatrixFactorisation(4)).init_personal(np.arange(3), 0)
    assert personal.values[OFFSET].shape == (3, 4)
    assert not personal.values[OFFSET].any()
    assert personal.values["user"].any()
