"""Payments, worked out by hand, and what holds for all of them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fedrec.contribution.payments import NOBODY, NOTHING, settle

numbers = st.integers(2, 8).flatmap(
    lambda n: st.tuples(
        *[arrays(np.float64, n, elements=st.floats(-5, 5, width=32)) for _ in range(2)]
    )
)


def test_payments_by_hand():
    """Gains .06, .03, .01 are 60, 30, 10 parts; contributions 1, 3, 0 bring 25, 75, 0."""
    found = settle(np.array([0.06, 0.03, 0.01]), np.array([1.0, 3.0, -2.0]), ["a", "b", "c"])
    np.testing.assert_allclose(found.gains, [0.6, 0.3, 0.1])
    np.testing.assert_allclose(found.shares, [0.25, 0.75, 0.0])
    np.testing.assert_allclose(found.transfers, [-0.35, 0.45, -0.1])
    assert "pay: a 35 and c 10;" in found.sentence
    assert "are paid: b 45." in found.sentence


def test_who_gains_what_it_brings_pays_nothing():
    found = settle(np.array([2.0, 1.0]), np.array([20.0, 10.0]), ["a", "b"])
    np.testing.assert_allclose(found.transfers, 0.0, atol=1e-12)
    assert "nobody pays" in found.sentence


def test_without_gain_nobody_pays():
    found = settle(np.array([0.1, -0.2]), np.array([1.0, 1.0]), ["a", "b"])
    assert found.sentence == NOTHING
    assert not found.transfers.any()
    found = settle(np.array([0.1, 0.2]), np.array([-1.0, -1.0]), ["a", "b"])
    assert found.sentence == NOBODY
    assert not found.transfers.any()


@given(numbers)
def test_what_is_paid_is_received(both):
    gains, contributions = both
    names = [f"shop-{i}" for i in range(len(gains))]
    found = settle(gains, contributions, names)
    assert found.transfers.sum() == pytest.approx(0.0, abs=1e-6 * (1 + np.abs(found.gains).max()))
    assert set(found.to_json()) == {"gains", "shares", "transfers", "sentence"}
