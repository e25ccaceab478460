"""The secrets of one client in one session, and what is computed with them.

Nothing here checks the order of messages (the party does) and nothing is written
anywhere.  Python cannot overwrite immutable bytes: forgetting means that nothing
refers to them any more.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

import numpy as np
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from numpy.typing import NDArray

from fedrec.errors import ProtocolError
from fedrec.secure.agreement import (
    KEY_BYTES,
    TAG_BYTES,
    check_tag,
    commitment,
    exchange,
    extract,
    load_public,
    seal,
    tag,
    unseal,
)
from fedrec.secure.field import LIMBS, limbs
from fedrec.secure.frames import HEADER_BYTES, SERVER, Frame, Kind
from fedrec.secure.host import Host
from fedrec.secure.masks import add_masks
from fedrec.secure.messages import MASK_KEY, REVEALED, SEED, SHARE_BYTES, pack_sealed
from fedrec.secure.packing import pack, plain_words
from fedrec.secure.plan import Vector
from fedrec.secure.session import Roster
from fedrec.secure.shamir import Entropy, coefficients, split

_NONE = bytes(KEY_BYTES)
_STORED = struct.Struct("<32s32s32s32s32s32s32sII")
_INCOMING = np.dtype([("peer", "<u4"), ("key", "u1", KEY_BYTES)])
_HELD = np.dtype([("owner", "<u4"), ("shares", "u1", 2 * SHARE_BYTES)])


class Keyring:
    """The secrets of one client in one session.

    Args:
        number: the client.
        host: what it shares with other parties of its process.
        entropy: source of secret bytes.
    """

    def __init__(self, number: int, host: Host, entropy: Entropy) -> None:
        self._number = number
        self._host = host
        self._channel: X25519PrivateKey | None = _new_key(entropy)
        self._mask: X25519PrivateKey | None = _new_key(entropy)
        self._seed = b""
        self._to_server = b""
        self._from_server = b""
        self._incoming: dict[int, bytes] = {}  # neighbour -> key of what it sends
        self._held: dict[int, bytes] = {}  # owner -> shares of its seed and its mask key
        self.channel_public = _public(self._channel)
        self.mask_public = _public(self._mask)
        host.join(self.channel_public, self.mask_public)

    def __repr__(self) -> str:
        return f"Keyring(number={self._number})"

    @property
    def held(self) -> frozenset[int]:
        """The clients of whose secrets this client holds shares, itself among them."""
        return frozenset(self._held)

    @property
    def neighbours(self) -> frozenset[int]:
        """The clients from which shares may come."""
        return frozenset(self._incoming)

    def tag(self, kind: Kind, content: bytes | memoryview) -> bytes:
        """Authenticate a message to the server."""
        return tag(self._to_server, kind, content)

    def check_tag(self, kind: Kind, frame: Frame) -> None:
        """Check that a message comes from the server.

        Raises:
            ProtocolError: if it does not.
        """
        check_tag(self._from_server, kind, frame.content, frame.trailer)

    def store(self) -> bytes:
        """Return all secrets as bytes, for a process that ends between two messages."""
        channel, mask = (
            _NONE if key is None else key.private_bytes_raw() for key in (self._channel, self._mask)
        )
        head = _STORED.pack(
            channel,
            mask,
            self.channel_public,
            self.mask_public,
            self._seed or _NONE,
            self._to_server,
            self._from_server,
            len(self._incoming),
            len(self._held),
        )
        return head + _records(self._incoming) + _records(self._held)

    @classmethod
    def restore(cls, number: int, host: Host, stored: bytes) -> Keyring:
        """Rebuild what `store` returned.

        Args:
            number: the client.
            host: of the new process.
            stored: the bytes.
        """
        channel, mask, channel_public, mask_public, seed, up, down, incoming, held = (
            _STORED.unpack_from(stored)
        )
        self = cls.__new__(cls)
        self._number, self._host = number, host
        self._channel, self._mask = (_optional_key(raw) for raw in (channel, mask))
        self.channel_public, self.mask_public = channel_public, mask_public
        self._seed = b"" if seed == _NONE else seed
        self._to_server, self._from_server = up, down
        at = _STORED.size
        first = np.frombuffer(stored, _INCOMING, incoming, at)
        second = np.frombuffer(stored, _HELD, held, at + incoming * _INCOMING.itemsize)
        self._incoming = {int(r["peer"]): r["key"].tobytes() for r in first}
        self._held = {int(r["owner"]): r["shares"].tobytes() for r in second}
        host.join(channel_public, mask_public)
        return self

    def share(self, roster: Roster, holders: Sequence[int], entropy: Entropy) -> bytes:
        """Draw the seed, and share seed and mask key among the holders.

        Args:
            roster: the session.
            holders: positions of the holders in the roster, oneself among them.
            entropy: source of secret bytes.

        Returns:
            The body of SHARES: a commitment to the seed and the sealed shares.
        """
        channel, mask = _present(self._channel), _present(self._mask)
        secret = extract(exchange(channel, load_public(roster.plan.coordinator)))
        self._to_server = roster.channel_key(secret, self._number, SERVER)
        self._from_server = roster.channel_key(secret, SERVER, self._number)
        self._seed = entropy(KEY_BYTES)
        both = np.concatenate([limbs(self._seed), limbs(mask.private_bytes_raw())])
        random = coefficients(roster.plan.threshold, 2 * LIMBS, entropy)
        shares = split(both, random, len(holders)).astype("<u2")
        sealed = self._seal(channel, roster, holders, [share.tobytes() for share in shares])
        return commitment(roster.session, self._number, self._seed) + sealed

    def _seal(
        self,
        channel: X25519PrivateKey,
        roster: Roster,
        holders: Sequence[int],
        shares: Sequence[bytes],
    ) -> bytes:
        """Seal each neighbour's shares for it; keep one's own."""
        numbers, sealed = [], []
        for at, share in zip(holders, shares, strict=True):
            peer = roster.members[at]
            if peer.number == self._number:
                self._held[peer.number] = share
                continue
            result = self._host.agree(
                channel, self.channel_public, peer.channel, peer.channel_point
            )
            secret = extract(result)
            self._incoming[peer.number] = roster.channel_key(secret, peer.number, self._number)
            key = roster.channel_key(secret, self._number, peer.number)
            numbers.append(peer.number)
            sealed.append(seal(key, share, _bound(roster, self._number, peer.number)))
        return pack_sealed(numbers, sealed)

    def open_shares(self, roster: Roster, sealed: Mapping[int, bytes]) -> dict[int, bytes]:
        """Open the shares of neighbours.

        Args:
            roster: the session.
            sealed: neighbour -> sealed shares.

        Returns:
            Neighbour -> 72 bytes, the shares of its seed and its mask key.

        Raises:
            ProtocolError: if one was changed or belongs elsewhere.
        """
        return {
            peer: unseal(self._incoming[peer], content, _bound(roster, peer, self._number))
            for peer, content in sealed.items()
        }

    def mask(
        self, roster: Roster, shares: Mapping[int, bytes], vectors: Mapping[str, NDArray]
    ) -> bytearray:
        """Build the MASKED message in one buffer, masks added in place.

        In a ring of k bits masks are whole words all the same, and their sum is reduced
        at the end: 2**k divides 2**32 and 2**64, so that is the sum of the reduced ones.

        Keeps the shares of the neighbours; forgets the client's own secrets, which only
        its neighbours can recover from now on.

        Args:
            roster: the session.
            shares: what `open_shares` gave: the neighbours with which masks are shared.
            vectors: name -> unsigned integers, as the plan says.

        Returns:
            The message with its tag.
        """
        plan, number = roster.plan, self._number
        own = roster.mask_keys(self._seed, number, number)
        pairs = {peer: self._pair_keys(roster, peer) for peer in shares}
        size = sum(vector.num_bytes for vector in plan.vectors)
        message = bytearray(HEADER_BYTES + size + TAG_BYTES)
        message[:HEADER_BYTES] = roster.address(Kind.MASKED, number, SERVER).header(size)
        start = HEADER_BYTES
        for at, vector in enumerate(plan.vectors):
            place = memoryview(message)[start : start + vector.num_bytes]
            whole = plain_words(vector.width)  # then masked where they stand
            part = np.frombuffer(place, vector.dtype) if whole else _words(vector)
            np.copyto(part, vectors[vector.name], casting="unsafe")
            plus = [own[at]] + [keys[at] for peer, keys in pairs.items() if peer > number]
            add_masks(part, plus, [keys[at] for peer, keys in pairs.items() if peer < number])
            if not whole:
                pack(part, vector.width, place)
            start += vector.num_bytes
        message[-TAG_BYTES:] = self.tag(Kind.MASKED, memoryview(message)[:-TAG_BYTES])
        self._held.update(shares)
        self._incoming.clear()
        self._seed, self._channel, self._mask = b"", None, None
        return message

    def _pair_keys(self, roster: Roster, peer: int) -> list[bytes]:
        member = roster.members[roster.position[peer]]
        result = self._host.agree(
            _present(self._mask), self.mask_public, member.mask, member.mask_point
        )
        return roster.mask_keys(result, min(peer, self._number), max(peer, self._number))

    def reveal(self, survivors: frozenset[int]) -> NDArray:
        """Choose one share of each owner: of the seed if it survives, else of the mask key.

        Args:
            survivors: the owners whose input is in the sum.

        Returns:
            An array of dtype REVEALED, ascending by owner.
        """
        owners = sorted(self._held)
        revealed = np.zeros(len(owners), REVEALED)
        for at, owner in enumerate(owners):
            secret = SEED if owner in survivors else MASK_KEY
            share = self._held[owner][secret * SHARE_BYTES : (secret + 1) * SHARE_BYTES]
            revealed[at] = (owner, secret, np.frombuffer(share, "<u2"))
        return revealed


def _words(vector: Vector) -> NDArray:
    return np.empty(vector.length, vector.dtype)


def _new_key(entropy: Entropy) -> X25519PrivateKey:
    return X25519PrivateKey.from_private_bytes(entropy(KEY_BYTES))


def _optional_key(raw: bytes) -> X25519PrivateKey | None:
    return None if raw == _NONE else X25519PrivateKey.from_private_bytes(raw)


def _records(values: Mapping[int, bytes]) -> bytes:
    return b"".join(struct.pack("<I", number) + value for number, value in values.items())


def _public(key: X25519PrivateKey | None) -> bytes:
    return _present(key).public_key().public_bytes_raw()


def _present(key: X25519PrivateKey | None) -> X25519PrivateKey:
    if key is None:
        raise ProtocolError("the secrets of this session are forgotten")
    return key


def _bound(roster: Roster, sender: int, receiver: int) -> bytes:
    """Return the associated data of sealed shares: session, round, sender, receiver."""
    return roster.address(Kind.SHARES, sender, receiver).header(2 * SHARE_BYTES)
