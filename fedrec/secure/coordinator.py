"""The server of a session: a state machine, bytes in and bytes out.

    coordinator = Coordinator(...)
    for each stage: coordinator.receive(message) for every message that arrived
                    outgoing = coordinator.advance()        # client number -> next message
    sums = coordinator.finish()

A message that is not the right one raises ProtocolError and changes nothing: its
sender counts as lost unless a right one follows.  Masked vectors are added up as
they arrive and not kept.  Survivors are determined anew after every stage.  Where a
secret that will be needed has fewer than t holders left, the round ends at once
with SkippedRound.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from numpy.typing import NDArray

from fedrec.errors import ConfigError, SkippedRound
from fedrec.secure.agreement import (
    KEY_BYTES,
    SIGNATURE_BYTES,
    TAG_BYTES,
    check_tag,
    exchange,
    extract,
    tag,
    verify,
)
from fedrec.secure.field import LIMBS
from fedrec.secure.frames import SERVER, Kind, parse, require, sender_of
from fedrec.secure.messages import (
    DIGEST_BYTES,
    MASK_KEY,
    SEED,
    body_limits,
    pack_list,
    pack_numbers,
    pack_sealed,
    read_revealed,
    read_sealed,
)
from fedrec.secure.packing import chunks, clean, reduce
from fedrec.secure.plan import NONCE_BYTES, Plan, Vector, make_plan
from fedrec.secure.recovery import Recovery
from fedrec.secure.session import Advertised, Roster, make_roster, read_advertised
from fedrec.secure.shamir import Entropy

STAGES = ("advertise", "share", "mask", "consistency", "unmask")


@dataclass(frozen=True, eq=False)
class Sums:
    """What comes out of a session, and all that comes out.

    Attributes:
        totals: name of a vector -> uint32 or uint64 [m], the sum over the survivors.
        survivors: numbers of the clients whose input is in the totals.
    """

    totals: dict[str, NDArray]
    survivors: tuple[int, ...]


class Coordinator:
    """The server of one session.

    Args:
        registry: client number -> registered Ed25519 public key, for all invited clients.
        vectors: what is summed.
        round_number: the round.
        mode: "semi-honest" or "malicious-server".
        neighbours: k, or None for the choice of `graph.choose`.
        threshold: t, or None.
        least: clients whose input must be in the sum, else the round is skipped before
            anything is revealed.
        entropy: source of secret bytes: the operating system, except in tests.

    Raises:
        ConfigError: if the parameters are impossible or unsafe, with what to change.
    """

    def __init__(
        self,
        registry: Mapping[int, bytes],
        vectors: tuple[Vector, ...],
        *,
        round_number: int,
        mode: str = "semi-honest",
        neighbours: int | None = None,
        threshold: int | None = None,
        least: int = 0,
        entropy: Entropy = os.urandom,
    ) -> None:
        if not callable(entropy):
            raise ConfigError("entropy must be a function from a number of bytes to bytes")
        self._secret: X25519PrivateKey | None = X25519PrivateKey.from_private_bytes(
            entropy(KEY_BYTES)
        )
        self.plan: Plan = make_plan(
            registry,
            vectors,
            round_number=round_number,
            coordinator=self._secret.public_key().public_bytes_raw(),
            nonce=entropy(NONCE_BYTES),
            mode=mode,
            neighbours=neighbours,
            threshold=threshold,
            least=least,
        )
        self._stage = 0
        self._expected = set(self.plan.identities)
        self._arrived: set[int] = set()
        self._advertised: list[Advertised] = []
        self._taken = {self.plan.coordinator}
        self._roster: Roster | None = None
        self._keys: dict[int, tuple[bytes, bytes]] = {}  # client -> keys to and from it
        self._recovery: Recovery | None = None
        self._sealed: dict[int, dict[int, bytes]] = {}  # sender -> receiver -> sealed shares
        self._totals = {v.name: np.zeros(v.length, v.dtype) for v in vectors}
        self._survivors: NDArray[np.int64] = np.zeros(0, np.int64)
        self._confirmations: dict[int, bytes] = {}

    @property
    def stage(self) -> str:
        """The stage whose messages are accepted now, or "finish"."""
        return STAGES[self._stage] if self._stage < len(STAGES) else "finish"

    @property
    def expected(self) -> frozenset[int]:
        """The clients whose message of this stage has not arrived."""
        return frozenset(self._expected - self._arrived)

    @property
    def survivors(self) -> tuple[int, ...]:
        """The clients whose input is in the sum; empty before the stage "mask" is over."""
        return tuple(self._survivors.tolist())

    def receive(self, message: bytes | bytearray | memoryview) -> int:
        """Take one message of the present stage.

        Args:
            message: what a client sent.

        Returns:
            The number of the client.

        Raises:
            ProtocolError: if it is malformed, forged, a repetition, or of another stage,
                session or round.  Nothing has changed.
        """
        number = sender_of(message)
        require(number in self._expected, f"client {number} is not expected at {self.stage!r}")
        require(number not in self._arrived, f"client {number} has already been heard")
        take = {
            "advertise": self._take_keys,
            "share": self._take_shares,
            "mask": self._take_masked,
            "consistency": self._take_confirmation,
            "unmask": self._take_revealed,
        }[self.stage]
        take(number, message)
        self._arrived.add(number)
        return number

    def advance(self) -> dict[int, bytes]:
        """End the present stage: who has not been heard is lost.

        Returns:
            Client number -> its message of the next stage.

        Raises:
            SkippedRound: if too few are left for a sum; the session is over.
        """
        end = {
            "advertise": self._end_advertise,
            "share": self._end_share,
            "mask": self._end_mask,
            "consistency": self._end_consistency,
        }.get(self.stage)
        require(end is not None, f"there is nothing to advance to from {self.stage!r}")
        outgoing = end() if end else {}
        self._expected, self._arrived = set(outgoing), set()
        return outgoing

    def finish(self) -> Sums:
        """Recover what cancels the masks, and subtract them.

        Returns:
            The sums over the survivors.  The session's secrets are forgotten.

        Raises:
            SkippedRound: if too few shares came back or shares were wrong.
        """
        require(self.stage == "unmask", f"the sum is not ready at {self.stage!r}")
        recovery = self._recovered()
        self._require_holders(self._arrived)
        try:
            recovery.unmask(self._totals, self._survivors)
            for vector in self.plan.vectors:
                reduce(self._totals[vector.name], vector.width)
        finally:
            self._wipe()
        return Sums(self._totals, self.survivors)

    def _wipe(self) -> None:
        self._secret = None
        self._recovery = None
        self._keys.clear()
        self._sealed.clear()
        self._stage, self._expected = len(STAGES), set()

    # Messages in

    def _take_keys(self, number: int, message: object) -> None:
        advertised = read_advertised(self.plan, message)
        keys = {advertised.channel, advertised.mask}
        require(
            self._taken.isdisjoint(keys), f"client {number} advertises a key that is already in use"
        )
        self._taken |= keys
        self._advertised.append(advertised)

    def _take_shares(self, number: int, message: object) -> None:
        body = self._read(number, message, Kind.SHARES)
        sealed = read_sealed(body[DIGEST_BYTES:])
        roster = self._session()
        holders = roster.numbers[roster.holders[roster.position[number]]].tolist()
        wanted = [holder for holder in holders if holder != number]
        require(list(sealed) == wanted, f"client {number} must share with its neighbours")
        self._sealed[number] = sealed
        self._recovered().commitments[number] = bytes(body[:DIGEST_BYTES])

    def _take_masked(self, number: int, message: object) -> None:
        body, parts, start = self._read(number, message, Kind.MASKED), [], 0
        for vector in self.plan.vectors:
            raw = body[start : start + vector.num_bytes]
            require(clean(raw, vector.length, vector.width), "bits follow the last element")
            parts.append((vector, raw))
            start += vector.num_bytes
        for vector, raw in parts:
            total = self._totals[vector.name]
            for at, part in chunks(raw, vector.length, vector.width):
                own = total[at : at + len(part)]
                np.add(own, part, out=own)

    def _take_confirmation(self, number: int, message: object) -> None:
        address = self._session().address(Kind.CONFIRM, number, SERVER)
        frame = parse(message, address, *body_limits(Kind.CONFIRM, self.plan), SIGNATURE_BYTES)
        verify(self.plan.identities[number], frame.trailer, bytes(frame.content))
        own = hashlib.sha256(pack_numbers(self._survivors)).digest()
        require(bytes(frame.body) == own, f"client {number} has signed other survivors")
        self._confirmations[number] = bytes(frame.content) + frame.trailer

    def _take_revealed(self, number: int, message: object) -> None:
        revealed = read_revealed(self._read(number, message, Kind.REVEAL))
        owners = self._held_by(number)
        secrets = np.where(np.isin(owners, self._survivors), SEED, MASK_KEY)
        right = np.array_equal(revealed["owner"], owners) and np.array_equal(
            revealed["secret"], secrets
        )
        require(right, f"client {number} must reveal one share of each neighbour, as asked")
        shares = revealed["share"].astype(np.int64).reshape(len(owners), LIMBS)
        self._recovered().add(number, owners, shares)

    def _read(self, number: int, message: object, kind: Kind) -> memoryview:
        address = self._session().address(kind, number, SERVER)
        frame = parse(message, address, *body_limits(kind, self.plan), TAG_BYTES)
        check_tag(self._keys[number][1], kind, frame.content, frame.trailer)
        return frame.body

    # Stages

    def _end_advertise(self) -> dict[int, bytes]:
        needed = max(self.plan.quorum, self.plan.least)
        if len(self._arrived) < needed:
            self._skip(len(self._arrived), needed, "clients have sent their keys")
        self._roster = roster = make_roster(self.plan, self._advertised)
        self._recovery = Recovery(roster)
        for member in roster.members:
            self._agree(roster, member)
        self._secret = None
        self._stage = 1
        return {member.number: roster.message for member in roster.members}

    def _agree(self, roster: Roster, member: Advertised) -> None:
        """Derive the keys that authenticate messages to and from one client."""
        if self._secret is not None:
            key = extract(exchange(self._secret, member.channel_point))
            self._keys[member.number] = (
                roster.channel_key(key, SERVER, member.number),
                roster.channel_key(key, member.number, SERVER),
            )

    def _end_share(self) -> dict[int, bytes]:
        roster, recovery = self._session(), self._recovered()
        recovery.start(self._arrived)
        sharing = set(roster.numbers[recovery.sharing].tolist())
        self._require_companions(sharing or self._arrived)
        self._require_least(len(sharing))
        self._stage = 2
        outgoing = {}
        for number in roster.numbers[recovery.sharing].tolist():
            senders = [owner for owner in self._held_by(number).tolist() if owner != number]
            body = pack_sealed(senders, [self._sealed[sender][number] for sender in senders])
            outgoing[number] = self._tagged(Kind.INBOX, number, body)
        self._sealed.clear()
        return outgoing

    def _end_mask(self) -> dict[int, bytes]:
        self._survivors = np.array(sorted(self._arrived), np.int64)
        self._recovered().keep(self._arrived)
        self._require_companions(self._arrived)
        self._require_least(len(self._arrived))
        self._require_holders(self._arrived)
        if not self.plan.malicious_server:
            self._stage = 4
            return self._requests(self._arrived)
        self._stage = 3
        body = pack_numbers(self._survivors)
        return {n: self._tagged(Kind.SURVIVORS, n, body) for n in self.survivors}

    def _end_consistency(self) -> dict[int, bytes]:
        self._require_holders(self._arrived)
        self._stage = 4
        return self._requests(self._arrived)

    def _requests(self, receivers: set[int]) -> dict[int, bytes]:
        roster, outgoing = self._session(), {}
        for number in sorted(receivers):
            holders = roster.numbers[roster.holders[roster.position[number]]]
            survivors = holders[np.isin(holders, self._survivors)]
            signed = [self._confirmations[n] for n in holders.tolist() if n in self._confirmations]
            body = pack_numbers(survivors) + pack_list(signed)
            outgoing[number] = self._tagged(Kind.REQUEST, number, body)
        return outgoing

    def _require_holders(self, present: set[int]) -> None:
        """End the round if a secret that will be needed has fewer than t holders left."""
        fewest = self._recovered().fewest_holders(present)
        if fewest < self.plan.threshold:
            self._skip(fewest, self.plan.threshold, "holders of a client's secrets are left")

    def _require_companions(self, present: set[int]) -> None:
        """End the round if a client would be too alone to reveal anything."""
        fewest, quorum = self._recovered().fewest_companions(present), self.plan.quorum
        if fewest < quorum:
            self._skip(fewest, quorum, "clients are left around one of them, itself included")

    def _require_least(self, present: int) -> None:
        """End the round if too few clients are left for the sum that was agreed."""
        if present < self.plan.least:
            self._skip(present, self.plan.least, "clients are left")

    def _skip(self, remaining: int, needed: int, what: str) -> None:
        stage = self.stage
        self._wipe()
        raise SkippedRound(
            stage, remaining, needed, f"{remaining} {what}, and {needed} are needed."
        )

    def _session(self) -> Roster:
        if self._roster is None:
            raise ConfigError("the session has not started")
        return self._roster

    def _recovered(self) -> Recovery:
        if self._recovery is None:
            raise ConfigError("the session is over or has not started")
        return self._recovery

    def _held_by(self, number: int) -> NDArray[np.int64]:
        """Return the clients of whose secrets this client holds shares, ascending."""
        roster = self._session()
        holders = roster.holders[roster.position[number]]
        return roster.numbers[holders[self._recovered().sharing[holders]]]

    def _tagged(self, kind: Kind, number: int, body: bytes) -> bytes:
        content = self._session().address(kind, SERVER, number).header(len(body)) + body
        return content + tag(self._keys[number][0], kind, content)
