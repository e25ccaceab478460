from __future__ import annotations

from math import exp, log

import pytest
import tensorflow as tf

from fedrec.models import losses


def test_logistic_by_hand() -> None:
    """log(1 + e^-2) for a positive with logit 2, weight 1; log(1 + e^-1) twice."""
    loss = losses.logistic(
        tf.constant([2.0, -1.0, 5.0]), tf.constant([1.0, 0.0, 0.0]), tf.constant([1.0, 2.0, 0.0])
    )
    assert float(loss) == pytest.approx(log(1 + exp(-2)) + 2 * log(1 + exp(-1)))


def test_bpr_by_hand() -> None:
    """-log sigmoid(3 - 1), and weight 2 at equal scores: 2 log 2."""
    loss = losses.bpr(tf.constant([3.0, 1.0]), tf.constant([1.0, 1.0]), tf.constant([1.0, 2.0]))
    assert float(loss) == pytest.approx(log(1 + exp(-2)) + 2 * log(2))


def test_squared_by_hand() -> None:
    """(4 - 2)^2 / 2 and 3 * (1 - 2)^2 / 2."""
    loss = losses.squared(tf.constant([4.0, 1.0]), tf.constant([2.0, 2.0]), tf.constant([1.0, 3.0]))
    assert float(loss) == pytest.approx(2.0 + 1.5)


def test_large_logits_stay_finite() -> None:
    big = tf.constant([100.0, -100.0])
    assert float(losses.logistic(big, tf.constant([0.0, 1.0]), tf.ones(2))) == pytest.approx(200.0)
    assert float(losses.bpr(-big, big, tf.ones(2))) == pytest.approx(200.0)
