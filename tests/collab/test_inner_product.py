"""Products of two hidden matrices: exact, under uniform masks, and refused where they tell."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedrec.collab.inner_product import (
    MOST,
    SCALE_BITS,
    check_people,
    deal,
    encode,
    first_learns,
    first_sends,
    second_sends,
)
from fedrec.errors import ProtocolError


def product(x, y, entropy=None):
    first, second = deal(
        len(x), x.shape[1], y.shape[1], **({"entropy": entropy} if entropy else {})
    )
    masked, told = second_sends(y, second, first_sends(x, first))
    return first_learns(first, masked, told)


def test_a_product_by_hand():
    x, y = np.array([[1.0, 0.0], [2.0, -1.0], [0.5, 4.0]]), np.array([[1.0], [-2.0], [0.25]])
    # 1 - 4 + 0.125 and 2 + 1
    np.testing.assert_allclose(product(x, y), [[-2.875], [3.0]], atol=0)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 30), st.integers(1, 4), st.integers(1, 5), st.integers(0, 2**32))
def test_it_is_the_product_of_the_rounded_matrices_exactly(n, k, d, seed):
    draw = np.random.default_rng(seed)
    x, y = draw.uniform(-MOST, MOST, (n, k)), draw.uniform(-MOST, MOST, (n, d))
    steps = 2.0**SCALE_BITS
    a, b = np.round(x * steps).astype(np.int64), np.round(y * steps).astype(np.int64)
    assert (product(x, y) == (a.T @ b) / steps**2).all()


def test_the_largest_numbers_of_many_people_still_fit():
    many = np.full((1 << 12, 1), MOST)
    assert product(many, -many)[0, 0] == -(MOST**2) * (1 << 12)


def test_what_travels_does_not_depend_on_what_is_hidden_but_by_its_mask():
    """With the same masks, messages of two secrets differ by the secrets: a one-time pad."""
    fixed = np.random.default_rng(0)
    words = {}

    def entropy(number):
        return words.setdefault(len(words), fixed.bytes(number))

    first, second = deal(2, 1, 1, entropy)
    one, other = np.array([[1.0], [2.0]]), np.array([[-3.0], [5.0]])
    gap = first_sends(one, first) - first_sends(other, first)
    assert (gap == encode(one) - encode(other)).all()
    again, _ = deal(2, 1, 1)
    assert (again.mask != first.mask).all()
    assert "mask" not in repr(again)  # secrets are not shown
    bits = np.unpackbits(deal(4000, 4, 4)[0].mask.view(np.uint8))
    assert abs(bits.mean() - 0.5) < 0.005


def test_the_dealers_shares_add_up():
    first, second = deal(50, 3, 2)
    assert (first.share + second.share == first.mask.T @ second.mask).all()


def test_what_would_tell_or_break_is_refused():
    with pytest.raises(ProtocolError, match=r"11 people are common.*3 columns.*expected 12"):
        check_people(11, 3)
    check_people(12, 3)
    with pytest.raises(ProtocolError, match="too many"):
        check_people(1 << 19, 1)
    for bad in (np.nan, np.inf, MOST + 1):
        with pytest.raises(ProtocolError, match="finite numbers of at most 64"):
            encode(np.array([bad]))
    first, second = deal(5, 2, 3)
    with pytest.raises(ProtocolError, match="expected a masked matrix of 5 rows and 2 columns"):
        second_sends(np.zeros((5, 3)), second, np.zeros((4, 2), np.uint64))
    with pytest.raises(ProtocolError, match="do not fit"):
        first_learns(first, np.zeros((5, 3), np.uint64), np.zeros((1, 3), np.uint64))
