"""Skellam noise: exact to 100 bits and more, from a cryptographic keystream.

A Skellam number of variance v is the difference of two Poisson numbers of mean v / 2:
P(X = k) = exp(-v) I_k(v), with the modified Bessel function I (Skellam, 1946).  The sum
of independent ones is one again, and variances add.  That is why distributed noise here
is Skellam (Agarwal, Kairouz and Liu, NeurIPS 2021) and not the discrete Gaussian, whose
sums are only close to one: however many clients survive, their sum has exactly the
distribution that is accounted.

Drawn by inversion: the distribution function of |X| is tabulated as integers of 127 bits,
from the recurrence I_{k-1} = I_{k+1} + (2 k / v) I_k, run downwards, where it is stable,
in integer arithmetic.  A draw compares 63 random bits with the upper halves; should they
be equal, 64 more bits decide.  A 64th bit is the sign.

How close: the table ends where less than exp(-100) is left on either side, and all its
roundings together, of at most 2**20 entries, weigh less than 2**-105, so that the total
variation distance of a draw from the exact distribution is below 2**-100.  10**15 draws
stay within 2**-50 of exact ones, which adds that much to delta.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from fedrec.errors import ConfigError
from fedrec.privacy.noise import derive, words

MAX_DEVIATION = 2**16
"""Largest standard deviation that is tabulated, in steps of the grid."""

_TAIL = 100.0  # nats: what is cut off has a probability below exp(-100)
_START = 1 << 128  # the first, smallest term of the recurrence
_BITS = 127
_CHUNK = 1 << 16
_STEPS = 3  # comparisons before the few draws that are left search by bisection


@dataclass(frozen=True, eq=False)
class Table:
    """The distribution of |X|.

    Attributes:
        high: uint64 [K]: upper 63 bits of P(|X| <= k) * 2**127; the last is above all.
        low: uint64 [K]: lower 64 bits.
        guide: int32 [2**m]: for each prefix of m bits, the least k that it can lead to.
        shift: 63 - m.
    """

    high: NDArray[np.uint64]
    low: NDArray[np.uint64]
    guide: NDArray[np.int32]
    shift: int


def skellam(variance: float, key: bytes, size: int) -> NDArray[np.int64]:
    """Return independent Skellam numbers.

    Args:
        variance: of each, in squared steps; 0 gives zeros.
        key: 32 bytes, for this call only.
        size: how many.

    Returns:
        int64 [size].

    Raises:
        ConfigError: if the standard deviation is above `MAX_DEVIATION`.
    """
    if variance == 0:
        return np.zeros(size, np.int64)
    table = tabulate(variance)
    raw = words(key, size)
    out = np.empty(size, np.int64)
    for at in range(0, size, _CHUNK):
        part = raw[at : at + _CHUNK]
        found, ties = _search(table, part >> np.uint64(1))
        if len(ties):
            more = words(derive(key, "ties", at), len(ties))
            for place, lower in zip(ties.tolist(), more.tolist(), strict=True):
                found[place] = _decide(table, int(found[place]), lower)
        sign = 1 - 2 * (part & np.uint64(1)).astype(np.int64)
        np.multiply(found, sign, out=out[at : at + _CHUNK])
    return out


def reach(variance: float, nats: float) -> int:
    """Return a bound that |X| exceeds with a probability below 2 exp(-nats).

    Chernoff: log P(X >= t) <= sqrt(v**2 + t**2) - v - t asinh(t / v).

    Args:
        variance: of X.
        nats: minus the logarithm of the probability of one side.
    """

    def rare(t: int) -> bool:
        # sqrt(v^2 + t^2) - v, written so that nothing cancels
        gained = t * t / (math.hypot(variance, t) + variance)
        return gained - t * math.asinh(t / variance) <= -nats

    high = 1
    while not rare(high):
        high *= 2
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if rare(middle) else (middle, high)
    return high


@lru_cache(maxsize=4)
def tabulate(variance: float) -> Table:
    """Return the table of a variance (cached); takes up to a second for the largest.

    Raises:
        ConfigError: if the variance is not positive or too large.
    """
    if not 0 < variance <= MAX_DEVIATION**2:
        raise ConfigError(
            f"Skellam noise takes a standard deviation above 0 and up to {MAX_DEVIATION} steps of "
            f"the grid, got {math.sqrt(max(variance, 0.0)):.4g}: lower secure.bits"
        )
    cumulative = _cumulative(variance)
    high = np.fromiter((c >> 64 for c in cumulative), np.uint64, len(cumulative))
    low = np.fromiter((c & (2**64 - 1) for c in cumulative), np.uint64, len(cumulative))
    high[-1], low[-1] = 2**64 - 1, 2**64 - 1  # no 63 bits reach it
    size = max(6, math.ceil(math.log2(8.0 * math.sqrt(variance) + 1.0)))
    shift = 63 - size
    prefixes = np.arange(2**size, dtype=np.uint64) << np.uint64(shift)
    guide = np.searchsorted(high, prefixes).astype(np.int32)
    return Table(high, low, guide, shift)


def _cumulative(variance: float) -> list[int]:
    """Return P(|X| <= k) * 2**127, rounded down, for all k that matter."""
    over, under = float(variance).as_integer_ratio()
    last = reach(variance, _TAIL)
    above, here = 0, _START
    terms = []
    for k in range(last, 0, -1):
        terms.append(2 * here)
        above, here = here, above + 2 * k * under * here // over
    terms.append(here)
    sums = list(accumulate(reversed(terms)))
    whole = sums[-1]
    return [(part << _BITS) // whole for part in sums]


def _search(table: Table, drawn: NDArray[np.uint64]) -> tuple[NDArray[np.int64], NDArray[np.intp]]:
    """Return the least k with drawn <= high[k], and the places where they are equal."""
    found = table.guide[drawn >> np.uint64(table.shift)].astype(np.int64)
    left = np.flatnonzero(table.high[found] < drawn)
    for _ in range(_STEPS):
        if not len(left):
            break
        found[left] += 1
        left = left[table.high[found[left]] < drawn[left]]
    if len(left):
        found[left] = np.searchsorted(table.high, drawn[left])
    return found, np.flatnonzero(table.high[found] == drawn)


def _decide(table: Table, k: int, lower: int) -> int:
    """Return the least k whose entry, with an equal upper half, is above the draw."""
    high = table.high[k]
    while table.high[k] == high and int(table.low[k]) <= lower:
        k += 1
    return k
