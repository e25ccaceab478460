"""Arithmetic that a device and the evaluation of a run share; it needs nothing but NumPy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedrec.errors import ModelError

UNKNOWN = 0
"""The code of an attribute's value that is missing, or that too few clients have."""


def mean_prototype(vectors: NDArray, counts: NDArray) -> NDArray[np.float64]:
    """Return the mean of prototypes [P, D], weighted by their clients [P], float64 [D]."""
    return np.asarray(np.average(vectors, axis=0, weights=counts + 1e-9), np.float64)


def nearest_prototype(own: NDArray, vectors: NDArray) -> NDArray[np.int64]:
    """Return which of the prototypes [P, D] each vector [U, D] points to most, int64 [U]."""
    length = np.sqrt(np.square(vectors).sum(1))
    likeness = own @ (vectors / np.maximum(length, np.finfo(np.float64).tiny)[:, None]).T
    return np.asarray(likeness.argmax(1), np.int64)


def weights_place(ends: Sequence[int], counts: NDArray) -> NDArray[np.int64]:
    """Return which weights serve users who have revealed so many interactions, int64 [U].

    Args:
        ends: the k that weights were learnt for, ascending.
        counts: int [U].

    Returns:
        The place of the largest k that a user has revealed; ``len(ends)``, the weights of
        whole histories, for more than the last.
    """
    place = np.maximum(np.searchsorted(ends, counts, side="right") - 1, 0)
    return np.asarray(np.where(counts > ends[-1], len(ends), place), np.int64)


def standard(scores: NDArray) -> NDArray[np.float32]:
    """Return scores of mean 0 and standard deviation 1 in each row; constant rows are zero."""
    real = np.asarray(scores, np.float64)
    centred = real - real.mean(1, keepdims=True)
    spread = centred.std(1, keepdims=True)
    return (centred / np.where(spread > 0, spread, 1.0)).astype(np.float32)


def code_of(name: str, rule: Mapping[str, Any], value: Any) -> int:
    """Return the code of one user's value; `UNKNOWN` where it is missing or rare.

    Args:
        name: of the attribute.
        rule: from `user_rules`.
        value: a word or a number; None or empty: missing.

    Raises:
        ModelError: if a number was expected.
    """
    if value is None or value == "":
        return UNKNOWN
    if "words" in rule:
        return int(rule["words"].get(str(value), UNKNOWN))
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise ModelError(f"user attribute {name} = {value!r}: expected a number") from None
    return UNKNOWN if np.isnan(number) else int(rule["codes"][np.digitize(number, rule["cuts"])])
