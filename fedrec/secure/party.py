"""One client of a session: a state machine, bytes in and bytes out.

Every step is taken once, in order, for one session:

    advertise() -> share(roster) -> mask(inbox, vectors) [-> confirm(survivors)] -> unmask(request)

A message that is not the right one raises ProtocolError and changes nothing, so
a later right one is still accepted.  A client whose messages stop is lost for the
round; that costs the others nothing.

The rule on which privacy rests: of the two secrets of a peer a party reveals one
share, ever.  A survivor's seed cancels the mask that hides it alone; a lost
peer's mask key cancels the masks that it shares with others; both together would
lay its input bare.  `unmask` goes once over the peers, decides for each of them,
forgets everything and answers nothing more.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from fedrec.errors import ConfigError, DataError, ProtocolError
from fedrec.secure.agreement import SIGNATURE_BYTES, TAG_BYTES, Identity
from fedrec.secure.frames import SERVER, Address, Kind, parse, require, sender_of
from fedrec.secure.host import Host
from fedrec.secure.keyring import Keyring
from fedrec.secure.messages import (
    CONFIRM_BYTES,
    body_limits,
    pack_revealed,
    read_list,
    read_numbers,
    read_sealed,
)
from fedrec.secure.plan import Plan, Vector
from fedrec.secure.session import Roster, advertise_address
from fedrec.secure.shamir import Entropy


class Step(IntEnum):
    """How far a party has come."""

    NEW = 0
    ADVERTISED = 1
    SHARED = 2
    MASKED = 3
    CONFIRMED = 4
    DONE = 5


class Party:
    """One client in one session.

    Args:
        plan: what was agreed.
        number: the client.
        identity: its registered identity.
        host: what it shares with other parties of its process; None for a process of its own.
        entropy: source of secret bytes: the operating system, except in tests.

    Raises:
        ConfigError: if the plan does not name this client with this identity, or `entropy`
            is no function.
    """

    def __init__(
        self,
        plan: Plan,
        number: int,
        identity: Identity,
        *,
        host: Host | None = None,
        entropy: Entropy = os.urandom,
    ) -> None:
        if plan.identities.get(number) != identity.public:
            raise ConfigError(
                f"client {number} is not registered with this identity: register it first"
            )
        if not callable(entropy):
            raise ConfigError(
                "entropy must be a function from a number of bytes to bytes, such as os.urandom; "
                f"got {type(entropy).__name__}. A seed is accepted in simulations only"
            )
        self.number = number
        self._plan = plan
        self._identity = identity
        self._host = Host() if host is None else host
        self._entropy = entropy
        self._step = Step.NEW
        self._keyring: Keyring | None = None
        self._roster: Roster | None = None
        self._survivors: frozenset[int] = frozenset()
        self._confirmed = b""

    def __repr__(self) -> str:
        return f"Party(number={self.number}, step={self._step.name})"

    @property
    def step(self) -> Step:
        """How far this party has come."""
        return self._step

    def advertise(self) -> bytes:
        """Draw the keys of the session.

        Returns:
            The ADVERTISE message.

        Raises:
            ProtocolError: if keys were already drawn.
        """
        self._expect(Step.NEW)
        self._keyring = keyring = Keyring(self.number, self._host, self._entropy)
        self._step = Step.ADVERTISED
        body = keyring.channel_public + keyring.mask_public
        return self._signed(advertise_address(self._plan, self.number), body)

    def share(self, roster_message: bytes) -> bytes:
        """Share the seed and the mask key among the neighbours.

        Args:
            roster_message: the ROSTER message.

        Returns:
            The SHARES message.

        Raises:
            ProtocolError: if the roster is wrong or does not hold this party's own keys.
        """
        self._expect(Step.ADVERTISED)
        keyring = self._secrets()
        roster = self._host.roster(self._plan, roster_message)
        at = roster.position.get(self.number, -1)
        require(at >= 0, f"client {self.number} is missing from the list of clients")
        own = (roster.members[at].channel, roster.members[at].mask)
        require(
            own == (keyring.channel_public, keyring.mask_public),
            f"the list of clients holds other keys of client {self.number} than its own",
        )
        holders = roster.holders[at].tolist()
        self._require_enough(len(holders))
        body = keyring.share(roster, holders, self._entropy)
        self._roster = roster
        self._step = Step.SHARED
        return self._tagged(Kind.SHARES, body)

    def mask(self, inbox_message: bytes, vectors: Mapping[str, NDArray]) -> bytearray:
        """Mask this client's vectors.

        Args:
            inbox_message: the INBOX message, with the shares of all neighbours still present.
            vectors: name -> unsigned integers [m], for every vector of the plan.

        Returns:
            The MASKED message.

        Raises:
            DataError: if a vector is not the one that was agreed, before anything else.
            ProtocolError: if the inbox is wrong, or too few neighbours are left.
        """
        self._expect(Step.SHARED)
        for vector in self._plan.vectors:
            _check_vector(vector, vectors.get(vector.name))
        keyring, roster = self._secrets(), self._session()
        sealed = read_sealed(self._read(inbox_message, Kind.INBOX))
        require(sealed.keys() <= keyring.neighbours, "a share comes from no neighbour")
        self._require_enough(len(sealed) + 1)
        message = keyring.mask(roster, keyring.open_shares(roster, sealed), vectors)
        self._step = Step.MASKED
        return message

    def confirm(self, survivors_message: bytes) -> bytes:
        """Sign the set of survivors (malicious-server mode).

        Args:
            survivors_message: the SURVIVORS message.

        Returns:
            The CONFIRM message.

        Raises:
            ProtocolError: if the message is wrong, leaves this party out, or too few of its
                neighbours survive.
        """
        require(self._plan.malicious_server, "nothing is signed in this mode")
        self._expect(Step.MASKED)
        body = self._read(survivors_message, Kind.SURVIVORS)
        numbers, rest = read_numbers(body)
        require(not len(rest), "bytes follow the list of survivors")
        known = set(numbers.tolist())
        require(known <= self._session().position.keys(), "a survivor is not on the list")
        require(
            len(known) >= self._plan.least,
            f"{len(known)} clients survive, fewer than the {self._plan.least} of the plan",
        )
        neighbours = known & self._neighbours()
        self._check_survivors(neighbours)
        self._survivors = frozenset(neighbours)
        self._confirmed = hashlib.sha256(body).digest()
        self._step = Step.CONFIRMED
        address = self._session().address(Kind.CONFIRM, self.number, SERVER)
        return self._signed(address, self._confirmed)

    def unmask(self, request_message: bytes) -> bytes:
        """Reveal one share of each neighbour: of the seed or of the mask key, never both.

        Args:
            request_message: the REQUEST message.

        Returns:
            The REVEAL message.  All secrets of the session are forgotten.

        Raises:
            ProtocolError: if the request is wrong, fewer than the threshold of neighbours survive,
                or (malicious-server mode) fewer have signed the same set.
        """
        self._expect(Step.CONFIRMED if self._plan.malicious_server else Step.MASKED)
        numbers, rest = read_numbers(self._read(request_message, Kind.REQUEST))
        confirmations, rest = read_list(rest, CONFIRM_BYTES)
        require(not len(rest), "bytes follow the request")
        survivors = set(numbers.tolist())
        self._check_survivors(survivors)
        if self._plan.malicious_server:
            require(survivors == self._survivors, "the survivors are not those that were signed")
            self._check_confirmations(confirmations)
        else:
            require(not confirmations, "nothing is signed in this mode")
        revealed = self._secrets().reveal(frozenset(survivors))
        message = self._tagged(Kind.REVEAL, pack_revealed(revealed))
        self.wipe()
        return message

    def sleep(self) -> bytes:
        """Return what `wake` needs to go on, and forget it here: there is one of a party.

        The bytes hold secrets: they stay on the client, and the next message replaces them.
        """
        keyring = self._secrets()
        survivors = b"".join(n.to_bytes(4, "little") for n in sorted(self._survivors))
        head = bytes([self._step, len(self._confirmed)]) + self._confirmed
        stored = head + len(self._survivors).to_bytes(4, "little") + survivors + keyring.store()
        self.wipe()
        return stored

    @classmethod
    def wake(
        cls,
        plan: Plan,
        number: int,
        identity: Identity,
        stored: bytes,
        roster: bytes,
        *,
        host: Host | None = None,
    ) -> Party:
        """Rebuild a party from what `sleep` returned.

        Args:
            plan: what was agreed.
            number: the client.
            identity: its registered identity.
            stored: the bytes.
            roster: the ROSTER message that it has answered; empty before that.
            host: what it shares with other parties of its process.

        Raises:
            ProtocolError: if the roster is another one.
        """
        self = cls(plan, number, identity, host=host)
        size = stored[1]
        self._step, self._confirmed = Step(stored[0]), stored[2 : 2 + size]
        count, at = int.from_bytes(stored[2 + size : 6 + size], "little"), 6 + size
        numbers = [
            int.from_bytes(stored[at + 4 * i : at + 4 * i + 4], "little") for i in range(count)
        ]
        self._survivors = frozenset(numbers)
        self._keyring = Keyring.restore(number, self._host, stored[at + 4 * count :])
        if self._step >= Step.SHARED:
            self._roster = self._host.roster(plan, roster)
        return self

    def wipe(self) -> None:
        """Forget all secrets; the party answers nothing more."""
        self._keyring = None
        self._roster = None
        self._step = Step.DONE

    def _expect(self, step: Step) -> None:
        require(
            self._step is step,
            f"client {self.number} is at the step {self._step.name}, not {step.name}: each message "
            "is accepted once and in order",
        )

    def _secrets(self) -> Keyring:
        if self._keyring is None:
            raise ProtocolError(f"client {self.number} has forgotten this session")
        return self._keyring

    def _session(self) -> Roster:
        if self._roster is None:
            raise ProtocolError(f"client {self.number} has no session")
        return self._roster

    def _neighbours(self) -> set[int]:
        """Return the client numbers of the holders of this party's secrets."""
        roster = self._session()
        return set(roster.numbers[roster.holders[roster.position[self.number]]].tolist())

    def _signed(self, address: Address, body: bytes) -> bytes:
        content = address.header(len(body)) + body
        return content + self._identity.sign(content)

    def _tagged(self, kind: Kind, body: bytes) -> bytes:
        content = self._session().address(kind, self.number, SERVER).header(len(body)) + body
        return content + self._secrets().tag(kind, content)

    def _read(self, raw: object, kind: Kind) -> memoryview:
        """Return the body of a message of the server."""
        address = self._session().address(kind, SERVER, self.number)
        frame = parse(raw, address, *body_limits(kind, self._plan), TAG_BYTES)
        self._secrets().check_tag(kind, frame)
        return frame.body

    def _require_enough(self, present: int) -> None:
        require(
            present >= self._plan.quorum,
            f"client {self.number} and its neighbours are {present}, fewer than the "
            f"{self._plan.quorum} that the threshold asks for",
        )

    def _check_survivors(self, survivors: set[int]) -> None:
        require(self.number in survivors, f"client {self.number} is called lost, but is not")
        require(
            survivors <= self._secrets().held,
            "a survivor is no neighbour, or has never shared its secrets",
        )
        self._require_enough(len(survivors))

    def _check_confirmations(self, confirmations: list[bytes]) -> None:
        """Require at least t neighbours to have signed the set that this party has signed."""
        signers = [sender_of(message) for message in confirmations]
        require(signers == sorted(set(signers)), "signatures must ascend by client, each once")
        require(set(signers) <= self._neighbours(), "a signature comes from no neighbour")
        require(
            len(signers) >= self._plan.threshold,
            f"{len(signers)} neighbours have signed the survivors, fewer than the threshold of "
            f"{self._plan.threshold}",
        )
        for signer, message in zip(signers, confirmations, strict=True):
            self._check_confirmation(signer, message)

    def _check_confirmation(self, signer: int, message: bytes) -> None:
        """Check one signature; proof that the server lies ends the session for this party."""
        address = self._session().address(Kind.CONFIRM, signer, SERVER)
        frame = parse(message, address, *body_limits(Kind.CONFIRM, self._plan), SIGNATURE_BYTES)
        public = self._plan.identities[signer]
        self._host.verify(public, frame.trailer, bytes(frame.content))
        if bytes(frame.body) != self._confirmed:
            self.wipe()
            raise ProtocolError(
                f"client {signer} was shown another set of survivors than client {self.number}: "
                "the server is not to be trusted, and the session is over for this client"
            )


def _check_vector(vector: Vector, values: NDArray | None) -> None:
    """Refuse input that is not what was agreed, before any of it is masked."""
    if not isinstance(values, np.ndarray) or values.shape != (vector.length,):
        shape = None if values is None else np.shape(values)
        raise DataError(
            f"vector {vector.name!r} must be an array of {vector.length} elements, got {shape}"
        )
    if values.dtype.kind != "u":
        raise DataError(
            f"vector {vector.name!r} must hold unsigned integers, got {values.dtype}: "
            "quantise it first"
        )
    largest = 2**vector.width - 1 if vector.bound is None else vector.bound  # modular: any
    if int(values.max()) > largest:
        raise DataError(
            f"vector {vector.name!r} holds an element above the agreed bound of {largest}"
        )
