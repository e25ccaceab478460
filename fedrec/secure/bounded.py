"""Rounding of vectors whose L2 norm must stay within a bound, after rounding too.

Stochastic rounding lengthens a vector: by about a quarter of a squared step for every
element.  Bounding the worst case would cost a factor of two and more in small steps, so
a vector is shortened to what it most likely needs and rounded again until it is within
the bound: conditional rounding (Kairouz, Liu and Steinke, ICML 2021, proposition 22).  The
bound holds always; the price is a small bias.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from fedrec.errors import ConfigError
from fedrec.secure.quantise import FixedPoint, encode
from fedrec.secure.shamir import Entropy

TRIES = 100
"""Roundings before a vector is rounded towards zero, which always fits."""

Real = Mapping[str, NDArray[np.float64]]
Schemes = Mapping[str, FixedPoint]


def room(schemes: Schemes, sizes: Mapping[str, int], norm: float) -> float:
    """Return the norm that is left for vectors before rounding.

    With one step for all of them, d elements and the bound c, it is the r of
    r^2 + d step^2 / 4 + step (r + step sqrt(d) / 2) = c^2; once in two or three roundings
    or more often the bound is then kept.

    Args:
        schemes: vector name -> how its elements become integers.
        sizes: vector name -> number of elements.
        norm: the bound on all vectors together.

    Raises:
        ConfigError: if nothing is left.
    """
    steps = {name: schemes[name].step for name in sizes}
    largest = max(steps.values(), default=0.0)
    error = np.sqrt(sum(step**2 * sizes[name] for name, step in steps.items())) / 2
    left = norm**2 - error**2 - largest * error
    if left <= 0:
        bits = min(scheme.bits for scheme in schemes.values())
        raise ConfigError(
            f"rounding to secure.bits = {bits} changes an update by about {error:.3g}, and "
            f"privacy.clip = {norm:g} bounds all of it: raise secure.bits, or lower secure.clip "
            "and secure.weight_clip"
        )
    return float(np.sqrt(largest**2 / 4 + left) - largest / 2)


def room_in_sum(schemes: Schemes, sizes: Mapping[str, int], norm: float) -> float:
    """Return the norm of one part of a sum, so that it moves the rounded sum by `norm` at most.

    A merchant rounds the sum of its customers by draws that know nothing of it.  With the same
    draws each of d elements moves by less than a step more than the sum does, so that without
    a customer the rounded sum is at most r + step sqrt(d) away, and this is the r.

    Args:
        schemes: vector name -> how its elements become integers.
        sizes: vector name -> number of elements.
        norm: the bound on all vectors together.

    Raises:
        ConfigError: if nothing is left.
    """
    error = float(np.sqrt(sum(schemes[name].step ** 2 * size for name, size in sizes.items())))
    if error >= norm:
        bits = min(scheme.bits for scheme in schemes.values())
        raise ConfigError(
            f"rounding a merchant's sum to secure.bits = {bits} may move it by {error:.3g} for a "
            f"single customer, and privacy.clip = {norm:g} bounds all of that: raise secure.bits, "
            "or lower secure.clip and secure.weight_clip"
        )
    return norm - error


def shorten(real: Real, norm: float) -> None:
    """Scale vectors in place to at most an L2 norm, all of them together."""
    size = np.sqrt(sum(float(part @ part) for part in real.values()))
    factor = norm / max(size, np.finfo(np.float64).tiny)
    if factor < 1.0:
        for part in real.values():
            part *= factor


def round_vectors(
    real: Real,
    weight: int,
    schemes: Schemes,
    norm: float | None = None,
    entropy: Entropy = os.urandom,
) -> dict[str, NDArray[np.uint64]]:
    """Round vectors to integers, zero to the middle of the range.

    Args:
        real: name -> float64 [m].
        weight: multiplies the integers; 1 if there is a norm.
        schemes: vector name -> how.
        norm: what the rounded vectors keep within, all together; they must be shortened
            before.  None: anything.
        entropy: source of the keys of roundings.

    Returns:
        name -> uint64 [m].
    """
    for _ in range(TRIES):
        out = {
            # half a step further, zero is a point of the grid
            name: encode(value + schemes[name].step / 2, weight, schemes[name], entropy=entropy)
            for name, value in real.items()
        }
        out = {name: integers[:-1] for name, integers in out.items()}
        if norm is None or length(out, schemes) <= norm:
            return out
    return {name: _towards_zero(value, schemes[name]) for name, value in real.items()}


def length(encoded: Mapping[str, NDArray[np.uint64]], schemes: Schemes) -> float:
    """Return the L2 norm of what integers of weight 1 stand for, all vectors together."""
    total = 0.0
    for name, integers in encoded.items():
        away = (integers.astype(np.int64) - 2 ** (schemes[name].bits - 1)).astype(np.float64)
        total += float(away @ away) * schemes[name].step ** 2
    return float(np.sqrt(total))


def _towards_zero(value: NDArray[np.float64], scheme: FixedPoint) -> NDArray[np.uint64]:
    middle = 2 ** (scheme.bits - 1)
    whole = np.clip(np.trunc(value / scheme.step), -middle, middle - 1)
    return (whole + middle).astype(np.uint64)
