"""Masks: the keystream of AES-256-CTR, added to a vector chunk by chunk.

A mask key is used for one vector only, so the counter starts at zero.  No mask
is ever held whole: a chunk of keystream is written into a reused buffer and
added while it is in the cache.  Source: NIST SP 800-38A.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR
from numpy.typing import NDArray

CHUNK_BYTES = 128 * 1024
_GROUP = 128
_ZEROS = bytes(CHUNK_BYTES)


def keystream(key: bytes, size: int) -> bytes:
    """Return the first `size` bytes of the keystream of a 32-byte key."""
    return _stream(key).update(bytes(size))


def add_masks(vector: NDArray, plus: Sequence[bytes], minus: Sequence[bytes]) -> None:
    """Add and subtract masks in place, modulo 2**32 or 2**64, and so modulo any 2**k below.

    Args:
        vector: uint32 or uint64 [m], little-endian, contiguous: changed.
        plus: 32-byte keys of the masks to be added.
        minus: keys of the masks to be subtracted.
    """
    signed = [(key, np.add) for key in plus] + [(key, np.subtract) for key in minus]
    for start in range(0, len(signed), _GROUP):
        group = signed[start : start + _GROUP]
        _add_group(vector, [(_stream(key), operation) for key, operation in group])


def _add_group(vector: NDArray, streams: list[tuple[CipherContext, np.ufunc]]) -> None:
    """Add the streams of a group, chunk after chunk, so that the sum stays in the cache."""
    buffer = bytearray(CHUNK_BYTES)
    words = np.frombuffer(buffer, vector.dtype)
    for start in range(0, len(vector), len(words)):
        part = vector[start : start + len(words)]
        zeros = memoryview(_ZEROS)[: part.nbytes]
        mask = words[: len(part)]
        for stream, operation in streams:
            stream.update_into(zeros, buffer)
            operation(part, mask, out=part)
    buffer[:] = _ZEROS


def _stream(key: bytes) -> CipherContext:
    return Cipher(AES(key), CTR(bytes(16))).encryptor()
