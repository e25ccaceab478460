"""An exploration boost: lists by hand, and what its budget allows at most."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fedrec.coldstart.boost import Boost, boosted_lists
from fedrec.errors import ConfigError


def test_the_bonus_fades_and_ends() -> None:
    boost = Boost(strength=2.0, half=10.0, budget=30)
    new = np.array([False, True, True, True, True])
    found = boost.bonus(new, np.array([0, 0, 10, 20, 30]))
    assert found.tolist() == [0.0, 2.0, 1.0, 0.5, 0.0]
    endless = Boost(strength=2.0, half=10.0, budget=0).bonus(new, np.array([0, 0, 0, 0, 30]))
    assert endless[4] == 0.25


def test_a_list_by_hand() -> None:
    scores = np.array([[6, 5, 4, 3, 2, 1]], np.float32)  # standard deviation 1.708
    bonus = np.array([0, 0, 0, 0, 3.0, 2.5])  # raised to 7.12 and 5.27
    free = boosted_lists(scores, bonus, 3, np.array([3]))
    assert free[0].tolist() == [[4, 0, 5]]
    assert free[1].tolist() == [[True, False, True]]
    one = boosted_lists(scores, bonus, 3, np.array([1]))
    assert one[0].tolist() == [[4, 0, 1]]
    none = boosted_lists(scores, bonus, 3, np.array([0]))
    assert none[0].tolist() == [[0, 1, 2]]
    assert not none[1].any()


def test_what_stands_there_by_itself_takes_no_budget() -> None:
    scores = np.array([[6, 5, 4, 3]], np.float32)
    items, took = boosted_lists(scores, np.array([0, 9.0, 0, 0]), 2, np.array([0]))
    assert items.tolist() == [[1, 0]]  # it stands first, and would have stood second
    assert not took.any()


def test_places_hold_on_average_and_are_drawn_anew() -> None:
    boost, users = Boost(share=0.05), np.arange(20_000)
    first, second = (boost.places(10, users, moment, 0) for moment in (0, 1))
    assert set(first) == {0, 1}
    assert first.mean() == pytest.approx(0.5, abs=0.02)
    assert np.mean(first != second) == pytest.approx(0.5, abs=0.02)


@given(
    arrays(np.float32, (5, 12), elements=st.floats(-5, 5, width=32)),
    arrays(np.float64, 12, elements=st.floats(0, 4)),
    st.integers(1, 6),
    st.lists(st.integers(0, 6), min_size=5, max_size=5),
)
def test_budget_and_order(scores, bonus, k, places) -> None:
    scores[:, 0] = -np.inf  # nobody may be shown the first
    items, took = boosted_lists(scores, bonus, k, np.array(places))
    own = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    for row in range(5):
        assert len(set(items[row])) == k
        assert 0 not in items[row]
        lifted = set(items[row]) - set(own[row])
        assert lifted == set(items[row][took[row]])
        assert len(lifted) <= places[row]
        kept = k - len(lifted)
        assert set(own[row][:kept]) == set(items[row]) - lifted  # the worst made room


@pytest.mark.parametrize(
    "keys", [{"strength": -1.0}, {"share": 1.5}, {"half": 0.0}, {"budget": -1}]
)
def test_refusals(keys) -> None:
    with pytest.raises(ConfigError, match="0 <= share <= 1"):
        Boost(**keys)
