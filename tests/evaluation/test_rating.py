"""Errors of predicted ratings."""

from dataclasses import replace

import numpy as np
import pytest

from fedrec.errors import ModelError
from fedrec.evaluation.evaluator import evaluate_ratings
from fedrec.evaluation.sums import intervals, means
from tests.evaluation.evaluation_cases import held_out


def _held():
    held = held_out({0: [1, 2], 2: [0]}, {}, 3)
    return replace(held, labels=np.array([4.0, 2.0, 5.0], np.float32))


def test_errors_by_hand() -> None:
    asked = []

    def predict(users: np.ndarray, items: np.ndarray) -> np.ndarray:
        asked.extend(zip(users.tolist(), items.tolist(), strict=True))
        return np.array([3.0, 2.0, 3.0], np.float32)

    found = evaluate_ratings(predict, _held(), None, bootstrap=50)
    assert asked == [(0, 1), (0, 2), (2, 0)]
    assert found.values == {"rating.squared_error": 5.0, "rating.absolute_error": 3.0}
    assert means(found) == {"rating.rmse": pytest.approx(np.sqrt(5 / 3)), "rating.mae": 1.0}
    low, high = intervals(found)["rating.rmse"]
    assert low <= np.sqrt(5 / 3) <= high


def test_sums_over_nodes_add_up() -> None:
    def predict(users: np.ndarray, items: np.ndarray) -> np.ndarray:
        return (users + items).astype(np.float32)

    whole = evaluate_ratings(predict, _held(), None, bootstrap=10)
    parts = [evaluate_ratings(predict, _held(), np.array(u), bootstrap=10) for u in ([0, 1], [2])]
    total = parts[0] + parts[1]
    assert total.values == whole.values
    np.testing.assert_allclose(
        total.replicates["rating.squared_error"], whole.replicates["rating.squared_error"]
    )
    np.testing.assert_allclose(total.replicate_counts["rating"], whole.replicate_counts["rating"])


def test_bad_predictions_are_refused() -> None:
    with pytest.raises(ModelError, match="predicted ratings are not finite"):
        evaluate_ratings(lambda u, i: np.full(3, np.nan, np.float32), _held(), None, bootstrap=0)
    with pytest.raises(ModelError, match=r"in shape \(2,\), expected \(3,\)"):
        evaluate_ratings(lambda u, i: np.zeros(2, np.float32), _held(), None, bootstrap=0)
