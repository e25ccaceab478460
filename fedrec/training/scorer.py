"""What a trained system of any kind is to evaluation: a function giving scores."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Scorer = Callable[[NDArray[np.int64]], NDArray[np.float32]]
"""Local users int64 [b] -> scores of all items, float32 [b, I]."""

RatingPredictor = Callable[[NDArray[np.int64], NDArray[np.int32]], NDArray[np.float32]]
"""Local users int64 [n], items int32 [n] -> predicted ratings, float32 [n]."""
