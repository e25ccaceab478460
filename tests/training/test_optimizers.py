from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from fedrec.training.optimizers import adam_init, adam_step


def test_first_step_by_hand() -> None:
    """At first Adam moves by the learning rate in the direction of the sign."""
    value, slot = adam_step(
        tf.constant([1.0, 1.0, 1.0]),
        tf.constant([4.0, -0.5, 0.0]),
        adam_init({"x": tf.zeros(3)})["x"],
        tf.constant(0.1),
        tf.constant(0),
    )
    assert value.numpy() == pytest.approx([0.9, 1.1, 1.0], abs=1e-6)
    assert slot[0].numpy() == pytest.approx([0.4, -0.05, 0.0])
    assert slot[1].numpy() == pytest.approx([0.016, 0.00025, 0.0])


def test_equals_keras_over_many_steps() -> None:
    generator = np.random.default_rng(0)
    ours = tf.constant(generator.normal(size=(3, 4)), tf.float32)
    theirs = keras.Variable(ours)
    optimizer = keras.optimizers.Adam(0.01)
    slot = adam_init({"x": ours})["x"]
    for step in range(50):
        grad = tf.constant(generator.normal(size=(3, 4)), tf.float32)
        ours, slot = adam_step(ours, grad, slot, tf.constant(0.01), tf.constant(step))
        optimizer.apply([grad], [theirs])
    assert np.abs(ours.numpy() - np.asarray(theirs)).max() < 1e-5
