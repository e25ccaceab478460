from __future__ import annotations

import numpy as np
import pytest

from fedrec.evaluation.bootstrap import poisson_weights
from fedrec.merchants.decision import EITHER, JOIN, STAY, verdict
from fedrec.merchants.gains import Gain, Values, Weights, corrected, gain, share_of

ALL = np.ones(4, bool)


def values(a, b, counts=(1, 1, 1, 1)):
    sums = {"a": np.array(a, float), "b": np.array(b, float)}
    return Values(sums, np.array(counts, float))


def test_a_gain_by_hand():
    told = values([1.0, 0.5, 0.25, 0.25], [0.0, 0.5, 0.25, 0.0])
    weights = Weights(np.array([[1, 2, 0.0], [1, 0, 1], [1, 1, 1], [1, 1, 0]]))
    found = gain("m", "a", "b", told, ALL, weights)
    assert (found.first, found.second) == (0.5, 0.1875)
    assert found.difference == pytest.approx(1.25 / 4)
    # replicates: 1.25 / 4, 2.25 / 4, 0 / 2
    draws = [0.3125, 0.5625, 0.0]
    assert found.low == pytest.approx(np.percentile(draws, 2.5))
    assert found.high == pytest.approx(np.percentile(draws, 97.5))
    assert found.p_value == 1.0  # 2 (1 + 1) / 4: one replicate of three is not above zero
    assert found.positive == pytest.approx(2 / 3)
    assert found.customers == 4


def test_sums_over_items_count_items():
    told = values([2, 0, 1, 0], [1, 0, 0, 0], counts=(4, 0, 1, 0))
    found = gain("m", "a", "b", told, ALL, Weights(np.ones((4, 3))))
    assert found.first == pytest.approx(3 / 5)
    assert found.difference == pytest.approx(2 / 5)
    assert found.customers == 2
    nobody = np.array([False, True, False, True])
    assert gain("m", "a", "b", told, nobody, Weights(np.ones((4, 3)))) is None


def test_a_person_has_one_weight_whatever_number_of_shops():
    weights = Weights.of(np.array([7, 3, 7, 9]), 50).values
    assert (weights[0] == weights[2]).all()
    assert (weights == poisson_weights(np.array([3, 7, 9]), 50)[[1, 0, 1, 2]]).all()


def test_holm_and_words():
    base = {"first": 0.2, "second": 0.1, "low": 0.0, "high": 0.2, "customers": 9}

    def one(difference, p, positive=0.5, metric="ndcg@10"):
        return Gain(metric, "p", "a", difference=difference, p_value=p, positive=positive, **base)

    up, flat, down = corrected([one(0.1, 0.01), one(0.1, 0.04), one(-0.1, 0.001)])
    assert [g.p_adjusted for g in (up, flat, down)] == pytest.approx([0.02, 0.04, 0.003])
    assert verdict([up, flat]).answer == JOIN
    assert verdict([down]).answer == STAY
    assert verdict([up, down]).answer == EITHER
    assert "p = 0.020" in verdict([up]).sure
    assert "a gain is likely (95%" in verdict([one(0.1, 0.2, 0.95)]).sure
    assert "a loss is likely (95%" in verdict([one(-0.1, 0.2, 0.05)]).sure
    assert verdict([one(0.1, 0.2, 0.6)]).sure.startswith("open")


def test_the_share_of_the_pooled_gain():
    sums = {"alone": [0.1, 0.1], "mine": [0.2, 0.3], "pooled": [0.3, 0.3]}
    told = Values({n: np.array(v) for n, v in sums.items()}, np.ones(2))
    assert share_of(told, "mine", "pooled", "alone") == pytest.approx(0.75)
    assert share_of(told, "mine", "alone", "pooled") is None
