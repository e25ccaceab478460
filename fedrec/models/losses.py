"""Losses of one batch, each the weighted sum over samples.  Imported with TensorFlow.

Of several batches [N, B], each has its own sum, [N].
"""

from __future__ import annotations

import tensorflow as tf

from fedrec.models.recommender import Tensor


def logistic(logit: Tensor, label: Tensor, weight: Tensor) -> Tensor:
    """Binary cross-entropy on logits: sum of weight * log(1 + exp(-(2y-1) logit)).

    Args:
        logit: float32 [B].
        label: float32 [B], 0 or 1.
        weight: float32 [B].

    Returns:
        A scalar.
    """
    losses = tf.nn.sigmoid_cross_entropy_with_logits(labels=label, logits=logit)
    return tf.reduce_sum(weight * losses, -1)


def bpr(positive: Tensor, negative: Tensor, weight: Tensor) -> Tensor:
    """Bayesian personalised ranking (Rendle et al., UAI 2009): -log sigmoid(s+ - s-).

    Args:
        positive: float32 [B], scores of interactions.
        negative: float32 [B], scores of their sampled negatives.
        weight: float32 [B].

    Returns:
        A scalar.
    """
    return tf.reduce_sum(weight * tf.nn.softplus(negative - positive), -1)


def squared(prediction: Tensor, label: Tensor, weight: Tensor) -> Tensor:
    """Half the weighted squared error: sum of weight * (prediction - label)^2 / 2.

    Args:
        prediction: float32 [B].
        label: float32 [B].
        weight: float32 [B].

    Returns:
        A scalar.
    """
    return 0.5 * tf.reduce_sum(weight * tf.square(prediction - label), -1)
