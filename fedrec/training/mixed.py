"""Scores of two models, mixed in fixed shares.

Model interpolation (Mansour et al. 2020, "Three approaches for personalization with
applications to federated learning").
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fedrec.training.scorer import Scorer

_TINY = 1e-12


def mixture(own: Scorer, federated: Scorer, share: float) -> Scorer:
    """Return a scorer whose scores are ``share * z(own) + (1 - share) * z(federated)``.

    z takes off each customer's mean score and divides by the standard deviation.
    """

    def score(users: NDArray[np.int64]) -> NDArray[np.float32]:
        out = np.zeros((), np.float32)
        for part, scorer in ((share, own), (1.0 - share, federated)):
            if part:
                out = out + np.float32(part) * _standardised(scorer(users))
        return out

    return score


def _standardised(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    centred = scores - scores.mean(axis=1, keepdims=True)
    scale = np.sqrt(np.square(centred).mean(axis=1, keepdims=True))
    return centred / np.maximum(scale, _TINY)
