"""Rényi accounting of distributed Skellam noise.

One round, all its noise together of variance mu, in squared steps of the grid, is Rényi
DP of every integer order a >= 2 with

    a D2^2 / (2 mu) + min(((2 a - 1) D2^2 + 6 D1) / (4 mu^2), 3 D1 / (2 mu))

(Agarwal, Kairouz and Liu, NeurIPS 2021, theorem 3.5), where D1 and D2 bound the L1 and L2
norms of what a client adds.  Integers satisfy D1 <= D2^2, which is all that is used: the
second part is small against the first anyway, unless the grid is very coarse.

Sampling.  Amplification in the usual sense needs a sample that the observer does not
know (Zhu and Wang, ICML 2019, for Rényi DP).  Here it is not to be had: the server draws
the sample itself, and even to others the size of the noise tells how many took part.
What remains holds for every observer: a client that does not take part loses nothing.
Rényi divergences, raised to (a - 1) and exponentiated, are jointly convex, so a client
that takes part with probability q, whatever else is known about the sample, loses

    log(1 - q + q exp((a - 1) R(a))) / (a - 1),

nearly q R(a), not q^2 R(a).  It holds for Poisson samples and for samples of a fixed
size alike, because the client that is taken away keeps its place, with an update of zero.

From Rényi DP to (epsilon, delta): Canonne, Kamath and Steinke (NeurIPS 2020), prop. 12.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

ORDERS = (*range(2, 65), *range(68, 129, 4), *range(144, 257, 16), 320, 384, 512, 768, 1024, 2048)


def skellam_rdp(order: int, noise: float, steps: float) -> float:
    """Return the Rényi divergence of one round of a client that takes part.

    Args:
        order: a, an integer of at least 2.
        noise: standard deviation of all the noise over the clip norm.
        steps: the clip norm in steps of the grid, D2.
    """
    square = steps * steps
    mu = noise * noise * square
    first = order * square / (2.0 * mu)
    second = min(((2 * order - 1) + 6.0) * square / (4.0 * mu * mu), 3.0 * square / (2.0 * mu))
    return first + second


def taking_part(order: int, divergence: float, rate: float) -> float:
    """Return the Rényi divergence for a client that takes part with a probability.

    Args:
        order: a, at least 2.
        divergence: of a client that takes part.
        rate: q, the probability.
    """
    if rate >= 1.0:
        return divergence
    grown = (order - 1) * divergence
    if grown < 700.0:
        return math.log1p(rate * math.expm1(grown)) / (order - 1)
    return (math.log(rate) + grown + (1.0 - rate) / rate * math.exp(-grown)) / (order - 1)


def epsilon_from(spent: Iterable[tuple[int, float]], delta: float) -> float:
    """Return the least epsilon at `delta` that Rényi divergences allow.

    Args:
        spent: (order, divergence of everything so far).
        delta: between 0 and 1.
    """

    def one(order: int, divergence: float) -> float:
        conversion = math.log1p(-1.0 / order) - math.log(delta * order) / (order - 1)
        return divergence + conversion

    return max(0.0, min(one(order, divergence) for order, divergence in spent))


def skellam_epsilon(rounds: Iterable[tuple[float, float, float, int]], delta: float) -> float:
    """Return the epsilon of rounds of Skellam noise.

    Args:
        rounds: (noise multiplier, steps, rate, count), each as above.
        delta: between 0 and 1.
    """
    given = list(rounds)
    spent = []
    for order in ORDERS:
        total = 0.0
        for noise, steps, rate, count in given:
            total += count * taking_part(order, skellam_rdp(order, noise, steps), rate)
        spent.append((order, total))
    return epsilon_from(spent, delta)
