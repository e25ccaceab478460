"""Keys: agreement (X25519), derivation (HKDF), identities (Ed25519), sealing (AES-GCM).

A client holds two fresh X25519 pairs for each session: one for the channels that
carry shares, one for masks.  They are never the same, since the second secret may
be revealed when its owner is lost.  Sources: RFC 7748, RFC 5869, RFC 8032, NIST
SP 800-38D.  Every derived key is bound to its use by `info`, and every derived key
seals or authenticates a single message in a single direction, so nonces are fixed.
"""

from __future__ import annotations

import hashlib
import hmac
import struct

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from fedrec.errors import ProtocolError
from fedrec.secure.shamir import Entropy

VERSION = 1
KEY_BYTES = 32
TAG_BYTES = 16
SIGNATURE_BYTES = 64
_LABEL = b"fedrec secure aggregation"
_PROBE = X25519PrivateKey.from_private_bytes(b"\x08" + bytes(31))


class Identity:
    """The long-lived Ed25519 key of a client, registered once.

    It signs the keys of a session and, against a malicious server, the set of
    survivors.  It never encrypts anything.
    """

    def __init__(self, secret: bytes) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(secret)
        self.public = self._key.public_key().public_bytes_raw()

    def __repr__(self) -> str:
        return f"Identity(public={self.public.hex()})"

    @classmethod
    def generate(cls, entropy: Entropy) -> Identity:
        """Draw a new identity; `entropy` is os.urandom outside tests."""
        return cls(entropy(KEY_BYTES))

    def secret(self) -> bytes:
        """Return the 32 secret bytes, to be kept where only the client reads."""
        return self._key.private_bytes_raw()

    def sign(self, message: bytes) -> bytes:
        """Return the 64-byte signature of a message."""
        return self._key.sign(message)


def verify(public: bytes, signature: bytes, message: bytes) -> None:
    """Check an Ed25519 signature.

    Raises:
        ProtocolError: if it was not made by the owner of `public` over this message.
    """
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        raise ProtocolError("a signature does not fit its message and its signer") from None


def load_public(raw: bytes) -> X25519PublicKey:
    """Read the public key of a peer.

    Raises:
        ProtocolError: if it is not 32 bytes, or a point of low order, with which every
            agreement would end in the same known value.
    """
    try:
        key = X25519PublicKey.from_public_bytes(raw)
        _PROBE.exchange(key)
    except ValueError:
        raise ProtocolError("a public key is malformed or of low order") from None
    return key


def exchange(secret: X25519PrivateKey, public: X25519PublicKey) -> bytes:
    """Return the 32-byte result of X25519.

    Raises:
        ProtocolError: if the peer's key is of low order.
    """
    try:
        return secret.exchange(public)
    except ValueError:
        raise ProtocolError("a public key is of low order") from None


def extract(secret: bytes) -> bytes:
    """HKDF-Extract with SHA-256 and an empty salt (RFC 5869, section 2.2)."""
    return hmac.digest(bytes(32), secret, "sha256")


def expand(key: bytes, info: bytes) -> bytes:
    """HKDF-Expand with SHA-256 to one block of 32 bytes (RFC 5869, section 2.3)."""
    return hmac.digest(key, info + b"\x01", "sha256")


def info(
    purpose: bytes,
    session: bytes,
    round_number: int,
    first: int,
    second: int,
    name: bytes = b"",
    length: int = 0,
    width: int = 0,
) -> bytes:
    """Bind a derived key to its use.

    Args:
        purpose: what the key is for.
        session: 32 bytes, the session id.
        round_number: the round.
        first: one party: the sender of a channel, the lower number of a pair of masks.
        second: the other party.
        name: name of the masked vector.
        length: its number of elements.
        width: its bits an element.

    Returns:
        An unambiguous string of bytes: every part has a fixed size or its length before it.
    """
    return b"".join(
        [
            _LABEL,
            struct.pack("<BB", VERSION, len(purpose)),
            purpose,
            session,
            struct.pack("<QIIB", round_number, first, second, len(name)),
            name,
            struct.pack("<QB", length, width),
        ]
    )


def seal(key: bytes, plain: bytes, bound: bytes) -> bytes:
    """Encrypt one message under a single-use key (AES-256-GCM, zero nonce).

    Args:
        key: 32 bytes that encrypt this message and no other.
        plain: the content.
        bound: associated data: what the message is bound to.

    Returns:
        The ciphertext with its 16-byte tag.
    """
    return AESGCM(key).encrypt(bytes(12), plain, bound)


def unseal(key: bytes, sealed: bytes, bound: bytes) -> bytes:
    """Decrypt what `seal` has encrypted.

    Raises:
        ProtocolError: if key, content or associated data differ in a single bit.
    """
    try:
        return AESGCM(key).decrypt(bytes(12), sealed, bound)
    except InvalidTag:
        raise ProtocolError("a sealed message was changed or belongs elsewhere") from None


def tag(key: bytes, kind: int, content: bytes | bytearray | memoryview) -> bytes:
    """Authenticate one message (GMAC, NIST SP 800-38D).

    Args:
        key: 32 bytes for one sender, one receiver and one session.
        kind: type of the message, its nonce: a session has each type once in a direction.
        content: what is authenticated.

    Returns:
        16 bytes.
    """
    return AESGCM(key).encrypt(kind.to_bytes(12, "little"), b"", content)


def check_tag(key: bytes, kind: int, content: memoryview, given: bytes) -> None:
    """Check a tag in constant time.

    Raises:
        ProtocolError: if the message was changed or has another sender.
    """
    if not hmac.compare_digest(tag(key, kind, content), given):
        raise ProtocolError("a message was changed, or its sender is not who it says")


def commitment(session: bytes, number: int, seed: bytes) -> bytes:
    """Commit to a uniformly random 32-byte seed: hidden by its entropy, bound by SHA-256."""
    return hashlib.sha256(info(b"commitment", session, 0, number, number) + seed).digest()
