"""Noise that hides something comes from a keyed cryptographic generator.

`fedrec.rng` is for experiments: whoever knows the seed can redo its draws.  Here
every draw is AES-256-CTR keystream under a key of its own, derived by HKDF-SHA256
(RFC 5869) from a secret of 32 bytes and an address.  The secret comes from the
operating system when a run begins and is kept in the server's checkpoint (on a
node: beside its personal parameters) until the last round, so that a resumed run
adds, bit by bit, the noise that it would have added.  The price: until then the
checkpoint is as confidential as the data.  In research one may instead let the
secret follow from ``run.seed`` (``privacy.draws = "seeded"``): then the whole run
can be repeated, and noise protects only against those who do not know the seed.

Samples are float64, from 53-bit uniform numbers by Box and Muller (1958); they are
not immune to attacks on the low bits of floating-point noise (Mironov, CCS 2012).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from numpy.typing import NDArray

KEY_BYTES = 32
_CHUNK = 1 << 20  # words of keystream that are turned into numbers at once
_LABEL = b"fedrec privacy 1"


def fresh_key() -> bytes:
    """Return a new secret of 32 bytes from the operating system."""
    return os.urandom(KEY_BYTES)


def seeded_key(seed: int) -> bytes:
    """Return the key that follows from a seed; it is no secret."""
    return hashlib.sha256(_LABEL + b" seeded %d" % seed).digest()


def derive(key: bytes, *address: str | int | bytes) -> bytes:
    """Return the 32-byte key of an address; other addresses give independent keys.

    Args:
        key: the secret.
        address: what the draws are for, in parts.
    """
    parts = [p if isinstance(p, bytes) else str(p).encode() for p in address]
    info = _LABEL + b"".join(len(part).to_bytes(4, "big") + part for part in parts)
    return HKDF(SHA256(), KEY_BYTES, None, info).derive(key)


def words(key: bytes, size: int) -> NDArray[np.uint64]:
    """Return uniform 64-bit words, uint64 [size]; a key must be used for one call only."""
    stream = Cipher(algorithms.AES(key), modes.CTR(bytes(16))).encryptor()
    out = np.empty(size, np.uint64)
    for at in range(0, size, _CHUNK):
        chunk = out[at : at + _CHUNK]
        chunk[:] = np.frombuffer(stream.update(bytes(8 * len(chunk))), "<u8")
    return out


def uniform(key: bytes, size: int) -> NDArray[np.float64]:
    """Return uniform numbers in [0, 1), float64 [size]."""
    return (words(key, size) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def gaussian(key: bytes, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Return standard normal numbers, float64 of the given shape."""
    size = int(np.prod(shape))
    half = (size + 1) // 2
    numbers = uniform(key, 2 * half).reshape(2, half)
    radius = np.sqrt(-2.0 * np.log1p(-numbers[0]))  # 1 - u is in (0, 1]: the log is finite
    angle = 2.0 * np.pi * numbers[1]
    return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])[:size].reshape(shape)


def digest(arrays: Iterable[NDArray]) -> bytes:
    """Return a SHA-256 over the shapes and values of arrays, in their order."""
    state = hashlib.sha256()
    for array in arrays:
        state.update(repr((array.shape, array.dtype.str)).encode())
        state.update(np.ascontiguousarray(array).tobytes())
    return state.digest()
