import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedrec.errors import ConfigError, DataError, ModelError
from fedrec.secure import FixedPoint, decode, encode, simulate


def test_exact_levels_by_hand() -> None:
    """2 bits over [-3, 3]: the levels 0, 1, 2, 3 stand for -3, -1, 1, 3."""
    scheme = FixedPoint(bits=2, clip=3.0, max_weight=5)
    assert scheme.step == 2.0
    assert scheme.bound == 15
    coded = encode(np.array([-3.0, -1.0, 1.0, 3.0, 9.0, -9.0]), 5, scheme)
    assert coded.tolist() == [0, 5, 10, 15, 15, 0, 5]
    values, weight = decode(coded, scheme)
    assert values.tolist() == [-15.0, -5.0, 5.0, 15.0, 15.0, -15.0]
    assert weight == 5


def test_the_l2_norm_is_clipped_first() -> None:
    scheme = FixedPoint(bits=32, clip=1.0, l2=0.5)
    values, _ = decode(encode(np.array([3.0, 4.0]), 1, scheme), scheme)
    assert np.allclose(values, [0.3, 0.4], atol=1e-8)
    values, _ = decode(encode(np.zeros(2), 1, scheme), scheme)
    assert np.allclose(values, 0, atol=1e-8)


@pytest.mark.parametrize("bits", [1, 4, 8, 16])
def test_no_bias_over_a_million_draws(bits: int) -> None:
    scheme, draws = FixedPoint(bits, clip=1.0), 10**6
    for value in (-0.777, 0.1234, 0.9999):
        got, _ = decode(encode(np.full(draws, value), 1, scheme), scheme)
        spread = np.sqrt(got.var() / draws)
        assert abs(got.mean() - value) < 4 * spread + 1e-12
        assert np.abs(got - value).max() < scheme.step


@given(st.integers(1, 32), st.integers(1, 1000), st.integers(0, 2**31))
def test_a_sum_is_within_a_step_for_each_unit_of_weight(
    bits: int, max_weight: int, seed: int
) -> None:
    scheme, draw = FixedPoint(bits, 0.5, max_weight), np.random.default_rng(seed)
    values = draw.normal(0, 0.5, (4, 7))
    weights = draw.integers(0, max_weight + 1, 4)
    coded = encode(values, weights, scheme)
    assert coded.shape == (4, 8)
    assert int(coded.max()) <= scheme.bound
    total, weight = decode(coded.sum(axis=0), scheme)
    assert weight == weights.sum()
    right = (np.clip(values, -0.5, 0.5) * weights[:, None]).sum(axis=0)
    assert (np.abs(total - right) <= scheme.step * weight + 1e-6 * (1 + weight)).all()


def test_a_weighted_mean_through_the_protocol() -> None:
    draw = np.random.default_rng(0)
    scheme = FixedPoint(bits=16, clip=1.0, max_weight=50)
    vector = scheme.vector("update", 20, num_clients=6)
    assert (vector.length, vector.width, vector.bound) == (21, 25, 65535 * 50)
    values, weights = draw.uniform(-1, 1, (6, 20)), np.array([1, 50, 3, 7, 0, 11])
    result = simulate(encode(values, weights, scheme))
    total, weight = decode(result.total, scheme)
    right = (values * weights[:, None]).sum(axis=0) / weights.sum()
    assert weight == 72
    assert np.abs(total / weight - right).max() < scheme.step


def test_the_overflow_rule_is_a_refusal() -> None:
    """6 clients * (2**b - 1) * w < 2**32."""
    limit = (2**32 - 1) // (6 * 255)
    assert FixedPoint(8, 1.0, limit).vector("u", 3, 6, width=32).width == 32
    with pytest.raises(ConfigError, match="does not fit into 32 bits"):
        FixedPoint(8, 1.0, limit + 1).vector("u", 3, 6, width=32)
    assert FixedPoint(8, 1.0, limit + 1).vector("u", 3, 6).width == 33
    with pytest.raises(ConfigError, match="does not fit into 64 bits"):
        FixedPoint(32, 1.0, 2**31).vector("u", 3, 6)


def test_roundings_come_from_the_given_source_and_differ() -> None:
    values, scheme = np.full(1000, 0.3), FixedPoint(4, 1.0)
    fixed = [encode(values, 1, scheme, entropy=bytes) for _ in range(2)]
    assert np.array_equal(*fixed)
    assert not np.array_equal(encode(values, 1, scheme), encode(values, 1, scheme))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bits": 0}, "between 1 and 32"),
        ({"bits": 33}, "between 1 and 32"),
        ({"clip": 0.0}, "must be positive"),
        ({"clip": np.inf}, "must be positive"),
        ({"max_weight": 0}, "at least 1"),
        ({"l2": -1.0}, "L2 norm must be positive"),
    ],
)
def test_impossible_schemes_are_refused(options: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        FixedPoint(**{"bits": 8, "clip": 1.0, **options})


def test_bad_values_and_weights_are_refused() -> None:
    scheme = FixedPoint(8, 1.0, 3)
    with pytest.raises(ModelError, match="not finite"):
        encode(np.array([np.nan]), 1, scheme)
    for weight in (4, -1, 1.5):
        with pytest.raises(DataError, match="between 0 and 3"):
            encode(np.zeros(2), weight, scheme)
