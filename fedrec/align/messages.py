"""Messages between merchants: files with a header, 32-byte entries, and a seal.

    magic 4 | version 1 | kind 1 | sender 2 | receiver 2 | owner 2 | hop 2 | zero 2 |
    session 32 | number of entries 8 | entries 32 each | seal

Numbers are little-endian.  The session binds a message to its agreement and, after the
first stage, to everything that was sent before, so that no message of another agreement
or of an earlier attempt is taken.  The seal is an Ed25519 signature where the agreement
names keys; else a SHA-256 that shows damage only, and whoever carries the files must be
trusted not to change them.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from fedrec.align.agreement import Agreement
from fedrec.align.curve import COORDINATE_BYTES
from fedrec.errors import ProtocolError
from fedrec.secure.agreement import SIGNATURE_BYTES, Identity, verify

EVERYBODY = 2**16 - 1
COORDINATOR = 2**16 - 2
MAX_ENTRIES = 20_000_000
_MAGIC = b"FDAL"
_VERSION = 1
_HEADER = struct.Struct("<4sBBHHHH2x32sQ")
_HASH_BYTES = 32
Raw = bytes | bytearray | memoryview


class Kind(IntEnum):
    """Types of messages, in the order of the protocol."""

    COMMIT = 1
    OPEN = 2
    BLINDED = 3
    RELAYED = 4
    TAGS = 5
    PSEUDONYMS = 6
    UNION = 7


@dataclass(frozen=True)
class Header:
    """What a header says besides the number of entries.

    Attributes:
        kind: type of the message.
        session: 32 bytes.
        sender: number of the party, or COORDINATOR.
        receiver: likewise, or EVERYBODY.
        owner: the party whose list it is.
        hop: how many other parties have blinded the list.
    """

    kind: Kind
    session: bytes
    sender: int
    receiver: int
    owner: int
    hop: int = 0


def pack(
    header: Header, entries: Sequence[bytes], agreement: Agreement, identity: Identity | None
) -> bytes:
    """Return a sealed message.

    Args:
        header: what it is.
        entries: 32 bytes each.
        agreement: says whether messages are signed.
        identity: of the sender, where they are.
    """
    fields = (header.sender, header.receiver, header.owner, header.hop)
    content = _HEADER.pack(
        _MAGIC, _VERSION, header.kind, *fields, header.session, len(entries)
    ) + b"".join(entries)
    if agreement.keys and identity is not None and header.sender != COORDINATOR:
        return content + identity.sign(content)
    return content + hashlib.sha256(content).digest()


def unpack(raw: object, expected: Header, agreement: Agreement) -> list[bytes]:
    """Return the entries of a message after checking all that can be checked by itself.

    Args:
        raw: what came.
        expected: what its header must say.
        agreement: names parties and keys.

    Raises:
        ProtocolError: if it is damaged, of another agreement, session, sender, receiver or
            stage, wrongly signed, or holds an entry twice.
    """
    content, seal, found, count = _parse(raw, agreement)
    _compare(found, expected, agreement)
    if agreement.keys and found.sender != COORDINATOR:
        verify(bytes.fromhex(agreement.keys[agreement.parties[found.sender]]), seal, content)
    elif hashlib.sha256(content).digest() != seal:
        raise ProtocolError("a message was damaged on its way: its checksum does not fit")
    body = content[_HEADER.size :]
    entries = [body[at : at + COORDINATE_BYTES] for at in range(0, len(body), COORDINATE_BYTES)]
    if len(set(entries)) < count:
        raise ProtocolError(
            f"{_told(found, agreement)} holds an entry twice; a list names everything once"
        )
    return entries


def peek(raw: object, agreement: Agreement) -> Header:
    """Return the header of a message, unchecked but for its form.

    Raises:
        ProtocolError: if it is cut off or no message of an alignment.
    """
    return _parse(raw, agreement)[2]


def _parse(raw: object, agreement: Agreement) -> tuple[bytes, bytes, Header, int]:
    """Return content, seal, header and number of entries."""
    if not isinstance(raw, bytes | bytearray | memoryview):
        raise ProtocolError(f"a message must be bytes, got {type(raw).__name__}")
    flat = bytes(raw)
    seal = SIGNATURE_BYTES if agreement.keys else _HASH_BYTES
    if len(flat) < _HEADER.size + _HASH_BYTES or flat[:4] != _MAGIC:
        raise ProtocolError("this is no message of an alignment, or it was cut off")
    _, version, kind, sender, receiver, owner, hop, session, count = _HEADER.unpack_from(flat)
    if version != _VERSION:
        raise ProtocolError(
            f"a message of version {version}; this fedrec reads version {_VERSION}. "
            "All parties need fedrec of one version"
        )
    if kind not in Kind.__members__.values() or flat[14:16] != bytes(2):
        raise ProtocolError(f"a message of an unknown kind ({kind})")
    if sender == COORDINATOR:
        seal = _HASH_BYTES
    if count > MAX_ENTRIES or len(flat) != _HEADER.size + count * COORDINATE_BYTES + seal:
        raise ProtocolError(
            f"a message of {count:,} entries has {len(flat):,} bytes: it was cut off or changed, "
            f"or is {'un' if agreement.keys else ''}signed where the agreement says otherwise"
        )
    header = Header(Kind(kind), session, sender, receiver, owner, hop)
    return flat[: len(flat) - seal], flat[len(flat) - seal :], header, count


def _compare(found: Header, expected: Header, agreement: Agreement) -> None:
    if (found.kind, found.hop) != (expected.kind, expected.hop):
        raise ProtocolError(
            f"expected {_told(expected, agreement)}, got {_told(found, agreement)}. "
            "Messages are taken in the order of the stages, each once"
        )
    if found.session != expected.session:
        raise ProtocolError(
            f"{_told(found, agreement)} belongs to another agreement or another attempt. "
            "All parties start anew with one agreement file"
        )
    if (found.sender, found.receiver, found.owner) != (
        expected.sender,
        expected.receiver,
        expected.owner,
    ):
        raise ProtocolError(f"expected {_told(expected, agreement)}, got {_told(found, agreement)}")


def _told(header: Header, agreement: Agreement) -> str:
    names = {**dict(enumerate(agreement.parties)), EVERYBODY: "all", COORDINATOR: "the coordinator"}
    sender, receiver = (names.get(n, f"party {n}") for n in (header.sender, header.receiver))
    hop = f", hop {header.hop}" if header.kind == Kind.RELAYED else ""
    return f"the message {header.kind.name} from {sender} to {receiver}{hop}"
