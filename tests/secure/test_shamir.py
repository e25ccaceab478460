import itertools
import os
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedrec.errors import ProtocolError
from fedrec.secure import field, shamir


def test_a_line_by_hand() -> None:
    """Threshold 2 over p = 251: secret 7, slope 10."""
    shares = shamir.split(np.array([7]), np.array([[10]]), holders=3, prime=251)
    assert shares.tolist() == [[17], [27], [37]]
    assert field.lagrange((1, 3), 251).tolist() == [
        3 * pow(2, -1, 251) % 251,
        250 * pow(2, -1, 251) % 251,
    ]
    assert shamir.join((1, 3), shares[[0, 2]], 251).tolist() == [7]


def test_all_subsets_of_four_of_seven_recover_and_all_of_three_do_not() -> None:
    secret = field.limbs(os.urandom(32))
    shares = shamir.split(secret, shamir.coefficients(4, field.LIMBS, os.urandom), holders=7)
    for chosen in itertools.combinations(range(7), 4):
        points = [at + 1 for at in chosen]
        assert np.array_equal(shamir.join(points, shares[list(chosen)]), secret)
    for chosen in itertools.combinations(range(7), 3):
        points = [at + 1 for at in chosen]
        assert not np.array_equal(shamir.join(points, shares[list(chosen)]), secret)


@pytest.mark.parametrize("secret", [0, 1, 250])
def test_fewer_than_t_shares_are_exactly_uniform(secret: int) -> None:
    """Over all 251**2 polynomials of degree 2, each pair of shares occurs once."""
    prime = 251
    first, second = (x.reshape(-1) for x in np.meshgrid(np.arange(prime), np.arange(prime)))
    random = np.stack([first, second])
    shares = shamir.split(np.full(prime**2, secret), random, holders=5, prime=prime)
    for a, b in itertools.combinations(range(5), 2):
        pairs = Counter((shares[a] * prime + shares[b]).tolist())
        assert len(pairs) == prime**2
        assert set(pairs.values()) == {1}


@given(st.binary(min_size=32, max_size=32))
def test_limbs_are_the_secret(secret: bytes) -> None:
    cut = field.limbs(secret)
    assert sum(int(x) << 15 * i for i, x in enumerate(cut)) == int.from_bytes(secret, "little")
    assert field.from_limbs(cut) == secret


@pytest.mark.parametrize(("at", "value"), [(0, 2**15), (3, field.PRIME - 1), (17, 2)])
def test_limbs_of_no_secret_are_refused(at: int, value: int) -> None:
    cut = field.limbs(bytes(32))
    cut[at] = value
    with pytest.raises(ProtocolError, match="do not belong together"):
        field.from_limbs(cut)


@given(st.lists(st.integers(0, field.PRIME - 1), min_size=4, max_size=4), st.integers(0, 2**32))
def test_the_field_is_a_field(values: list[int], seed: int) -> None:
    x = np.array([v or 1 for v in values])
    assert (field.inverse(x) * x % field.PRIME == 1).all()
    draw = np.random.default_rng(seed)
    a, b = draw.integers(0, field.PRIME, (3, 50)), draw.integers(0, field.PRIME, (50, 2))
    exact = [
        [
            sum(int(p) * int(q) for p, q in zip(row, column, strict=True)) % field.PRIME
            for column in b.T
        ]
        for row in a
    ]
    assert field.multiply(a, b).tolist() == exact


def test_products_of_the_largest_elements_are_exact() -> None:
    top = np.full((1, 2**16), field.PRIME - 1)
    assert field.multiply(top, top.T).tolist() == [[2**16 % field.PRIME]]


def test_rejection_leaves_out_the_words_that_would_bias() -> None:
    limit = 2**32 // field.PRIME * field.PRIME
    words = np.array([0, limit - 1, limit, 2**32 - 1], np.uint32)
    assert field.uniform(words).tolist() == [0, field.PRIME - 1]


def test_coefficients_are_drawn_again_after_rejection() -> None:
    calls = []

    def entropy(size: int) -> bytes:
        calls.append(size)
        return b"\xff" * 4 + bytes(size - 4) if len(calls) == 1 else b"\5\0\0\0" * (size // 4)

    drawn = shamir.coefficients(3, 2, entropy)
    assert calls == [16, 4]
    assert drawn.tolist() == [[0, 0], [0, 5]]


def test_weights_for_many_points_recover_a_constant() -> None:
    points = tuple(range(1, 300))
    assert int(field.lagrange(points).sum() % field.PRIME) == 1
