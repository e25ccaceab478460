"""The session that follows from everybody's advertised keys, and its derived keys.

The session id is a hash over the plan and the ordered list of public keys.  It
fixes the graph, so the server does not choose who is whose neighbour, and it is
part of every derived key, so clients that were shown different keys share no
channel and no mask.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
from numpy.typing import NDArray

from fedrec.errors import ProtocolError
from fedrec.secure import graph
from fedrec.secure.agreement import (
    KEY_BYTES,
    SIGNATURE_BYTES,
    expand,
    extract,
    info,
    load_public,
    verify,
)
from fedrec.secure.frames import (
    EVERYBODY,
    HEADER_BYTES,
    SERVER,
    Address,
    Kind,
    parse,
    require,
    sender_of,
)
from fedrec.secure.messages import ADVERTISE_BYTES, body_limits, pack_list, read_whole_list
from fedrec.secure.plan import Plan, Vector


@dataclass(frozen=True)
class Advertised:
    """The keys of one client, signed.

    Attributes:
        number: the client.
        channel: X25519 public key of its channels.
        mask: X25519 public key of its masks.
        message: the whole ADVERTISE message.
        channel_point: `channel`, loaded.
        mask_point: `mask`, loaded.
    """

    number: int
    channel: bytes
    mask: bytes
    message: bytes
    channel_point: X25519PublicKey
    mask_point: X25519PublicKey


@dataclass(frozen=True, eq=False)
class Roster:
    """Everybody who takes part: all of it is public.

    Attributes:
        plan: what was agreed.
        members: the clients, ascending by number.
        session: 32 bytes, the session id.
        numbers: int64 [n], client numbers.
        holders: int64 [n, k + 1], positions of the holders of each client's secrets.
    """

    plan: Plan
    members: tuple[Advertised, ...]
    session: bytes
    numbers: NDArray[np.int64]
    holders: NDArray[np.int64]

    @cached_property
    def position(self) -> dict[int, int]:
        """Client number -> place in `members`."""
        return {member.number: at for at, member in enumerate(self.members)}

    @cached_property
    def message(self) -> bytes:
        """The ROSTER message, the same for everybody."""
        body = pack_list([member.message for member in self.members])
        return self.address(Kind.ROSTER, SERVER, EVERYBODY).header(len(body)) + body

    def address(self, kind: Kind, sender: int, receiver: int) -> Address:
        """Return the address of a message of this session."""
        return Address(kind, self.plan.round_number, self.session, sender, receiver)

    def mask_keys(self, secret: bytes, first: int, second: int) -> list[bytes]:
        """Derive one mask key for each vector of the plan.

        Args:
            secret: the seed of a client (first = second), or a result of X25519.
            first: the lower client number.
            second: the higher client number.

        Returns:
            32-byte keys in the order of the plan's vectors.
        """
        key = extract(secret)
        return [expand(key, self._mask_info(v, first, second)) for v in self.plan.vectors]

    def channel_key(self, extracted: bytes, sender: int, receiver: int) -> bytes:
        """Derive the key of the channel from one client, or the server, to another."""
        bound = info(b"channel", self.session, self.plan.round_number, sender, receiver)
        return expand(extracted, bound)

    def _mask_info(self, vector: Vector, first: int, second: int) -> bytes:
        return info(
            b"mask",
            self.session,
            self.plan.round_number,
            first,
            second,
            vector.name.encode(),
            vector.length,
            vector.width,
        )


def advertise_address(plan: Plan, number: int) -> Address:
    """Return the address of a client's first message, which binds it to the plan."""
    return Address(Kind.ADVERTISE, plan.round_number, plan.digest, number, SERVER)


def read_advertised(plan: Plan, message: object) -> Advertised:
    """Check and read an ADVERTISE message.

    Raises:
        ProtocolError: if it is malformed, from a client that is not invited, not signed by it,
            for another plan, or its keys are equal or of low order.
    """
    number = sender_of(message)
    if number not in plan.identities:
        raise ProtocolError(f"client {number} is not invited")
    limits = body_limits(Kind.ADVERTISE, plan)
    frame = parse(message, advertise_address(plan, number), *limits, SIGNATURE_BYTES)
    verify(plan.identities[number], frame.trailer, bytes(frame.content))
    channel, mask = bytes(frame.body[:KEY_BYTES]), bytes(frame.body[KEY_BYTES:])
    require(channel != mask, f"client {number} advertises one key for two purposes")
    whole = bytes(frame.content) + frame.trailer
    return Advertised(number, channel, mask, whole, load_public(channel), load_public(mask))


def make_roster(plan: Plan, members: Sequence[Advertised]) -> Roster:
    """Derive the session of these clients.

    Args:
        plan: what was agreed.
        members: checked, in any order.

    Raises:
        ProtocolError: if a client or a key appears twice.
    """
    ordered = tuple(sorted(members, key=lambda member: member.number))
    keys = [key for member in ordered for key in (member.channel, member.mask)]
    if len({*keys, plan.coordinator}) < len(keys) + 1:
        raise ProtocolError("a public key was advertised twice")
    if len({member.number for member in ordered}) < len(ordered):
        raise ProtocolError("a client is listed twice")
    hashed = hashlib.sha256(b"fedrec session" + plan.digest + struct.pack("<I", len(ordered)))
    for member in ordered:
        hashed.update(struct.pack("<II", 4 + 2 * KEY_BYTES, member.number))
        hashed.update(member.channel + member.mask)
    session = hashed.digest()
    numbers = np.array([member.number for member in ordered], np.int64)
    holders = graph.neighbourhoods(graph.order(session, numbers), plan.neighbours)
    return Roster(plan, ordered, session, numbers, holders)


def read_roster(plan: Plan, message: bytes) -> Roster:
    """Check and read a ROSTER message: every signature, every key, and the session id.

    Raises:
        ProtocolError: if anything is wrong with it.
    """
    least, most = body_limits(Kind.ROSTER, plan)
    if not least <= len(message) - HEADER_BYTES <= most:
        raise ProtocolError(f"a list of clients cannot have {len(message)} bytes")
    entries = read_whole_list(memoryview(message)[HEADER_BYTES:], ADVERTISE_BYTES)
    members = [read_advertised(plan, entry) for entry in entries]
    roster = make_roster(plan, members)
    if roster.message != message:
        raise ProtocolError("a list of clients is out of order or belongs to another session")
    return roster
