"""Evaluation sums of single clients as integers, and the sum of many back again."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedrec.errors import ConfigError, ModelError
from fedrec.evaluation.bootstrap import largest_weight, poisson_weights
from fedrec.evaluation.encoding import (
    COUNTS,
    MOMENTS,
    REPLICATES,
    VALUES,
    WEIGHTS,
    Encoded,
    Sizes,
    SumsLayout,
    decode_sums,
    encode_clients,
)
from fedrec.evaluation.reduction import UserValues, sum_up
from fedrec.evaluation.sums import EvaluationSums, group_means, intervals, means

LAYOUT = SumsLayout(
    metrics=("full.hr@10", "full.ndcg@10"),
    protocols=("full",),
    groups=("g=a", "g=b"),
    num_items=4,
    moments=True,
    replicates=0,
    sizes=Sizes(3.0, 3, 3.0),
    num_clients=8,
)


def users(number: int, seed: int = 0) -> UserValues:
    rng = np.random.default_rng(seed)
    hits = (rng.random(number) < 0.4).astype(np.float64)
    metrics = {"full.hr@10": hits, "full.ndcg@10": hits * rng.random(number)}
    listed_by = np.repeat(np.arange(number), 2)
    listed = np.concatenate([rng.permutation(4)[:2] for _ in range(number)] or [np.zeros(0, int)])
    return UserValues(np.arange(number), metrics, {"full": np.ones(number)}, listed_by, listed)


def members(number: int, seed: int = 1) -> dict[str, np.ndarray]:
    in_a = (np.random.default_rng(seed).random(number) < 0.5).astype(np.int32)
    return {"g=a": in_a, "g=b": 1 - in_a}


def plain(values: UserValues, groups: dict[str, np.ndarray], bootstrap: int) -> EvaluationSums:
    return sum_up(values, bootstrap, 4, groups)


def add(encoded: list[Encoded], layout: SumsLayout) -> dict[str, np.ndarray]:
    """The sum as a session would give it, in the ring of each vector."""
    totals = {}
    for vector in layout.vectors():
        total = sum((e[vector.name] for e in encoded), np.zeros(vector.length, np.uint64))
        totals[vector.name] = total & np.uint64(2**vector.width - 1)
        assert vector.bound is not None
        assert all(int(e[vector.name].max()) <= vector.bound for e in encoded)
        assert all(len(e[vector.name]) == vector.length for e in encoded)
    return totals


def through(
    values: UserValues, owner: np.ndarray, clients: int, layout: SumsLayout, bootstrap: int = 0
) -> EvaluationSums:
    groups = members(len(values.users))
    encoded = list(encode_clients(values, owner, clients, groups, layout))
    assert len(encoded) == clients
    return decode_sums(add(encoded, layout), layout, replicates=bootstrap)


def test_one_client_by_hand() -> None:
    one = UserValues(
        np.array([0, 1]),
        {"full.hr@10": np.array([1.0, 0.0]), "full.ndcg@10": np.array([0.5, 0.0])},
        {"full": np.ones(2)},
        np.array([0, 0, 1]),
        np.array([1, 3, 3]),
    )
    groups = {"g=a": np.array([1, 0]), "g=b": np.array([0, 0])}
    (encoded,) = encode_clients(one, np.zeros(2, np.int64), 1, groups, LAYOUT)
    unit = 2**32
    assert encoded[VALUES].tolist() == [unit, unit // 2, unit, unit // 2, 0, 0]
    assert encoded[COUNTS].tolist() == [2, 0, 1, 0, 2, 1, 0]
    # hr*hr, hr*ndcg, hr*n, ndcg*ndcg, ndcg*n, n*n
    moments = [unit, unit // 2, unit, unit // 4, unit // 2, 2 * unit]
    assert encoded[MOMENTS].tolist() == moments


@given(st.integers(0, 20), st.integers(0, 1000))
def test_the_sum_is_the_plain_one(number: int, seed: int) -> None:
    values = users(number, seed)
    owner = np.random.default_rng(seed).integers(0, 8, number)
    size = int(np.bincount(owner, minlength=1).max())
    layout = replace(LAYOUT, sizes=Sizes(float(size), size, float(size)))
    found, expected = through(values, owner, 8, layout), plain(values, members(number), 0)
    assert found.counts == expected.counts
    assert found.recommended.tolist() == expected.recommended.tolist()
    assert found.values == pytest.approx(expected.values, abs=8 * 2.0**-33)
    assert found.groups == pytest.approx(expected.groups, abs=8 * 2.0**-33)
    assert means(found) == pytest.approx(means(expected), abs=1e-6)
    assert group_means(found).keys() == group_means(expected).keys()


def test_replicates_that_travel_are_the_plain_ones() -> None:
    values = users(8)
    layout = replace(LAYOUT, moments=False, replicates=50)
    found, expected = through(values, np.arange(8), 8, layout, 50), plain(values, members(8), 50)
    assert set(layout.lengths) == {VALUES, COUNTS, REPLICATES, WEIGHTS}
    for name, row in expected.replicates.items():
        np.testing.assert_allclose(found.replicates[name], row, atol=8 * layout.step(REPLICATES))
    assert np.array_equal(found.replicate_counts["full"], expected.replicate_counts["full"])
    for name, (low, high) in intervals(expected).items():
        assert intervals(found)[name] == pytest.approx((low, high), abs=1e-5)


def test_replicates_that_travel_give_every_client_away() -> None:
    """The reason for the moments: known weights, so the server solves for single users."""
    number = 40
    values = users(number, seed=7)
    layout = replace(LAYOUT, moments=False, replicates=60, num_clients=number)
    found = through(values, np.arange(number), number, layout, 60)
    weights = poisson_weights(np.arange(number), 60)
    solved, *_ = np.linalg.lstsq(weights.T, found.replicates["full.hr@10"], rcond=None)
    assert np.array_equal(np.rint(solved), values.metrics["full.hr@10"])


def test_replicates_from_moments_have_the_spread_of_the_bootstrap() -> None:
    number = 400
    values = users(number, seed=5)
    layout = replace(LAYOUT, num_clients=number)
    found = through(values, np.arange(number), number, layout, 4000)
    expected = plain(values, members(number), 4000)
    for name in LAYOUT.metrics:
        mine, theirs = found.replicates[name], expected.replicates[name]
        assert mine.std() == pytest.approx(theirs.std(), rel=0.06)
        low, high = intervals(found)[name]
        assert (low, high) == pytest.approx(intervals(expected)[name], abs=0.01)
    joint = [np.corrcoef(s.replicates["full.hr@10"], s.replicate_counts["full"])[0, 1]
             for s in (found, expected)]  # fmt: skip
    assert joint[0] == pytest.approx(joint[1], abs=0.05)


def test_drawn_replicates_stay_in_range_and_repeat() -> None:
    values = users(5, seed=2)
    one, two = (through(values, np.arange(5), 5, LAYOUT, 500) for _ in range(2))
    for name, row in one.replicates.items():
        assert np.array_equal(row, two.replicates[name])
        assert (row >= 0).all()
        assert (row <= one.replicate_counts["full"]).all()
    assert through(values, np.arange(5), 5, LAYOUT, 0).replicates == {}


def test_the_interval_of_two_seeds_is_over_the_same_users() -> None:
    """Two seeds that nearly agree are as uncertain together as each is alone."""
    number = 400
    first = users(number, seed=5)
    rng = np.random.default_rng(8)
    changed = {n: np.where(rng.random(number) < 0.05, 1 - v, v) for n, v in first.metrics.items()}
    layout = replace(LAYOUT, num_clients=number)
    one, two = (
        through(values, np.arange(number), number, layout, 2000)
        for values in (first, replace(first, metrics=changed))
    )
    for name in LAYOUT.metrics:
        (low, high), (alone_low, alone_high) = (intervals(s)[name] for s in (one + two, one))
        assert high - low == pytest.approx(alone_high - alone_low, rel=0.1)


def test_larger_values_than_agreed_are_cut() -> None:
    values = users(6, seed=2)
    layout = replace(LAYOUT, sizes=Sizes(1.0, 1, 1.0))
    found = through(values, np.zeros(6, np.int64), 1, layout)
    assert found.counts == {"full": 1.0}
    assert found.values["full.hr@10"] <= 1.0


def test_validation_sends_sums_and_counts_only() -> None:
    layout = replace(LAYOUT, groups=(), num_items=0, moments=False)
    assert layout.lengths == {VALUES: 2, COUNTS: 1}


def test_rings_hold_the_largest_sum() -> None:
    layout = replace(LAYOUT, moments=False, replicates=9, num_clients=1000)
    widths = {vector.name: vector.width for vector in layout.vectors()}
    assert widths[VALUES] == (1000 * 3 * 2**32).bit_length()
    assert widths[REPLICATES] == (1000 * 3 * largest_weight() * 2**19).bit_length()
    assert widths[COUNTS] == (1000 * 3).bit_length()


def test_a_very_large_sum_costs_bits_and_then_is_refused() -> None:
    assert replace(LAYOUT, num_clients=2**29).bits[VALUES] == 32
    assert replace(LAYOUT, num_clients=2**35).bits[VALUES] == 26
    with pytest.raises(ConfigError, match=r"leave 9 of 64 bits .* evaluate fewer clients"):
        replace(LAYOUT, num_clients=2**52).vectors()


def test_other_metrics_than_agreed_are_an_error() -> None:
    with pytest.raises(ModelError, match=r"evaluation measured full.hr@10.*were agreed"):
        list(encode_clients(users(2), np.arange(2), 2, members(2), replace(LAYOUT, metrics=())))
