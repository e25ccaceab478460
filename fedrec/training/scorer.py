"""What a trained system of any kind is to evaluation: a function giving scores."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Scorer = Callable[[NDArray[np.int64]], NDArray[np.float32]]
"""Local users int64 [b] -> scores of all items, float32 [b, I]."""

RatingPredictor = Callable[[NDArray[np.int64], NDArray[np.int32]], NDArray[np.float32]]
"""Local users int64 [n], items int32 [n] -> predicted ratings, float32 [n]."""


def among(score: Scorer, items: NDArray[np.int64]) -> Scorer:
    """Return a scorer that puts all other items behind `items`, at one score.

    Args:
        score: scores of all items.
        items: int64 [M], the candidates.
    """

    def only(users: NDArray[np.int64]) -> NDArray[np.float32]:
        scores = np.array(score(users), np.float32)
        behind = np.ones(scores.shape[1], bool)
        behind[items] = False
        scores[:, behind] = scores.min(1, keepdims=True) - 1.0
        return scores

    return only
