"""Products of two parties' matrices of which neither shows its own (Du and Atallah 2001).

One party has X [n, k], the other Y [n, d], about the same n people in one order.  A dealer,
who sees neither, hands out random matrices; then each party sends its own under a mask, and
the first learns X'Y and nothing else of Y, the second nothing of X.  Numbers are integers
modulo 2^64, so that a masked matrix is uniform whatever is behind it.

    dealer:  R [n, k], r [k, d] to the first;  S [n, d], s = R'S - r to the second
    first:   sends  A = X + R
    second:  sends  B = Y + S  and  u = A'Y + s
    first:   u - R'B + r  =  X'Y

For parties that follow the protocol, with a dealer that sides with neither.  Source: Du and
Atallah, "Privacy-preserving cooperative scientific computations", CSFW 2001 (commodity server,
Beaver 1997).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedrec.errors import ProtocolError

Words = NDArray[np.uint64]
Floats = NDArray[np.float64]
Entropy = Callable[[int], bytes]
SCALE_BITS = 16
"""Bits after the point, of each factor."""
MOST = 64.0
"""Largest number of either matrix."""
MOST_PEOPLE = 1 << 18
"""With numbers up to `MOST` so many products add up to less than 2^63."""
LEAST_RATIO = 4
"""People for each column of X: with few, X'Y would give Y away."""


@dataclass(frozen=True, repr=False)
class Dealt:
    """What the dealer gives to one party.

    Attributes:
        mask: uint64 [n, k] or [n, d], for its own matrix.
        share: uint64 [k, d], its part of the product of both masks.
    """

    mask: Words
    share: Words


def deal(people: int, left: int, right: int, entropy: Entropy = os.urandom) -> tuple[Dealt, Dealt]:
    """Draw what both parties need for one product; it is used once.

    Args:
        people: n.
        left: k, columns of the first party.
        right: d, columns of the second.
        entropy: source of secret bytes: the operating system, except in tests.
    """
    mask, other = _draw(people, left, entropy), _draw(people, right, entropy)
    share = _draw(left, right, entropy)
    return Dealt(mask, share), Dealt(other, mask.T @ other - share)


def _draw(rows: int, columns: int, entropy: Entropy) -> Words:
    raw = np.frombuffer(entropy(8 * rows * columns), "<u8")
    return raw.reshape(rows, columns).astype(np.uint64)


def check_people(people: int, columns: int) -> None:
    """Refuse products from which the second party's matrix could be solved.

    Raises:
        ProtocolError: with fewer people than `LEAST_RATIO` for each column, or more than
            `MOST_PEOPLE`.
    """
    if people > MOST_PEOPLE:
        raise ProtocolError(f"{people:,} people are too many for one product ({MOST_PEOPLE:,})")
    if people < LEAST_RATIO * columns:
        raise ProtocolError(
            f"{people:,} people are common and the attributes have {columns:,} columns: their "
            f"product would give single people away; expected {LEAST_RATIO * columns:,} people or "
            "more. Use fewer attributes (vertical.attributes)"
        )


def encode(values: Floats) -> Words:
    """Return numbers as integers modulo 2^64.

    Args:
        values: float64.

    Raises:
        ProtocolError: if one is not finite or above `MOST`.
    """
    if not np.isfinite(values).all() or np.abs(values).max(initial=0.0) > MOST:
        raise ProtocolError(f"expected finite numbers of at most {MOST:g} to multiply")
    return np.round(values * 2.0**SCALE_BITS).astype(np.int64).view(np.uint64)


def first_sends(own: Floats, dealt: Dealt) -> Words:
    """Return X + R, uint64 [n, k]."""
    return encode(own) + dealt.mask


def second_sends(own: Floats, dealt: Dealt, received: Words) -> tuple[Words, Words]:
    """Return Y + S, uint64 [n, d], and A'Y + s, uint64 [k, d].

    Raises:
        ProtocolError: if what was received does not fit.
    """
    if received.dtype != np.uint64 or received.shape != (len(own), dealt.share.shape[0]):
        raise ProtocolError(
            f"expected a masked matrix of {len(own):,} rows and {dealt.share.shape[0]} columns, "
            f"got {received.shape}"
        )
    words = encode(own)
    return words + dealt.mask, received.T @ words + dealt.share


def first_learns(dealt: Dealt, masked: Words, told: Words) -> Floats:
    """Return X'Y, float64 [k, d].

    Raises:
        ProtocolError: if what was received does not fit.
    """
    fits = masked.shape == (len(dealt.mask), told.shape[1]) and told.shape == dealt.share.shape
    if not fits:
        raise ProtocolError(f"the answers do not fit: got {masked.shape} and {told.shape}")
    product = told - dealt.mask.T @ masked + dealt.share
    return product.view(np.int64) / 2.0 ** (2 * SCALE_BITS)
