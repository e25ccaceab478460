"""P-256 by x-coordinates: hashing identifiers to points, and blinding them.

A point is its x-coordinate, 32 bytes.  That is a point up to its sign, and the sign
never matters here: k P and k (-P) have the same x-coordinate.  So the product is what
ECDH gives (`cryptography`, OpenSSL's constant-time code), one call a point.

The group has prime order, so there are no points of small order; the point at infinity
has no x-coordinate and cannot be written down.  What is no x-coordinate of the curve,
or not below the field's prime, is refused when it is decompressed.

Hashing is try-and-increment: SHA-256 over label, salt, counter and identifier, until it
is an x-coordinate (twice on average).  The result is uniform; the number of tries
depends on identifier and salt, so whoever can time a single hash on the owner's own
machine learns a little about an identifier.  Nobody else can: lists are hashed as a
whole and travel as files.  Sources: SEC 1 v2 (points, ECDH); Boneh, Lynn and Shacham
2001 (try-and-increment); RFC 9380 for what a constant-time hash would be.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence

from cryptography.hazmat.primitives.asymmetric import ec

from fedrec.errors import ProtocolError

COORDINATE_BYTES = 32
SALT_BYTES = 32
ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
"""Number of points of P-256 (SEC 2, secp256r1)."""
Entropy = Callable[[int], bytes]

_CURVE = ec.SECP256R1()
_EVEN = b"\x02"  # compressed form: an x-coordinate with the even one of its two points
_HASH_LABEL = b"fedrec align hash to P-256 v1"
_TAG_LABEL = b"fedrec align tag v1"


def draw_scalar(entropy: Entropy) -> int:
    """Draw a secret from 1 to ORDER - 1.

    Args:
        entropy: source of secret bytes: the operating system, except in tests.
    """
    while True:
        value = int.from_bytes(entropy(COORDINATE_BYTES), "big")
        if 1 <= value < ORDER:
            return value


def quotient(numerator: int, denominator: int) -> int:
    """Return numerator / denominator modulo ORDER."""
    return numerator * pow(denominator, -1, ORDER) % ORDER


def blind(keys: Iterable[bytes], salt: bytes, scalar: int) -> list[bytes]:
    """Return scalar * H(key) of each identifier, as x-coordinates.

    Args:
        keys: identifiers, as bytes of any length.
        salt: 32 bytes that both sides have.
        scalar: the secret, 1 to ORDER - 1.
    """
    secret, base = _private(scalar), _base(salt)
    return [secret.exchange(ec.ECDH(), _hash(key, base)[1]) for key in keys]


def hash_to_curve(key: bytes, salt: bytes) -> bytes:
    """Return the x-coordinate that an identifier is hashed to."""
    return _hash(key, _base(salt))[0]


def multiply(points: Sequence[bytes], scalar: int) -> list[bytes]:
    """Return scalar * P of each point.

    Args:
        points: x-coordinates of 32 bytes.
        scalar: the secret, 1 to ORDER - 1.

    Raises:
        ProtocolError: if one is not on the curve, saying its place.
    """
    secret = _private(scalar)
    return [secret.exchange(ec.ECDH(), _public(x, place)) for place, x in enumerate(points)]


def tags(points: Iterable[bytes], salt: bytes) -> list[bytes]:
    """Return a hash of each point, of which nothing but equality can be told any more."""
    base = hashlib.sha256(_TAG_LABEL + salt)
    return [_finish(base, x) for x in points]


def _private(scalar: int) -> ec.EllipticCurvePrivateKey:
    return ec.derive_private_key(scalar, _CURVE)


def _public(x: bytes, place: int) -> ec.EllipticCurvePublicKey:
    try:
        return ec.EllipticCurvePublicKey.from_encoded_point(_CURVE, _EVEN + x)
    except ValueError:
        raise ProtocolError(
            f"point {place} of the list is not on the curve P-256: the message was changed, or "
            "its sender does not follow the protocol. Ask for it again"
        ) from None


def _base(salt: bytes) -> hashlib._Hash:
    return hashlib.sha256(_HASH_LABEL + salt)


def _hash(key: bytes, base: hashlib._Hash) -> tuple[bytes, ec.EllipticCurvePublicKey]:
    """Return the first candidate that is on the curve; 256 tries fail once in 2^256 cases."""
    for counter in range(256):
        candidate = _finish(base, bytes((counter,)) + key)
        try:
            point = ec.EllipticCurvePublicKey.from_encoded_point(_CURVE, _EVEN + candidate)
        except ValueError:
            continue
        return candidate, point
    raise ProtocolError("no point was found for an identifier; use another salt")


def _finish(base: hashlib._Hash, content: bytes) -> bytes:
    state = base.copy()
    state.update(content)
    return state.digest()
