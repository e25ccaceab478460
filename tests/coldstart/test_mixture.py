"""Weights of a mixture: hand-worked, learnt on validation strangers alone, and by k."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedrec.coldstart.mixture import Choices, fit, learn, mixture
from fedrec.coldstart.strangers import strangers
from fedrec.coldstart.strategy import Strategy
from fedrec.coldstart.users import STRATEGIES, Warm, build
from fedrec.config_coldstart import USER_STRATEGIES, WHOLE
from fedrec.errors import ConfigError, DataError
from fedrec.training.node import init_shared
from tests.coldstart.test_strangers import USERS, config, drawn, made

NAMES = ("popularity", "ease", "segment-popularity")


def test_names_in_the_configuration_are_those_of_the_strategies():
    assert {*STRATEGIES, "mixture"} == set(USER_STRATEGIES)


def test_weights_by_hand():
    """Two strategies, right for three users of four, independently: log odds of 3 for each.

    Their scores differ by 2 and by 1 between two candidates, so w_1 = log(3) / 2 and
    w_2 = log(3), of which 1/3 and 2/3 are left when they sum to one.
    """
    right = np.array([[1, 1]] * 9 + [[1, -1]] * 3 + [[-1, 1]] * 3 + [[-1, -1]], np.float32)
    first = right * np.array([1.0, 0.5], np.float32)
    told = Choices(
        np.stack([first, -first], axis=1), np.zeros((16, 1), np.int64), np.zeros((16, 2), bool)
    )
    assert fit(told) == pytest.approx([1 / 3, 2 / 3], abs=0.02)


def test_what_was_seen_is_no_candidate():
    scores = np.array([[[9.0, -9.0], [1.0, -1.0], [-3.0, 3.0]]], np.float32)
    seen = np.array([[True, False, False]])
    assert fit(Choices(scores, np.array([[1]]), seen)) == pytest.approx([1.0, 0.0])
    assert fit(Choices(scores, np.array([[2]]), seen)) == pytest.approx([0.0, 1.0])


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**20), st.integers(1, 5))
def test_weights_are_a_convex_combination(seed, number):
    rng = np.random.default_rng(seed)
    scores = rng.standard_normal((12, 9, number)).astype(np.float32)
    met = rng.integers(0, 9, (12, 2))
    weights = fit(Choices(scores, met, np.zeros((12, 9), bool)))
    assert (weights >= 0).all()
    assert weights.sum() == pytest.approx(1.0)


@pytest.fixture(scope="module")
def parts():
    setup = made(drawn(0, np.arange(USERS)), config(coldstart__k="0 1 3"))
    return setup, build(Warm(setup, init_shared(setup)), NAMES)


def test_weights_by_k_are_learnt_from_validation_strangers_alone(parts):
    setup, strategies = parts
    weights = learn(setup, strategies)
    assert list(weights) == [0, 1, 3, WHOLE]
    for own in weights.values():
        assert sum(own.values()) == pytest.approx(1.0)
        assert set(own) <= set(NAMES)
    test = set(setup.population.test.users.tolist())
    others = [row for row in drawn(0, np.arange(USERS)) if row[0] not in test]
    replaced = made(others + drawn(7, setup.population.test.users), config(coldstart__k="0 1 3"))
    again = learn(replaced, build(Warm(replaced, init_shared(replaced)), NAMES))
    assert again == weights


def test_each_user_gets_the_weights_of_what_it_has_revealed(parts):
    setup, _ = parts
    width = setup.population.num_items
    rising = np.arange(width, dtype=np.float32)

    def fixed(name: str, scores: np.ndarray) -> Strategy:
        return Strategy(
            name, name, 10, lambda _: lambda users: np.tile(scores, (len(users), 1)), bytes_up=1
        )

    two = {"up": fixed("up", rising), "down": fixed("down", -3 * rising)}
    weights = {0: {"up": 1.0}, 2: {"up": 0.5, "down": 0.5}, WHOLE: {"down": 1.0}}
    mixed = mixture(two, weights)
    z = (rising - rising.mean()) / rising.std()
    for k, expected in ((0, z), (1, z), (2, 0 * z), (3, -z)):
        shown = strangers(setup, "test", k)
        users = shown.test.users[np.diff(shown.indptr)[shown.test.users] == k]
        assert len(users)
        assert mixed.scorer(shown)(users) == pytest.approx(
            np.tile(expected, (len(users), 1)), abs=1e-5
        )
    assert (mixed.bytes_down, mixed.bytes_up) == (20 + 4 * 6, 2)
    assert "up; down" in mixed.privacy


def test_refusals(parts):
    setup, strategies = parts
    with pytest.raises(ConfigError, match="a mixture needs strategies"):
        learn(setup, {})
    late = replace(setup, config=config(coldstart__k="50"))
    with pytest.raises(DataError, match="no validation stranger has 50 interactions"):
        learn(late, strategies)
