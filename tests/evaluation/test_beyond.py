"""Coverage, novelty, popularity and Gini, by hand."""

import numpy as np
import pytest

from fedrec.errors import DataError
from fedrec.evaluation.beyond import beyond, gini, percentiles


def test_metrics_by_hand() -> None:
    found = beyond(np.array([3, 1, 0, 0]), np.array([8, 4, 2, 0]), 16, 10)
    assert found["coverage@10"] == 0.5
    assert found["novelty@10"] == pytest.approx((3 * 1 + 1 * 2) / 4)
    assert found["popularity@10"] == pytest.approx((3 * 1 + 2 / 3) / 4)
    assert found["gini@10"] == pytest.approx(0.625)  # mean absolute difference / (2 mean)


def test_an_item_nobody_trained_on_counts_as_one() -> None:
    assert beyond(np.array([0, 1]), np.array([4, 0]), 4, 5)["novelty@5"] == 2.0


def test_gini_of_extremes() -> None:
    assert gini(np.full(10, 3.0)) == pytest.approx(0.0)
    assert gini(np.eye(1, 100)[0]) == pytest.approx(0.99)
    values = np.random.default_rng(0).random(50)
    pairs = np.abs(values[:, None] - values).mean() / (2 * values.mean())
    assert gini(values) == pytest.approx(pairs)


def test_percentiles_give_half_on_average_and_share_ties() -> None:
    assert percentiles(np.array([5, 1, 5, 9])).tolist() == pytest.approx([0.5, 0, 0.5, 1])
    assert percentiles(np.random.default_rng(0).integers(0, 9, 99)).mean() == pytest.approx(0.5)
    assert percentiles(np.array([7])).tolist() == [0.5]


def test_nothing_recommended_is_refused() -> None:
    for shown in (np.zeros(3, int), np.ones(2, int)):
        with pytest.raises(DataError, match="over the 3 items"):
            beyond(shown, np.ones(3, int), 4, 10)
