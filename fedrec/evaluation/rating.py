"""Errors of predicted ratings, for explicit feedback."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fedrec.data.population import HeldOut
from fedrec.errors import ModelError
from fedrec.evaluation.reduction import UserValues, check_finite, select, sum_up
from fedrec.evaluation.sums import EvaluationSums
from fedrec.training.scorer import RatingPredictor


def evaluate_ratings(
    predict: RatingPredictor,
    held_out: HeldOut,
    users: NDArray[np.int64] | None,
    *,
    bootstrap: int,
    seed: int = 0,
) -> EvaluationSums:
    """Compare predicted with held-out ratings.

    Args:
        predict: the system.
        held_out: held-out items with their ratings as labels.
        users: int64 [E'], local users to evaluate; None for all.
        bootstrap: number of replicates B over users; 0 for none.
        seed: not used, as nothing is drawn; for symmetry with `evaluate_users`.

    Returns:
        The sums "rating.squared_error" and "rating.absolute_error".

    Raises:
        ModelError: if predictions are not finite or have the wrong shape.
    """
    del seed
    values = rate_users(predict, held_out, users)
    return sum_up(values, bootstrap, 0, {})


def rate_users(
    predict: RatingPredictor, held_out: HeldOut, users: NDArray[np.int64] | None
) -> UserValues:
    """Compare as `evaluate_ratings` does, and keep the errors of each user apart.

    Args:
        predict: as there.
        held_out: as there.
        users: as there.

    Returns:
        Sums of errors over the ratings of each of the E users; a user counts for its ratings.

    Raises:
        ModelError: as there.
    """
    chosen, indptr, items, labels = select(held_out, users)
    rows = np.repeat(np.arange(len(chosen)), np.diff(indptr))
    predicted = np.asarray(predict(chosen[rows], items))
    if predicted.shape != items.shape:
        raise ModelError(
            f"ratings were predicted in shape {predicted.shape}, expected {items.shape}"
        )
    check_finite(predicted, "predicted ratings")
    error = predicted.astype(np.float64) - labels
    metrics = {
        name: np.bincount(rows, values, minlength=len(chosen)).astype(np.float64, copy=False)
        for name, values in (
            ("rating.squared_error", error**2),
            ("rating.absolute_error", np.abs(error)),
        )
    }
    counts = {"rating": np.diff(indptr).astype(np.float64)}
    none = np.zeros(0, np.int64)
    return UserValues(chosen, metrics, counts, none, none)
