"""Bootstrap: weights, coverage, pairing and the correction of Holm."""

import numpy as np
import pytest

from fedrec.errors import ConfigError
from fedrec.evaluation.bootstrap import (
    bootstrap_sums,
    compare_all,
    holm,
    paired,
    poisson_weights,
)
from fedrec.evaluation.sums import EvaluationSums, intervals


def _sums(values: np.ndarray, users: np.ndarray, replicates: int = 1000) -> EvaluationSums:
    drawn = bootstrap_sums(np.stack([values, np.ones_like(values)]), users, replicates)
    return EvaluationSums(
        {"full.hr@10": float(values.sum())},
        {"full": float(len(values))},
        {"full.hr@10": drawn[0]},
        {"full": drawn[1]},
    )


def test_weights_are_poisson() -> None:
    weights = poisson_weights(np.arange(3000), 101)
    assert weights.shape == (3000, 101)
    share = [np.mean(weights == k) for k in range(5)]
    np.testing.assert_allclose(share, [0.3679, 0.3679, 0.1839, 0.0613, 0.0153], atol=0.003)
    assert weights.mean() == pytest.approx(1.0, abs=0.006)
    assert weights.var() == pytest.approx(1.0, abs=0.02)
    assert abs(np.corrcoef(weights[:, 0], weights[:, 1])[0, 1]) < 0.06


def test_weights_depend_on_the_user_alone() -> None:
    np.testing.assert_array_equal(
        poisson_weights(np.array([5, 900]), 7), poisson_weights(np.arange(1000), 10)[[5, 900], :7]
    )


def test_sums_under_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    users = np.array([3, 8, 11, 20])
    values = np.array([[1.0, 2.0, 4.0, 8.0], [1.0, 1.0, 1.0, 1.0]])
    expected = values @ poisson_weights(users, 6)
    np.testing.assert_allclose(bootstrap_sums(values, users, 6), expected)
    monkeypatch.setattr("fedrec.evaluation.bootstrap._BLOCK", 3)
    np.testing.assert_allclose(bootstrap_sums(values, users, 6), expected)


def test_intervals_agree_with_the_normal_approximation() -> None:
    values = np.random.default_rng(0).random(2000)
    low, high = intervals(_sums(values, np.arange(2000)))["full.hr@10"]
    half = 1.96 * values.std() / np.sqrt(2000)
    assert low == pytest.approx(values.mean() - half, abs=0.15 * half)
    assert high == pytest.approx(values.mean() + half, abs=0.15 * half)


def test_intervals_cover_the_truth() -> None:
    rng = np.random.default_rng(1)
    covered = 0
    for trial in range(200):
        values = rng.binomial(1, 0.3, 150).astype(float)
        users = np.arange(150) + 150 * trial
        low, high = intervals(_sums(values, users, 400))["full.hr@10"]
        covered += low <= 0.3 <= high
    assert 180 <= covered <= 199


def test_pairing_sees_a_small_difference_that_separate_intervals_hide() -> None:
    rng = np.random.default_rng(2)
    users = np.arange(1000)
    base = rng.random(1000)
    better = base + 0.01 + 0.02 * rng.standard_normal(1000)
    a, b = _sums(better, users), _sums(base, users)
    result = paired(a, b, "full.hr@10")
    assert result.difference == pytest.approx((better - base).mean())
    assert 0 < result.low < result.difference < result.high
    assert result.p_value == pytest.approx(2 / 1001)
    assert intervals(b)["full.hr@10"][1] > intervals(a)["full.hr@10"][0]  # they overlap
    mirrored = paired(b, a, "full.hr@10")
    assert (mirrored.low, mirrored.high) == pytest.approx((-result.high, -result.low))


def test_a_system_does_not_differ_from_itself() -> None:
    sums = _sums(np.random.default_rng(3).random(50), np.arange(50))
    result = paired(sums, sums, "full.hr@10")
    assert (result.difference, result.low, result.high, result.p_value) == (0, 0, 0, 1.0)


def test_p_values_are_uniform_without_a_difference() -> None:
    rng = np.random.default_rng(4)
    found = []
    for trial in range(200):
        users = np.arange(200) + 200 * trial
        a, b = rng.random(200), rng.random(200)
        found.append(paired(_sums(a, users, 300), _sums(b, users, 300), "full.hr@10").p_value)
    assert 0.01 <= np.mean(np.array(found) < 0.05) <= 0.10
    assert 0.4 <= np.mean(np.array(found) < 0.5) <= 0.6


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []


def test_comparing_with_many_is_corrected() -> None:
    users = np.arange(500)
    base = np.random.default_rng(5).random(500)
    reference = _sums(base + 0.3, users)
    others = {"a": _sums(base, users), "b": _sums(base + 0.3, users), "c": _sums(base, users)}
    found = compare_all(reference, others, "full.hr@10")
    single = paired(reference, others["a"], "full.hr@10")
    assert list(found) == ["a", "b", "c"]
    assert found["a"].difference == pytest.approx(0.3)
    assert found["a"].p_value == pytest.approx(3 * single.p_value)
    assert found["b"].p_value == 1.0


def test_adding_seeds_keeps_the_interval_over_users() -> None:
    """Three seeds of one system are no three times as many users."""
    users = np.arange(800)
    base = np.random.default_rng(6).random(800)
    one = _sums(base, users)
    three = one + one + one
    assert intervals(three)["full.hr@10"] == pytest.approx(intervals(one)["full.hr@10"])
    assert paired(three, one, "full.hr@10").difference == pytest.approx(0.0)


def test_what_cannot_be_compared_is_refused() -> None:
    users, values = np.arange(10), np.random.default_rng(0).random(10)
    sums, none = _sums(values, users), EvaluationSums({"full.hr@10": 1.0}, {"full": 2.0})
    with pytest.raises(ConfigError, match="'full.hr@1' was not computed.*'full.hr@10'"):
        paired(sums, sums, "full.hr@1")
    with pytest.raises(ConfigError, match=r"found 1000 and 0: set evaluate\.bootstrap"):
        paired(sums, none, "full.hr@10")
    with pytest.raises(ConfigError, match="found 1000 and 30"):
        paired(sums, _sums(values, users, 30), "full.hr@10")
