"""The client's optimisers, stacked over clients: pure step functions.

Keras optimizers hold one state for one set of variables; here each of C clients
has its own state inside one compiled loop.  Imported with TensorFlow.
"""

from __future__ import annotations

from math import log

import tensorflow as tf

from fedrec.models.recommender import Tensor

BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-7


def adam_init(values: dict[str, Tensor]) -> dict[str, tuple[Tensor, Tensor]]:
    """Return zero moments for each value."""
    return {name: (tf.zeros_like(v), tf.zeros_like(v)) for name, v in values.items()}


def adam_step(
    value: Tensor, grad: Tensor, slot: tuple[Tensor, Tensor], lr: Tensor, step: Tensor
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """One step of Adam (Kingma and Ba, ICLR 2015), with Keras's constants.

    Args:
        value: float32, stacked parameters.
        grad: their gradient.
        slot: first and second moment.
        lr: learning rate.
        step: int32, steps taken before this one.

    Returns:
        The moved value and the new moments.
    """
    first = BETA_1 * slot[0] + (1 - BETA_1) * grad
    second = BETA_2 * slot[1] + (1 - BETA_2) * tf.square(grad)
    t = tf.cast(step + 1, value.dtype)
    # 1 - beta^t by expm1: in float32, 1 - 0.999^1 is off by 1e-5 of itself
    bias_1, bias_2 = -tf.math.expm1(t * log(BETA_1)), -tf.math.expm1(t * log(BETA_2))
    rate = lr * tf.sqrt(bias_2) / bias_1
    return value - rate * first / (tf.sqrt(second) + EPSILON), (first, second)
