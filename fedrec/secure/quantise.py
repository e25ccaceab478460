"""Real vectors as integers of the ring, without bias, and back.

Clip to an L2 norm, then element by element; map [-clip, clip] to 0 .. 2**bits - 1;
round up with a probability equal to the fraction, so that the expectation is the
value itself.  The generator of these roundings is a keystream of AES-256 with a
fresh key: roundings that an observer could predict would leak.  The weight of a
client multiplies its integers and travels as one more element.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fedrec.errors import ConfigError, DataError, ModelError
from fedrec.secure.agreement import KEY_BYTES
from fedrec.secure.masks import keystream
from fedrec.secure.plan import Vector, check_overflow, ring_width
from fedrec.secure.shamir import Entropy

MAX_BITS = 32


@dataclass(frozen=True)
class FixedPoint:
    """How real numbers become integers.

    Attributes:
        bits: b: elements take 2**b values.  1 to 32.
        clip: c: elements are clipped to [-c, c].
        max_weight: largest weight of a client, a positive integer.
        l2: the whole vector is first scaled down to this L2 norm; None leaves it.
    """

    bits: int
    clip: float
    max_weight: int = 1
    l2: float | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.bits <= MAX_BITS:
            raise ConfigError(f"secure.bits must be between 1 and {MAX_BITS}, got {self.bits}")
        if not (np.isfinite(self.clip) and self.clip > 0):
            raise ConfigError(f"the clip of an element must be positive, got {self.clip}")
        if self.max_weight < 1:
            raise ConfigError(f"the largest weight must be at least 1, got {self.max_weight}")
        if self.l2 is not None and not self.l2 > 0:
            raise ConfigError(f"the clip of the L2 norm must be positive, got {self.l2}")

    @property
    def step(self) -> float:
        """Distance of two neighbouring values: a client's error is below it, element by element."""
        return 2 * self.clip / (2**self.bits - 1)

    @property
    def bound(self) -> int:
        """Largest element of one client: (2**bits - 1) * max_weight."""
        return (2**self.bits - 1) * self.max_weight

    def vector(self, name: str, length: int, num_clients: int, width: int | None = None) -> Vector:
        """Describe the masked vector of `length` real elements and a weight.

        Args:
            name: its name.
            length: m, number of real elements.
            num_clients: n, the most clients in a sum.
            width: bits of the ring; None for the fewest that are enough.

        Returns:
            A vector of m + 1 elements.

        Raises:
            ConfigError: if n * (2**bits - 1) * max_weight is not below 2**width.
        """
        if width is None:
            width = ring_width(num_clients, self.bound)
        check_overflow(num_clients, self.bound, width)
        return Vector(name, length + 1, width, self.bound)


def encode(
    values: ArrayLike, weight: ArrayLike, scheme: FixedPoint, *, entropy: Entropy = os.urandom
) -> NDArray[np.uint64]:
    """Turn real vectors and weights into integers.

    Args:
        values: float [m] or [C, m], finite.
        weight: int, scalar or [C], in 0..max_weight.
        scheme: how.
        entropy: source of the key of the roundings: the operating system, except in tests.

    Returns:
        uint64 [m + 1] or [C, m + 1]: weight * quantised values, and the weight.

    Raises:
        ModelError: if a value is not finite.
        DataError: if a weight is out of range.
    """
    real = np.asarray(values, np.float64)
    whole = np.asarray(weight)
    if not np.isfinite(real).all():
        raise ModelError("an update holds values that are not finite: lower the learning rate")
    if whole.dtype.kind not in "ui" or (whole < 0).any() or (whole > scheme.max_weight).any():
        raise DataError(
            f"weights must be integers between 0 and {scheme.max_weight}, the largest weight"
        )
    scaled = np.clip(_shrink(real, scheme.l2), -scheme.clip, scheme.clip) + scheme.clip
    levels = _round(scaled / scheme.step, 2**scheme.bits - 1, entropy(KEY_BYTES))
    weights = np.broadcast_to(whole, real.shape[:-1]).astype(np.uint64)[..., None]
    return np.concatenate([levels * weights, weights], axis=-1)


def decode(total: NDArray, scheme: FixedPoint) -> tuple[NDArray[np.float64], int]:
    """Turn a sum of encoded vectors into the weighted sum of the real ones.

    Its error is below step * sum of weights in each element, with expectation zero.

    Args:
        total: unsigned integers [m + 1], the sum over clients of `encode`.
        scheme: how they were encoded.

    Returns:
        float64 [m], the sum of weight * clipped values; and the sum of weights.
    """
    weight = int(total[-1])
    return total[:-1].astype(np.float64) * scheme.step - scheme.clip * weight, weight


def _shrink(real: NDArray[np.float64], l2: float | None) -> NDArray[np.float64]:
    """Scale vectors with a larger L2 norm down to it."""
    if l2 is None:
        return real
    norm = np.sqrt(np.square(real).sum(axis=-1, keepdims=True))
    return real * np.minimum(1.0, l2 / np.maximum(norm, np.finfo(np.float64).tiny))


def _round(scaled: NDArray[np.float64], top: int, key: bytes) -> NDArray[np.uint64]:
    """Round to an integer up or down, up with a probability equal to the fraction."""
    words = np.frombuffer(keystream(key, 4 * scaled.size), "<u4").reshape(scaled.shape)
    return round_randomly(scaled, top, words)


def round_randomly(
    scaled: NDArray[np.float64], top: int, words: NDArray[np.uint32]
) -> NDArray[np.uint64]:
    """Round to an integer up or down, up with a probability equal to the fraction.

    Args:
        scaled: float64, any shape, in 0..top.
        top: largest integer.
        words: uint32 of the same shape, uniform.

    Returns:
        uint64 of the same shape; its expectation is `scaled`.
    """
    low = np.floor(scaled)
    up = words < (scaled - low) * 2.0**32
    return np.clip(low + up, 0, top).astype(np.uint64)
