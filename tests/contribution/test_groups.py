"""Groups: what their sums open, and what merchants' parts are solved to."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedrec.contribution.estimates import Memory
from fedrec.contribution.groups import (
    Measured,
    check_groups,
    check_opened,
    cut,
    fewest_behind,
    measured,
    parts_of,
)
from fedrec.errors import ConfigError


def sets(*members):
    return [np.array(m, np.int64) for m in members]


@pytest.mark.parametrize(
    ("opened", "few"),
    [
        (sets([0, 1, 2], [3, 4, 5]), 3),
        (sets([0, 1, 2], [3, 4, 5], [0, 1, 2, 3, 4, 5]), 3),  # their sum says nothing new
        (sets([0, 1, 2, 3, 4, 5], [0, 1, 2, 3, 4]), 1),  # the difference is merchant 5
        (sets([0, 1, 2], [3, 4, 5], [0, 1, 3]), 2),  # merchant 2 less merchant 3
        (sets([0, 1, 2], [2, 3, 4]), 3),
        (sets([0, 1], [1, 2], [0, 2]), 1),  # half of the first and the third less the second
        (sets([0, 1, 2, 3]), 4),
        ([], 6),
    ],
)
def test_what_sums_open_together(opened, few):
    assert fewest_behind(opened, 6) == few


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sets(st.integers(0, 4), min_size=1), min_size=1, max_size=4))
def test_no_combination_of_sums_is_about_fewer(opened):
    """Against a search over small integer combinations, which finds all that few sets allow."""
    table = np.zeros((len(opened), 5))
    for row, members in zip(table, opened, strict=True):
        row[list(members)] = 1
    grid = np.stack(np.meshgrid(*[np.arange(-3, 4)] * len(opened)), -1).reshape(-1, len(opened))
    left = np.count_nonzero(grid @ table, axis=1)
    found = fewest_behind([np.array(sorted(m), np.int64) for m in opened], 5)
    assert found == left[left > 0].min()


def test_sums_that_open_single_updates_are_refused():
    with pytest.raises(ConfigError, match="open a single update"):
        check_opened(sets([0, 1, 2, 3], [0, 1, 2]), 4, 3)
    with pytest.raises(ConfigError, match="open a combination of 2 updates"):
        check_opened([*cut(0, 1, 6, 2), *cut(0, 2, 6, 2)], 6, 3)
    check_opened(cut(0, 1, 6, 2), 6, 3)


def test_small_groups_are_refused():
    with pytest.raises(ConfigError, match="needs 6 merchants or more, and there are 5"):
        check_groups(5, 2, 3)
    check_groups(6, 2, 3)


@given(st.integers(4, 50), st.integers(2, 4), st.integers(0, 2**31), st.integers(1, 99))
def test_groups_are_a_partition(players, groups, seed, round_number):
    parts = cut(seed, round_number, players, groups)
    np.testing.assert_array_equal(np.sort(np.concatenate(parts)), np.arange(players))
    sizes = [len(part) for part in parts]
    assert max(sizes) - min(sizes) <= 1
    assert all((np.diff(part) > 0).all() for part in parts)


def additive(weights):
    return Memory(lambda s: np.array([sum((weights[i] for i in s), 0.5)]), {})


def rounds_of(weights, count, groups=2):
    players = len(weights)
    return [measured(additive(weights), cut(3, t, players, groups)) for t in range(1, count + 1)]


def test_unions_of_groups_are_measured():
    found = measured(additive([1.0, 2.0, 4.0, 8.0]), tuple(sets([0, 3], [1, 2])))
    np.testing.assert_allclose(found.table, [0.5, 9.5, 6.5, 15.5])
    again = Measured.from_json(found.to_json())
    np.testing.assert_array_equal(again.table, found.table)
    np.testing.assert_array_equal(again.groups[1], [1, 2])


def test_many_groupings_tell_merchants_apart():
    weights = np.array([5.0, 3.0, 2.0, 1.0, 0.0, -1.0])
    few, many = (parts_of(rounds_of(weights, count), 6) for count in (20, 400))
    assert (np.argsort(-few.values) == np.arange(6)).all()
    np.testing.assert_allclose(many.values / 400, weights, atol=0.1)
    assert many.values.sum() == pytest.approx(400 * weights.sum())
    assert not many.alike


def test_one_grouping_tells_groups_apart_and_nobody_else():
    found = parts_of([measured(additive([4.0, 0.0, 0.0, 2.0]), tuple(sets([0, 1], [2, 3])))], 4)
    assert found.values[0] == pytest.approx(found.values[1])
    assert found.values[2] == pytest.approx(found.values[3])
    assert found.values[0] > found.values[2] > 0
    assert found.alike == ((0, 1), (2, 3))
    assert np.isnan(found.errors).all()


def test_errors_follow_the_residuals():
    rng = np.random.default_rng(0)
    weights, clean = np.arange(8.0), []
    noisy = []
    for one in rounds_of(weights, 40):
        clean.append(one)
        noisy.append(Measured(one.groups, one.table + rng.normal(0, 3.0, len(one.table))))
    assert (parts_of(noisy, 8).errors > 3 * parts_of(clean, 8).errors).all()
