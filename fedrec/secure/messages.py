"""Bodies of the messages: counted lists of fixed-size entries, read strictly.

A list is a 32-bit count and its entries, ascending by client number, so every
content has one encoding only.

    ADVERTISE  channel key 32 | mask key 32                                 (signed)
    ROSTER     list of whole ADVERTISE messages                             (each signed)
    SHARES     commitment to the seed 32 | list of (receiver 4, sealed 88)  (tag)
    INBOX      list of (sender 4, sealed 88)                                (tag)
    MASKED     the masked vectors, one after another, each in whole bytes   (tag)
    SURVIVORS  list of client numbers                                       (tag)
    CONFIRM    SHA-256 of the survivors 32                                  (signed)
    REQUEST    list of surviving neighbours | list of whole CONFIRM messages (tag)
    REVEAL     list of (owner 4, which secret 1, share 36)                  (tag)

Nothing else leaves a client: no count of examples, no loss, no metric.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fedrec.errors import ProtocolError
from fedrec.secure.agreement import KEY_BYTES, SIGNATURE_BYTES, TAG_BYTES
from fedrec.secure.field import LIMBS, PRIME
from fedrec.secure.frames import HEADER_BYTES, Kind
from fedrec.secure.plan import Plan

COUNT_BYTES = 4
DIGEST_BYTES = 32
SHARE_BYTES = 2 * LIMBS
SEALED_BYTES = 2 * SHARE_BYTES + TAG_BYTES
SEALED_ENTRY = 4 + SEALED_BYTES
ADVERTISE_BYTES = HEADER_BYTES + 2 * KEY_BYTES + SIGNATURE_BYTES
CONFIRM_BYTES = HEADER_BYTES + DIGEST_BYTES + SIGNATURE_BYTES
SEED, MASK_KEY = 0, 1
"""Which of its two secrets a revealed share belongs to."""

REVEALED = np.dtype([("owner", "<u4"), ("secret", "u1"), ("share", "<u2", (LIMBS,))])


def body_limits(kind: Kind, plan: Plan) -> tuple[int, int]:
    """Return the fewest and the most bytes that a body can have under a plan."""
    clients, holders = len(plan.registry), plan.neighbours + 1
    if kind is Kind.ADVERTISE:
        return 2 * KEY_BYTES, 2 * KEY_BYTES
    if kind is Kind.ROSTER:
        return COUNT_BYTES, COUNT_BYTES + clients * ADVERTISE_BYTES
    if kind is Kind.SHARES:
        fixed = DIGEST_BYTES + COUNT_BYTES
        return fixed, fixed + holders * SEALED_ENTRY
    if kind is Kind.INBOX:
        return COUNT_BYTES, COUNT_BYTES + holders * SEALED_ENTRY
    if kind is Kind.MASKED:
        size = sum(vector.num_bytes for vector in plan.vectors)
        return size, size
    if kind is Kind.SURVIVORS:
        return COUNT_BYTES, COUNT_BYTES + 4 * clients
    if kind is Kind.CONFIRM:
        return DIGEST_BYTES, DIGEST_BYTES
    if kind is Kind.REQUEST:
        return 2 * COUNT_BYTES, 2 * COUNT_BYTES + holders * (4 + CONFIRM_BYTES)
    return COUNT_BYTES, COUNT_BYTES + holders * REVEALED.itemsize


def pack_list(entries: Sequence[bytes]) -> bytes:
    """Put a count before entries of equal size."""
    return len(entries).to_bytes(COUNT_BYTES, "little") + b"".join(entries)


def read_list(body: memoryview, entry_bytes: int) -> tuple[list[bytes], memoryview]:
    """Read a counted list.

    Args:
        body: starts with the count.
        entry_bytes: size of an entry.

    Returns:
        The entries, and what comes after the list.

    Raises:
        ProtocolError: if the list claims more entries than there are bytes.
    """
    count = int.from_bytes(body[:COUNT_BYTES], "little")
    end = COUNT_BYTES + count * entry_bytes
    if len(body) < COUNT_BYTES or len(body) < end:
        raise ProtocolError(f"a list of {count} entries does not fit into {len(body)} bytes")
    raw = bytes(body[COUNT_BYTES:end])
    return [raw[at : at + entry_bytes] for at in range(0, len(raw), entry_bytes)], body[end:]


def read_whole_list(body: memoryview, entry_bytes: int) -> list[bytes]:
    """Read a counted list after which nothing comes.

    Raises:
        ProtocolError: if the list is cut off or something follows it.
    """
    entries, rest = read_list(body, entry_bytes)
    if len(rest):
        raise ProtocolError(f"{len(rest)} bytes follow the end of a message")
    return entries


def pack_numbers(numbers: NDArray[np.int64]) -> bytes:
    """Write a list of client numbers."""
    return len(numbers).to_bytes(COUNT_BYTES, "little") + numbers.astype("<u4").tobytes()


def read_numbers(body: memoryview) -> tuple[NDArray[np.int64], memoryview]:
    """Read a list of client numbers.

    Returns:
        int64 [c], and what comes after the list.

    Raises:
        ProtocolError: if it is cut off, or not strictly ascending.
    """
    entries, rest = read_list(body, 4)
    numbers = np.frombuffer(b"".join(entries), "<u4").astype(np.int64)
    if (np.diff(numbers) <= 0).any():
        raise ProtocolError("client numbers must ascend, each of them once")
    return numbers, rest


def pack_sealed(numbers: Sequence[int], sealed: Sequence[bytes]) -> bytes:
    """Write a list of sealed shares with the client at their other end."""
    pairs = zip(numbers, sealed, strict=True)
    return pack_list([number.to_bytes(4, "little") + content for number, content in pairs])


def read_sealed(body: memoryview) -> dict[int, bytes]:
    """Read a list of sealed shares.

    Returns:
        Client number -> sealed share, ascending.

    Raises:
        ProtocolError: if it is cut off, or not strictly ascending.
    """
    entries = read_whole_list(body, SEALED_ENTRY)
    numbers = [int.from_bytes(entry[:4], "little") for entry in entries]
    if any(a >= b for a, b in zip(numbers, numbers[1:], strict=False)):
        raise ProtocolError("client numbers must ascend, each of them once")
    return {number: entry[4:] for number, entry in zip(numbers, entries, strict=True)}


def pack_revealed(revealed: NDArray) -> bytes:
    """Write a list of revealed shares, an array of dtype REVEALED."""
    return len(revealed).to_bytes(COUNT_BYTES, "little") + revealed.tobytes()


def read_revealed(body: memoryview) -> NDArray:
    """Read a list of revealed shares.

    Returns:
        An array of dtype REVEALED.

    Raises:
        ProtocolError: if it is cut off, or a share is no vector over the field.
    """
    entries = read_whole_list(body, REVEALED.itemsize)
    revealed = np.frombuffer(b"".join(entries), REVEALED)
    if (revealed["share"] >= PRIME).any():
        raise ProtocolError("a share holds a number outside the field")
    return revealed
