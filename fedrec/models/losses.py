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


def info_nce(first: Tensor, second: Tensor, real: Tensor, temperature: float) -> Tensor:
    """Contrast of two views (van den Oord, Li and Vinyals 2018), the mean of both directions.

    With cosines s of states, ``-log(exp(s_tt / T) / sum_r exp(s_tr / T))`` over the real
    places r of the other view.

    Args:
        first: float32 [N, L, d], states of places in one view.
        second: float32 [N, L, d], in the other.
        real: float32 [N, L], 1 for places that take part, else 0.
        temperature: T.

    Returns:
        float32 [N, L], 0 for places that take no part.
    """
    first, second = (tf.math.l2_normalize(one, -1, 1e-6) for one in (first, second))
    near = tf.linalg.matmul(first, second, transpose_b=True) / temperature
    same, away = tf.linalg.diag_part(near), (1.0 - real) * -1e9
    forth = tf.reduce_logsumexp(near + away[:, None], -1)
    back = tf.reduce_logsumexp(near + away[..., None], -2)
    return (0.5 * (forth + back) - same) * real


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
