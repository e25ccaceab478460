"""Sampled negatives: allowed, distinct, uniform, addressed."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fedrec.evaluation.negatives import draw_negatives
from fedrec.rng import Purpose, keys


def _keys(users: np.ndarray) -> np.ndarray:
    return keys(0, 2, users, Purpose.EVALUATION_NEGATIVES)


@given(st.integers(0, 10**6), st.integers(1, 25), st.integers(0, 12))
def test_negatives_are_distinct_and_allowed(seed: int, num_items: int, size: int) -> None:
    rng = np.random.default_rng(seed)
    excluded = rng.random((4, num_items)) < rng.random()
    drawn = draw_negatives(np.flatnonzero(excluded), 4, num_items, size, _keys(np.arange(4)))
    assert drawn.shape == (4, size)
    for user in range(4):
        found = drawn[user][drawn[user] >= 0]
        assert len(set(found.tolist())) == len(found) == min(size, int((~excluded[user]).sum()))
        assert not excluded[user][found].any()


def test_negatives_depend_on_the_user_alone() -> None:
    none = np.zeros(0, np.int64)
    together = draw_negatives(none, 5, 50, 9, _keys(np.arange(5)))
    alone = draw_negatives(none, 1, 50, 9, _keys(np.array([3])))
    np.testing.assert_array_equal(together[3], alone[0])


def test_negatives_are_uniform() -> None:
    num_users, num_items, size = 20_000, 12, 4
    excluded = np.arange(num_users) * num_items + 5
    drawn = draw_negatives(excluded, num_users, num_items, size, _keys(np.arange(num_users)))
    counts = np.bincount(drawn.ravel(), minlength=num_items)
    assert counts[5] == 0
    expected = num_users * size / 11
    deviation = np.sqrt(num_users * (size / 11) * (1 - size / 11))
    assert np.abs(np.delete(counts, 5) - expected).max() < 4 * deviation


def test_the_two_parts_have_negatives_of_their_own() -> None:
    none, users = np.zeros(0, np.int64), np.arange(3)
    drawn = [
        draw_negatives(none, 3, 1000, 99, keys(0, part, users, Purpose.EVALUATION_NEGATIVES))
        for part in (1, 2)
    ]
    common = np.intersect1d(*[d[0] for d in drawn])
    assert len(common) < 30
