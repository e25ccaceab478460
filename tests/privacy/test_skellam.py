"""Skellam draws: the exact distribution, sums, rare branches, tails, speed."""

from __future__ import annotations

import math
import os
import time
from fractions import Fraction

import numpy as np
import pytest
from scipy.stats import chi2
from scipy.stats import skellam as reference

from fedrec.errors import ConfigError
from fedrec.privacy import skellam as module
from fedrec.privacy.noise import words
from fedrec.privacy.skellam import MAX_DEVIATION, reach, skellam, tabulate

KEY = bytes(range(32))


def pvalue(draws: np.ndarray, variance: float) -> float:
    """Chi-square of counts against the reference distribution, bins of 10 or more expected."""
    edge = int(6 * math.sqrt(variance)) + 3
    values = np.arange(-edge, edge + 1)
    expected = reference.pmf(values, variance / 2, variance / 2) * len(draws)
    counts = np.bincount(np.clip(draws, -edge, edge) + edge, minlength=len(values))
    inner = np.flatnonzero(expected >= 10)
    low, high = inner[0], inner[-1] + 1
    seen = np.concatenate([[counts[:low].sum()], counts[low:high], [counts[high:].sum()]])
    rest = (len(draws) - expected[low:high].sum()) / 2
    want = np.concatenate([[rest], expected[low:high], [rest]])
    keep = want > 1
    return float(chi2.sf(((seen - want)[keep] ** 2 / want[keep]).sum(), keep.sum() - 1))


@pytest.mark.parametrize("variance", [0.05, 1.0, 7.3, 400.0])
def test_the_distribution_is_skellam(variance: float) -> None:
    draws = skellam(variance, KEY, 300_000)
    assert pvalue(draws, variance) > 1e-3
    assert abs(draws.mean()) < 5 * math.sqrt(variance / len(draws))
    fourth = 3 * variance**2 + variance  # E X^4, for the error of the variance
    error = math.sqrt((fourth - variance**2) / len(draws))
    assert abs(draws.var() - variance) < 5 * error


def test_a_wrong_variance_is_told_apart() -> None:
    """The chi-square above is not blind."""
    assert pvalue(skellam(400.0, KEY, 300_000), 410.0) < 1e-3


def test_a_sum_of_shares_is_the_noise_of_the_whole() -> None:
    """Closed under sums: nine shares of variance 4 are one draw of variance 36."""
    shares = [skellam(4.0, os.urandom(32), 100_000) for _ in range(9)]
    assert pvalue(np.sum(shares, 0), 36.0) > 1e-4
    assert abs(np.corrcoef(shares[0], shares[1])[0, 1]) < 5 / math.sqrt(100_000)


@pytest.mark.parametrize("variance", [0.25, 6.0])
def test_the_table_is_exact_to_a_hundred_bits(variance: float) -> None:
    """Against the series I_k(v) = sum (v/2)^(2m+k) / (m! (m+k)!) in exact fractions."""
    table, half = tabulate(variance), Fraction(variance) / 2
    bessel = [
        sum(half ** (2 * m + k) / (math.factorial(m) * math.factorial(m + k)) for m in range(70))
        for k in range(90)
    ]
    whole = bessel[0] + 2 * sum(bessel[1:])
    within = bessel[0]
    for k in range(20):
        entry = int(table.high[k]) << 64 | int(table.low[k])
        assert abs(Fraction(entry, 2**127) - within / whole) < Fraction(1, 2**105)
        within += 2 * bessel[k + 1]


def test_large_variances_follow_the_reference() -> None:
    table = tabulate(1e6)
    k = np.array([0, 10, 500, 1000, 3000])
    mine = table.high[k] / 2.0**63
    # P(|X| <= k) from the normal limit with its first correction, which is enough here
    from scipy.stats import norm

    assert mine == pytest.approx(2 * norm.cdf((k + 0.5) / 1e3) - 1, rel=1e-5)


def test_equal_upper_halves_are_decided_by_more_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    """A draw whose 63 bits equal a threshold: 64 more bits against the lower half."""
    table = tabulate(4.0)
    tie = int(table.high[2]) << 1
    low = int(table.low[2])

    def drawn(more: int) -> int:
        streams = iter([np.array([tie], np.uint64), np.array([more], np.uint64)])
        monkeypatch.setattr(module, "words", lambda key, size: next(streams))
        return int(skellam(4.0, KEY, 1)[0])

    assert drawn(low - 1) == 2
    assert drawn(low) == 3
    assert drawn(low + 1) == 3


def test_far_tails_whose_upper_halves_are_all_equal_are_still_told_apart() -> None:
    """Beyond 2**-63 only the lower halves differ; without them the tail would end there."""
    table = tabulate(4.0)
    equal = np.flatnonzero(table.high[:-1] == 2**63 - 1)
    assert len(equal) > 5
    first, last = int(equal[0]), int(equal[-1])
    assert module._decide(table, first, 0) == first
    assert module._decide(table, first, int(table.low[first + 2])) == first + 3
    assert module._decide(table, first, 2**64 - 1) == last + 1 == len(table.high) - 1


def test_draws_follow_the_thresholds_wherever_they_fall() -> None:
    """The guide and its short cuts give what a search over the whole table gives."""
    table = tabulate(30.0)
    around = np.concatenate([table.high[:-1] - np.uint64(1), table.high[:-1] + np.uint64(1)])
    ends = np.array([0, 1, 2**63 - 1, 2**63 - 2], np.uint64)
    probes = np.concatenate([around, ends, words(KEY, 5000) >> np.uint64(1)])
    probes = probes[probes < 2**63]
    found, ties = module._search(table, probes)
    right = (probes[:, None] > table.high[None, :]).sum(1)
    assert (found == right).all()
    assert set(ties) == set(np.flatnonzero(np.isin(probes, table.high[:-1])))


def test_signs_are_balanced_and_zeros_stay() -> None:
    draws = skellam(1e4, KEY, 100_000)
    assert abs((draws > 0).mean() - (draws < 0).mean()) < 5 / math.sqrt(100_000)
    assert not skellam(0.0, KEY, 10).any()
    assert skellam(3.0, KEY, 0).shape == (0,)


@pytest.mark.parametrize("variance", [0.5, 10.0, 1e4])
def test_the_bound_on_tails_holds_and_is_tight(variance: float) -> None:
    for nats in (5.0, 20.0):
        t = reach(variance, nats)
        tail = reference.sf(t - 1, variance / 2, variance / 2)
        assert tail <= math.exp(-nats)
        assert reference.sf(t // 2 - 1, variance / 2, variance / 2) > math.exp(-nats)


def test_noise_too_wide_for_a_table_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"up to 65536 steps .* lower secure\.bits"):
        skellam((MAX_DEVIATION * 1.01) ** 2, KEY, 3)
    with pytest.raises(ConfigError, match="standard deviation above 0"):
        tabulate(-1.0)


def test_a_round_of_noise_takes_well_under_a_second() -> None:
    """53,824 elements of 100 clients; measured 0.3 s, with room for a busy machine."""
    tabulate(6500.0**2)
    start = time.process_time()
    for _ in range(100):
        skellam(6500.0**2, os.urandom(32), 53_824)
    assert time.process_time() - start < 1.5
