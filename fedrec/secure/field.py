"""Arithmetic in a small prime field, and byte strings as vectors over it.

Secrets of 32 bytes are cut into 18 limbs of 15 bits, each an element of the
field of P = 32771 elements, the smallest prime above 2**15.  Shares of a secret
sharing scheme over this field take two bytes a limb, and products fit in
float64 without rounding, so many shares are one matrix product.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from fedrec.errors import ProtocolError

PRIME = 32771
SECRET_BYTES = 32
LIMB_BITS = 15
LIMBS = 18
"""Limbs of a 32-byte secret: 18 * 15 = 270 bits, of which 256 are used."""


def limbs(secret: bytes) -> NDArray[np.int64]:
    """Cut 32 bytes into limbs, the least significant bits first.

    Returns:
        int64 [18], each below 2**15.
    """
    bits = np.zeros(LIMBS * LIMB_BITS, np.int64)
    bits[: 8 * SECRET_BYTES] = np.unpackbits(np.frombuffer(secret, np.uint8), bitorder="little")
    return bits.reshape(LIMBS, LIMB_BITS) @ (1 << np.arange(LIMB_BITS))


def from_limbs(values: NDArray[np.int64]) -> bytes:
    """Join limbs to the 32 bytes that `limbs` has cut.

    Raises:
        ProtocolError: if the limbs are not those of any 32 bytes.
    """
    bits = (values[:, None] >> np.arange(LIMB_BITS + 1)) & 1
    if bits[:, LIMB_BITS].any() or bits[:, :LIMB_BITS].reshape(-1)[8 * SECRET_BYTES :].any():
        raise ProtocolError("the shares of a secret do not belong together")
    flat = bits[:, :LIMB_BITS].reshape(-1)[: 8 * SECRET_BYTES]
    return np.packbits(flat.astype(np.uint8), bitorder="little").tobytes()


def uniform(words: NDArray[np.uint32], prime: int = PRIME) -> NDArray[np.int64]:
    """Reduce uniform 32-bit words to uniform field elements by rejection.

    Args:
        words: uint32 [w].
        prime: the modulus.

    Returns:
        int64 [at most w]; words at or above the largest multiple of the prime are left out.
    """
    limit = 2**32 - 2**32 % prime
    return words[words < limit].astype(np.int64) % prime


def multiply(left: NDArray, right: NDArray, prime: int = PRIME) -> NDArray[np.int64]:
    """Multiply two integer matrices over the field.

    Exact: with at most 2**22 terms below 2**15 * 2**15 each, sums stay below 2**53.

    Args:
        left: integers in [0, prime), [a, b].
        right: integers in [0, prime), [b, c].
        prime: the modulus, at most 32771.

    Returns:
        int64 [a, c] in [0, prime).
    """
    product = left.astype(np.float64) @ right.astype(np.float64)
    return product.astype(np.int64) % prime


def inverse(values: NDArray[np.int64], prime: int = PRIME) -> NDArray[np.int64]:
    """Invert non-zero elements by Fermat's theorem, x**(p - 2).

    Args:
        values: int64, any shape, none divisible by the prime.
        prime: the modulus.

    Returns:
        int64 of the same shape.
    """
    result = np.ones_like(values)
    for bit in bin(prime - 2)[2:]:
        result = result * result % prime
        if bit == "1":
            result = result * values % prime
    return result


@lru_cache(maxsize=16)
def powers(points: int, degree: int, prime: int = PRIME) -> NDArray[np.float64]:
    """Return the Vandermonde matrix of the points 1..points over the field.

    Args:
        points: number of points, below the prime.
        degree: highest power.
        prime: the modulus.

    Returns:
        float64 [points, degree + 1] of integers: row j holds (j + 1)**0 .. (j + 1)**degree.
    """
    table = np.ones((points, degree + 1), np.int64)
    base = np.arange(1, points + 1)
    for power in range(1, degree + 1):
        table[:, power] = table[:, power - 1] * base % prime
    return table.astype(np.float64)


@lru_cache(maxsize=2048)
def lagrange(points: tuple[int, ...], prime: int = PRIME) -> NDArray[np.int64]:
    """Return the weights that take values at distinct points to the value at zero.

    weight_j = prod over i != j of x_i / (x_i - x_j).  Cached by the set of points,
    which is the same for every secret of a complete graph.

    Args:
        points: distinct, in 1..prime - 1.
        prime: the modulus.

    Returns:
        int64 [len(points)] in [0, prime).
    """
    x = np.array(points, np.int64)
    factors = (x[:, None] - x[None, :]) % prime  # [i, j]
    numerator = np.repeat(x[:, None], len(x), axis=1)
    np.fill_diagonal(factors, 1)
    np.fill_diagonal(numerator, 1)
    return _product(numerator, prime) * inverse(_product(factors, prime), prime) % prime


def _product(matrix: NDArray[np.int64], prime: int) -> NDArray[np.int64]:
    """Multiply the rows of a matrix over the field, by halving."""
    while len(matrix) > 1:
        half = len(matrix) // 2
        odd = matrix[2 * half :]
        matrix = np.concatenate([matrix[:half] * matrix[half : 2 * half] % prime, odd])
    return matrix[0]
