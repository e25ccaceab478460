"""The frame of every message: a fixed header, a body, and a tag or a signature.

    magic 4 | kind 1 | zero 3 | round 8 | session 32 | sender 4 | receiver 4 | body length 8

Numbers are little-endian.  The session field holds the digest of the plan before
the keys are known, and the session id afterwards.  A frame is checked against the
one sender, receiver, kind and session that its reader expects, and its size
against what the plan allows, before anything is read or allocated.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum

from fedrec.errors import ProtocolError

MAGIC = b"FSA1"
SERVER = 2**32 - 1
EVERYBODY = 2**32 - 2
HEADER_BYTES = 64
_HEADER = struct.Struct("<4sB3sQ32sIIQ")

Raw = bytes | bytearray | memoryview


class Kind(IntEnum):
    """Types of messages, in the order of the protocol."""

    ADVERTISE = 1
    ROSTER = 2
    SHARES = 3
    INBOX = 4
    MASKED = 5
    SURVIVORS = 6
    CONFIRM = 7
    REQUEST = 8
    REVEAL = 9


@dataclass(frozen=True)
class Address:
    """What a header says besides the size of the body.

    Attributes:
        kind: type of the message.
        round_number: the round.
        session: 32 bytes.
        sender: client number, or SERVER.
        receiver: client number, SERVER or EVERYBODY.
    """

    kind: Kind
    round_number: int
    session: bytes
    sender: int
    receiver: int

    def header(self, body_bytes: int) -> bytes:
        """Return the 64 bytes before a body."""
        return _HEADER.pack(
            MAGIC,
            self.kind,
            bytes(3),
            self.round_number,
            self.session,
            self.sender,
            self.receiver,
            body_bytes,
        )


@dataclass(frozen=True)
class Frame:
    """A message whose header is right; its tag or signature is still to be checked.

    Attributes:
        content: header and body: what tag or signature cover.
        body: the body.
        trailer: the tag or signature.
    """

    content: memoryview
    body: memoryview
    trailer: bytes


def require(condition: bool, message: str) -> None:
    """Refuse a message that breaks the protocol.

    Raises:
        ProtocolError: with `message`, if the condition does not hold.
    """
    if not condition:
        raise ProtocolError(message)


def view(raw: object) -> memoryview:
    """Return what came as a flat view of bytes.

    Raises:
        ProtocolError: if it is not bytes at all.
    """
    if not isinstance(raw, bytes | bytearray | memoryview):
        raise ProtocolError(f"a message must be bytes, got {type(raw).__name__}")
    flat = memoryview(raw)
    if flat.ndim != 1 or flat.itemsize != 1 or not flat.contiguous:
        raise ProtocolError("a message must be a flat string of bytes")
    return flat


def sender_of(raw: object) -> int:
    """Return the sender that a message claims, unchecked.

    Raises:
        ProtocolError: if it is too short for a header.
    """
    flat = view(raw)
    if len(flat) < HEADER_BYTES:
        raise ProtocolError(f"a message has at least {HEADER_BYTES} bytes, got {len(flat)}")
    return int(_HEADER.unpack(flat[:HEADER_BYTES])[5])


def parse(raw: object, address: Address, least: int, most: int, trailer_bytes: int) -> Frame:
    """Check size and header of a message.

    Args:
        raw: what came.
        address: what its header must say.
        least: fewest bytes of its body.
        most: most bytes of its body.
        trailer_bytes: size of its tag or signature.

    Returns:
        The frame; views into `raw`, nothing is copied.

    Raises:
        ProtocolError: if anything differs.
    """
    flat = view(raw)
    size = len(flat) - HEADER_BYTES - trailer_bytes
    if not least <= size <= most:
        raise ProtocolError(
            f"a message of kind {address.kind.name} has {least} to {most} bytes of content, "
            f"got {max(size, 0)}"
        )
    if bytes(flat[:HEADER_BYTES]) != address.header(size):
        raise ProtocolError(
            f"expected a message of kind {address.kind.name} from {_name(address.sender)} in round "
            f"{address.round_number} of this session; its header says otherwise"
        )
    end = HEADER_BYTES + size
    return Frame(flat[:end], flat[HEADER_BYTES:end], bytes(flat[end:]))


def _name(number: int) -> str:
    return "the server" if number == SERVER else f"client {number}"
