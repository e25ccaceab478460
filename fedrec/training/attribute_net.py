"""A small net from attributes to rows of a table.

During training the server of IFedRec keeps one beside its table (`server.anchors`); after
training one can be fitted to the table of any model (`fedrec.coldstart.items`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedrec.rng import Purpose, draw, keys


def attribute_net(width: int, hidden: tuple[int, ...], out: int, lr: float, seed: int) -> Any:
    """Return a Keras model, ReLU between layers, with Adam on the mean squared error.

    Args:
        width: attributes A, the length of the input.
        hidden: widths of the hidden layers.
        out: length of a row.
        lr: learning rate of Adam.
        seed: decides the initial weights.
    """
    import keras

    words = draw(keys(seed, 0, np.arange(len(hidden) + 1), Purpose.ANCHOR_NET), 0)
    seeds = [int(word) % (1 << 31) for word in words]
    start = [keras.initializers.GlorotUniform(seed) for seed in seeds]
    x = given = keras.Input((width,))
    for size, initial in zip(hidden, start, strict=False):
        x = keras.layers.Dense(size, activation="relu", kernel_initializer=initial)(x)
    net = keras.Model(given, keras.layers.Dense(out, kernel_initializer=start[-1])(x))
    net.compile(optimizer=keras.optimizers.Adam(lr), loss="mse")
    net.optimizer.build(net.trainable_variables)
    return net


def fit_net(net: Any, features: NDArray[np.float32], rows: NDArray[np.float32], steps: int) -> None:
    """Train a net of `attribute_net` in one compiled call.

    Args:
        net: changed.
        features: float32 [K, A].
        rows: float32 [K, w].
        steps: of Adam, each over all K.
    """
    import keras
    import tensorflow as tf

    loss, variables = keras.losses.MeanSquaredError(), net.trainable_variables

    @tf.function
    def train(x: Any, y: Any) -> None:
        for _ in tf.range(steps):
            with tf.GradientTape() as tape:
                value = loss(y, net(x, training=True))
            net.optimizer.apply(tape.gradient(value, variables), variables)

    train(tf.constant(features), tf.constant(rows))
