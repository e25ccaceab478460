"""Figures of attacks: hand-worked, and against other implementations."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedrec.audit.scoring import (
    NONE,
    Measurement,
    Scores,
    auc,
    combine,
    compare,
    interval,
    set_metrics,
    standard,
)


def test_sets_by_hand():
    guess = np.array([[True, True, False, False], [False] * 4])
    truth = np.array([[True, False, True, True], [True, False, False, False]])
    found = set_metrics(guess, truth)
    assert found["precision"][0].tolist() == [0.5, 0.0]
    assert np.allclose(found["recall"][0], [1 / 3, 0.0])
    assert np.allclose(found["f1"][0], [2 / 5, 0.0])
    # a random pair of 4 items hits 2 * 3 / 4 = 1.5 of the 3
    assert np.allclose(found["precision"][1], [0.75, 0.0])
    assert np.allclose(found["f1"][1], [2 * 1.5 / 5, 0.0])


def test_one_guess_about_everybody():
    truth = np.array([[True, False], [False, True]])
    assert set_metrics(np.array([[True, False]]), truth)["f1"][0].tolist() == [1.0, 0.0]


def test_area_by_hand():
    scores = np.array([[3.0, 2.0, 1.0, 9.0], [1.0, 1.0, 1.0, 1.0], [1.0, 2.0, 3.0, 4.0]])
    positive = np.array([[True, False, True, True], [True, False, False, False], [True] * 4])
    among = np.array([[True, True, True, False], [True] * 4, [True] * 4])
    area = auc(scores, positive, among)
    assert area[0] == 0.5  # of the pairs (3, 2) and (1, 2) one is in order
    assert area[1] == 0.5  # ties
    assert np.isnan(area[2])


@given(st.integers(0, 1000), st.integers(2, 30))
def test_area_counts_pairs(seed, size):
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 5, (1, size)).astype(float)
    positive = rng.random((1, size)) < 0.4
    among = rng.random((1, size)) < 0.8
    good, bad = scores[positive & among], scores[~positive & among]
    pairs = (good[:, None] > bad) + 0.5 * (good[:, None] == bad)
    expected = pairs.mean() if pairs.size else np.nan
    assert np.allclose(auc(scores, positive, among), expected, equal_nan=True)


def test_intervals_cover_the_mean_and_leave_out_what_is_not_defined():
    scores = Scores(np.arange(200), np.where(np.arange(200) % 4, np.arange(200) % 2, np.nan))
    low, high = interval(scores.replicates(500))
    assert scores.mean() == pytest.approx(2 / 3)
    assert low < scores.mean() < high
    assert interval(Scores(np.arange(2), np.full(2, np.nan)).replicates(10)) == NONE


def test_comparison_with_guessing():
    mine, guess = Scores(np.arange(50), np.full(50, 0.9)), Scores(np.arange(50, 99), np.zeros(49))
    value, ends, other, _, gap = compare(mine, guess, 100)
    assert (value, other) == (0.9, 0.0)
    assert np.allclose([ends, gap], 0.9)
    assert compare(mine, None, 10)[4] == NONE


@pytest.mark.parametrize(
    ("gap", "verdict"),
    [((0.1, 0.2), "better than guessing"), ((-0.1, 0.2), "no better than guessing"), (NONE, "")],
)
def test_verdicts(gap, verdict):
    measured = Measurement("sign", "", 1, "off", "auc", 0.9, NONE, 0.5, NONE, 0.5, gap, 3)
    assert measured.verdict == verdict
    assert measured.to_json()["verdict"] == verdict


def test_values_are_standardised_within_each_client():
    scaled = standard(np.array([1.0, 3.0, 10.0, 10.0]), np.array([0, 0, 1, 1]))
    assert np.allclose(scaled, [-1.0, 1.0, 0.0, 0.0])


def test_evidence_is_weighed_by_others():
    """One piece tells, the other is noise; the weights come from the other half of the clients."""
    rng = np.random.default_rng(0)
    owner = np.repeat(np.arange(40), 25)
    positive = rng.random(1000) < 0.3
    good, noise = positive + 0.5 * rng.normal(size=1000), rng.normal(size=1000)
    both = np.stack([good, noise])
    score = combine(both, positive, owner, both)
    assert np.corrcoef(score, good)[0, 1] > 0.97
    flipped = np.where(owner % 2 == 0, positive, ~positive)  # even clients tell the contrary
    wrong = combine(both, flipped, owner, both)
    odd = owner % 2 == 1  # scored by what even clients have taught
    assert np.corrcoef(wrong[odd], good[odd])[0, 1] > 0.9
    assert np.corrcoef(wrong[~odd], good[~odd])[0, 1] < -0.9


def test_evidence_without_both_kinds_says_nothing():
    one = np.ones((2, 4))
    assert combine(one, np.ones(4, bool), np.arange(4), one).tolist() == [0.0] * 4
