"""Shapley values against values worked out by hand, and what must hold for every game."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fedrec.contribution.game import (
    draw_orders,
    everyone,
    leave_one_out,
    members_of,
    sampled_shapley,
    shapley,
    table_of,
)

games = st.integers(1, 5).flatmap(
    lambda n: arrays(np.float64, 2**n, elements=st.floats(-10, 10, width=32))
)


def gloves(coalition):
    """Merchant 0 has a left glove, 1 and 2 a right one each; only pairs are worth something."""
    return 1.0 if 0 in coalition and coalition & {1, 2} else 0.0


def utility_of(table):
    def utility(coalition):
        return float(table[sum(1 << i for i in coalition)])

    return utility


def test_gloves_by_hand():
    """Of six orders the left glove completes a pair in four, each right one in one."""
    np.testing.assert_allclose(shapley(table_of(gloves, 3)), [2 / 3, 1 / 6, 1 / 6])
    np.testing.assert_array_equal(leave_one_out(gloves, 3), [1.0, 0.0, 0.0])


def test_three_shops_by_hand():
    """v(0) = 1, v(1) = 2, v(01) = 4, 2 adds 3 to a coalition with 0 only.

    2: it comes after 0 in half of all orders, so 1.5.  0 alone adds 1 or 2 with 1 (as 4 - 2),
    and 3 more if 2 is there already, in half of all orders: 1.5 + 1.5.  1 adds 2 or 4 - 1: 2.5.
    """
    value = {(): 0, (0,): 1, (1,): 2, (0, 1): 4, (2,): 0, (0, 2): 4, (1, 2): 2, (0, 1, 2): 7}
    table = table_of(lambda s: float(value[tuple(sorted(s))]), 3)
    np.testing.assert_allclose(shapley(table), [3.0, 2.5, 1.5])


def test_of_an_additive_game_values_are_its_weights():
    weights = np.array([0.5, -1.0, 2.0, 0.0])
    table = table_of(lambda s: 3.0 + sum(weights[i] for i in s), 4)
    np.testing.assert_allclose(shapley(table), weights)
    np.testing.assert_allclose(leave_one_out(utility_of(table), 4), weights)
    found = sampled_shapley(utility_of(table), draw_orders(0, 1, 4, 3))
    np.testing.assert_allclose(found.values, weights)
    np.testing.assert_allclose(found.errors, 0.0, atol=1e-12)


def test_members_are_the_bits_of_a_coalition_s_number():
    assert members_of(0b1011, 4) == {0, 1, 3}
    assert members_of(2**4 - 1, 4) == everyone(4)


@given(games)
def test_values_add_up_to_what_all_have(table):
    assert shapley(table).sum() == pytest.approx(table[-1] - table[0], abs=1e-6)


@given(games)
def test_who_adds_nothing_gets_nothing(table):
    """One more merchant who changes nothing: its value is 0, the others' stay."""
    doubled = np.concatenate([table, table])  # the last bit does not matter
    values = shapley(doubled)
    assert values[-1] == pytest.approx(0.0, abs=1e-9)
    np.testing.assert_allclose(values[:-1], shapley(table), atol=1e-6)


@given(games.filter(lambda t: len(t) >= 4))
def test_merchants_that_add_alike_get_alike(table):
    number = np.arange(len(table))
    swapped = (number & ~3) | (number & 1) << 1 | (number >> 1 & 1)
    values = shapley((table + table[swapped]) / 2)  # merchants 0 and 1 are interchangeable
    assert values[0] == pytest.approx(values[1], abs=1e-6)


@settings(max_examples=30)
@given(games)
def test_all_orders_give_the_exact_values(table):
    players = len(table).bit_length() - 1
    orders = [np.array(order, np.int64) for order in permutations(range(players))]
    found = sampled_shapley(utility_of(table), orders)
    np.testing.assert_allclose(found.values, shapley(table), atol=1e-6)
    assert found.evaluations == len(table)


def test_several_games_at_once():
    tables = np.random.default_rng(0).random((8, 2))
    both = shapley(tables)
    assert both.shape == (3, 2)
    np.testing.assert_allclose(both[:, 1], shapley(tables[:, 1]))


def test_an_order_is_cut_off_near_the_whole():
    asked = []

    def utility(coalition):
        asked.append(coalition)
        return 1.0 if coalition else 0.0

    found = sampled_shapley(utility, [np.array([2, 0, 1])], tolerance=0.01)
    np.testing.assert_array_equal(found.values, [0.0, 0.0, 1.0])
    assert asked == [everyone(3), frozenset(), frozenset({2})]


def test_standard_errors_tell_how_far_off_values_are():
    rng = np.random.default_rng(1)
    table = rng.random(2**6)
    truth, inside = shapley(table), []
    for number in range(60):
        found = sampled_shapley(utility_of(table), draw_orders(7, number, 6, 40))
        inside.append(np.abs(found.values - truth) < 2 * found.errors)
    assert 0.88 < np.mean(inside) < 0.99


def test_orders_are_addressed_and_uniform():
    first = draw_orders(3, 1, 4, 2000)
    np.testing.assert_array_equal(first[5], draw_orders(3, 1, 4, 6)[5])
    assert any((a != b).any() for a, b in zip(first, draw_orders(3, 2, 4, 2000), strict=True))
    lead = np.bincount([order[0] for order in first], minlength=4) / 2000
    np.testing.assert_allclose(lead, 0.25, atol=0.04)
