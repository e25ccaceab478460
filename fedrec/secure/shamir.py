"""Shamir's secret sharing: any t of the holders recover a secret, fewer learn nothing.

Shamir, "How to share a secret" (CACM 1979).  Holders are numbered 1, 2, ..;
holder j gets the value at j of a random polynomial of degree t - 1 whose value
at zero is the secret.  A secret is a vector of field elements, shared element by
element.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from fedrec.secure.field import PRIME, lagrange, multiply, powers, uniform

Entropy = Callable[[int], bytes]
"""A source of secret random bytes: number of bytes -> bytes."""


def coefficients(threshold: int, size: int, entropy: Entropy) -> NDArray[np.int64]:
    """Draw the random coefficients of `size` polynomials of degree threshold - 1.

    Args:
        threshold: t, at least 1.
        size: number of field elements to be shared.
        entropy: source of randomness; read in 32-bit little-endian words.

    Returns:
        int64 [t - 1, size], uniform over the field: row i belongs to the power i + 1.
    """
    wanted = (threshold - 1) * size
    drawn = uniform(np.frombuffer(entropy(4 * wanted), "<u4"))
    while len(drawn) < wanted:  # about one word in 150,000 is rejected
        more = uniform(np.frombuffer(entropy(4 * (wanted - len(drawn))), "<u4"))
        drawn = np.concatenate([drawn, more])
    return drawn.reshape(threshold - 1, size)


def split(
    secret: NDArray[np.int64], random: NDArray[np.int64], holders: int, prime: int = PRIME
) -> NDArray[np.int64]:
    """Share a vector of field elements among holders 1..holders.

    Args:
        secret: int64 [L], elements of the field.
        random: int64 [t - 1, L], uniform and fresh: see `coefficients`.
        holders: number of shares.
        prime: the modulus, above `holders`.

    Returns:
        int64 [holders, L]: row j is the share of holder j + 1.
    """
    polynomials = np.concatenate([secret[None], random])
    return multiply(powers(holders, len(random), prime), polynomials, prime)


def join(points: Sequence[int], shares: NDArray[np.int64], prime: int = PRIME) -> NDArray[np.int64]:
    """Recover a vector of field elements from exactly t shares.

    Args:
        points: the numbers of the holders, t distinct ones.
        shares: int64 [t, L]: their shares in the same order.
        prime: the modulus.

    Returns:
        int64 [L]; a meaningless vector where shares do not belong together.
    """
    return multiply(lagrange(tuple(points), prime)[None], shares, prime)[0]
