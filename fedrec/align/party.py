"""One party of an alignment, as states and pure functions: bytes in, bytes out.

A state is replaced by the next one only when all messages of a stage are right, so a
message that is refused changes nothing, and a party never answers a stage twice.

Pair (scope and match of two): private set intersection by commutative blinding.
1. COMMIT: a hash of a random salt; 2. OPEN: the salt (so nobody chose the joint salt);
3. BLINDED: k H(id) of the own list, sorted, which is an order without meaning;
4. TAGS: hashes of k k' H(id) for the other's list, for match in its order, for scope
   sorted, so that the other can count but not tell which.
Sources: Meadows 1986; Huberman, Franklin and Hogg 1999; De Cristofaro, Gasti and Tsudik
2012 for the count alone.

Ring (union, and match of more than two): 3. BLINDED: t H(id) with a secret t for this
list alone; 4. RELAYED, n - 1 hops: every other party multiplies by its k, in the list's
order; the owner then multiplies by k / t, so that only the owner ever sees K H(id), with
K the product of all parties' k, and hashes it to the pseudonym.  5. PSEUDONYMS, sorted:
for union to a coordinator that numbers them, for match to all.

All of it is for parties that follow the protocol and are curious (semi-honest).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from fedrec.align.agreement import Agreement
from fedrec.align.curve import (
    SALT_BYTES,
    Entropy,
    blind,
    draw_scalar,
    multiply,
    quotient,
    tags,
)
from fedrec.align.ids import Ids
from fedrec.align.messages import COORDINATOR, EVERYBODY, Header, Kind, pack, peek, unpack
from fedrec.align.terms import check_own, check_sizes
from fedrec.errors import ProtocolError
from fedrec.secure.agreement import Identity


@dataclass(frozen=True, repr=False)
class Secrets:
    """What a party draws anew for each alignment.

    Attributes:
        salt: its part of the joint salt, 32 bytes.
        key: the scalar k that blinds all lists.
        mask: the scalar t that blinds its own list in a ring.
    """

    salt: bytes
    key: int
    mask: int

    @classmethod
    def draw(cls, entropy: Entropy = os.urandom) -> Secrets:
        """Draw from the operating system; another source is for tests only."""
        return cls(entropy(SALT_BYTES), draw_scalar(entropy), draw_scalar(entropy))


@dataclass(frozen=True, eq=False, repr=False)
class State:
    """Where a party stands.

    Attributes:
        agreement: the terms.
        me: its number.
        ids: its list.
        secrets: see `Secrets`.
        identity: signs, where the agreement names keys.
        stage: messages that it has sent.
        commitments: of all parties, once known; likewise `salts`.
        order: keys in the order of the own list as sent; empty before.
        listed: entries of the own list as sent.
        others: tags of the other's list (pair), or own pseudonyms by key (ring).
        sizes: party -> length of its list, as far as known.
    """

    agreement: Agreement
    me: int
    ids: Ids
    secrets: Secrets
    identity: Identity | None = None
    stage: int = 0
    commitments: tuple[bytes, ...] = ()
    salts: tuple[bytes, ...] = ()
    order: tuple[int, ...] = ()
    listed: tuple[bytes, ...] = ()
    others: tuple[bytes, ...] = ()
    sizes: dict[int, int] = field(default_factory=dict)

    @property
    def parties(self) -> int:
        """n, the number of parties."""
        return len(self.agreement.parties)

    @property
    def salt(self) -> bytes:
        """The joint salt, 32 bytes, once all parts are known."""
        return _digest(b"salt", self.agreement.digest, *self.salts)

    @property
    def sent(self) -> Header:
        """The header of the message sent last."""
        return _header(self, self.stage, self.me)

    @property
    def finished(self) -> bool:
        """Whether all messages are sent, so that only `finish` is left."""
        return self.stage == len(stages(self.agreement))


def stages(agreement: Agreement) -> list[tuple[Kind, int]]:
    """Return kind and hop of the messages that each party sends, in order."""
    first = [(Kind.COMMIT, 0), (Kind.OPEN, 0), (Kind.BLINDED, 0)]
    if agreement.in_pair:
        return [*first, (Kind.TAGS, 0)]
    hops = [(Kind.RELAYED, hop) for hop in range(1, len(agreement.parties))]
    return [*first, *hops, (Kind.PSEUDONYMS, 0)]


def start(
    agreement: Agreement,
    party: str,
    ids: Ids,
    *,
    identity: Identity | None = None,
    secrets: Secrets | None = None,
) -> tuple[State, bytes]:
    """Begin an alignment.

    Args:
        agreement: the terms.
        party: who this is.
        ids: its list.
        identity: its signing key, if the agreement names keys.
        secrets: for tests; else drawn from the operating system.

    Returns:
        the state, to be kept secret, and the first message, for all others.

    Raises:
        ConfigError: if the party or its key is not that of the agreement.
        AlignmentError: if the list is shorter than agreed.
    """
    check_own(agreement, party, ids, identity)
    me = agreement.number(party)
    state = State(agreement, me, ids, secrets or Secrets.draw(), identity, sizes={me: len(ids)})
    return _send(state, [_commitment(agreement, me, state.secrets.salt)])


def expected(state: State) -> list[Header]:
    """Return the headers of the messages that the next step needs, in order of sender."""
    kind, _ = stages(state.agreement)[state.stage - 1]
    everyone = (Kind.COMMIT, Kind.OPEN, Kind.PSEUDONYMS)
    if state.finished and state.agreement.mode == "union":
        session = _session(state, state.stage + 1)
        return [Header(Kind.UNION, session, COORDINATOR, EVERYBODY, COORDINATOR)]
    if kind in everyone:
        senders = [n for n in range(state.parties) if n != state.me]
    elif state.agreement.in_pair:
        senders = [1 - state.me]
    else:
        senders = [(state.me - 1) % state.parties]
    return [_header(state, state.stage, sender) for sender in senders]


def answer(state: State, messages: Sequence[bytes]) -> tuple[State, bytes]:
    """Take the messages of a stage and make the next one.

    Args:
        state: of this party; it is not changed.
        messages: one of each party that `expected` names, in any order.

    Returns:
        the next state, and the message to send.

    Raises:
        ProtocolError: if a message is malformed, missing, changed, of another agreement or
            stage, or holds what is no point of the curve; or if all messages are sent.
        AlignmentError: if another's list is shorter or more lopsided than agreed.
    """
    if state.finished:
        raise ProtocolError("all messages are sent; what is left is to finish")
    entries = _take(state, messages)
    kind, hop = stages(state.agreement)[state.stage]
    if kind == Kind.OPEN:
        return _open(state, entries)
    if kind == Kind.BLINDED:
        return _blinded(state, entries)
    if kind == Kind.TAGS:
        return _tags(state, entries[1 - state.me])
    previous = next(iter(entries.values()))
    if kind == Kind.RELAYED:
        return _relay(state, hop, previous)
    return _pseudonyms(state, previous)


def receive_last(state: State, messages: Sequence[bytes]) -> dict[int, list[bytes]]:
    """Return sender -> entries of the messages that `finish` needs, checked.

    Raises:
        ProtocolError: as `answer`, or if messages are still to be sent.
    """
    if not state.finished:
        raise ProtocolError(
            f"stage {state.stage} of {len(stages(state.agreement))}: more messages are to be "
            "answered before the end"
        )
    return _take(state, messages)


def _take(state: State, messages: Sequence[bytes]) -> dict[int, list[bytes]]:
    """Return sender -> entries; every expected message exactly once."""
    wanted = expected(state)
    if len(messages) != len(wanted):
        names = [
            "the coordinator" if h.sender == COORDINATOR else state.agreement.parties[h.sender]
            for h in wanted
        ]
        raise ProtocolError(
            f"expected {len(wanted)} message(s) {wanted[0].kind.name}, of {', '.join(names)}; "
            f"got {len(messages)}"
        )
    by_sender = {peek(raw, state.agreement).sender: raw for raw in messages}
    missing = next((h for h in wanted if h.sender not in by_sender), None)
    if missing is not None:
        raw = next(iter(by_sender.values()))
        unpack(raw, missing, state.agreement)  # says what came instead
    return {h.sender: unpack(by_sender[h.sender], h, state.agreement) for h in wanted}


def _send(state: State, entries: Sequence[bytes]) -> tuple[State, bytes]:
    """Return the state after the next stage, and its message."""
    later = replace(state, stage=state.stage + 1)
    return later, pack(later.sent, entries, state.agreement, state.identity)


def _header(state: State, stage: int, sender: int) -> Header:
    """Return the header of the message that a party sends in a stage, counted from 1."""
    (kind, hop), parties = stages(state.agreement)[stage - 1], state.parties
    receiver, owner = (sender + 1) % parties, sender
    if kind in (Kind.COMMIT, Kind.OPEN):
        receiver = EVERYBODY
    elif kind == Kind.TAGS:
        owner = receiver
    elif kind == Kind.RELAYED:
        owner = (sender - hop) % parties
    elif kind == Kind.PSEUDONYMS:
        receiver = COORDINATOR if state.agreement.mode == "union" else EVERYBODY
    return Header(kind, _session(state, stage), sender, receiver, owner, hop)


def _session(state: State, stage: int) -> bytes:
    """Return what messages of a stage are bound to: all that is settled before it."""
    digest = state.agreement.digest
    if stage == 1:
        return _digest(b"terms", digest)
    if stage == 2:
        return _digest(b"commitments", digest, *state.commitments)
    return session_of(state)


def session_of(state: State) -> bytes:
    """Return the 32 bytes that bind all messages after the salts are known."""
    return _digest(b"salts", state.agreement.digest, *state.commitments, *state.salts)


def _commitment(agreement: Agreement, number: int, salt: bytes) -> bytes:
    return _digest(b"commitment", agreement.digest, number.to_bytes(2, "little"), salt)


def _digest(label: bytes, *parts: bytes) -> bytes:
    """Hash parts with their lengths, so that no two lists of parts look alike."""
    state = hashlib.sha256(b"fedrec align v1")
    for part in (label, *parts):
        state.update(len(part).to_bytes(4, "little") + part)
    return state.digest()


def _single(entries: dict[int, list[bytes]]) -> dict[int, bytes]:
    """Return the one entry of each message."""
    for number, values in entries.items():
        if len(values) != 1:
            raise ProtocolError(f"expected one entry of party {number}, got {len(values)}")
    return {number: values[0] for number, values in entries.items()}


def _open(state: State, entries: dict[int, list[bytes]]) -> tuple[State, bytes]:
    """Take the commitments and show the own salt."""
    known = _single(entries)
    known[state.me] = _commitment(state.agreement, state.me, state.secrets.salt)
    commitments = tuple(known[n] for n in range(state.parties))
    return _send(replace(state, commitments=commitments), [state.secrets.salt])


def _blinded(state: State, entries: dict[int, list[bytes]]) -> tuple[State, bytes]:
    """Take the salts and send the own list."""
    known = _single(entries)
    for number, salt in known.items():
        if _commitment(state.agreement, number, salt) != state.commitments[number]:
            raise ProtocolError(
                f"the salt of {state.agreement.parties[number]} is not the one it has committed "
                "to: the agreement cannot go on. Start anew"
            )
    known[state.me] = state.secrets.salt
    state = replace(state, salts=tuple(known[n] for n in range(state.parties)))
    scalar = state.secrets.key if state.agreement.in_pair else state.secrets.mask
    points = blind(state.ids.keys, state.salt, scalar)
    order = sorted(range(len(points)), key=points.__getitem__)
    listed = tuple(points[place] for place in order)
    return _send(replace(state, order=tuple(order), listed=listed), listed)


def _with_size(state: State, owner: int, entries: Sequence[bytes]) -> State:
    """Note the length of another's list, if it is as agreed."""
    check_sizes(state.agreement, len(state.ids), owner, len(entries))
    if not set(entries).isdisjoint(state.listed):
        raise ProtocolError(
            f"the list of {state.agreement.parties[owner]} holds points of this party's own list: "
            "it was copied"
        )
    return replace(state, sizes={**state.sizes, owner: len(entries)})


def _tags(state: State, points: list[bytes]) -> tuple[State, bytes]:
    """Blind the other's list a second time; what is returned is hashed."""
    state = _with_size(state, 1 - state.me, points)
    common = tags(multiply(points, state.secrets.key), state.salt)
    state = replace(state, others=tuple(common))
    return _send(state, sorted(common) if state.agreement.mode == "scope" else common)


def _relay(state: State, hop: int, points: list[bytes]) -> tuple[State, bytes]:
    """Blind another's list and pass it on, in its order."""
    state = _with_size(state, (state.me - hop) % state.parties, points)
    return _send(state, multiply(points, state.secrets.key))


def _pseudonyms(state: State, points: list[bytes]) -> tuple[State, bytes]:
    """Take the own list back, exchange the mask for the key, and hash."""
    check_returned(state, points)
    scalar = quotient(state.secrets.key, state.secrets.mask)
    found = tags(multiply(points, scalar), state.salt)
    by_key = dict(zip(state.order, found, strict=True))
    state = replace(state, others=tuple(by_key[key] for key in range(len(found))))
    return _send(state, sorted(found))


def check_returned(state: State, entries: Sequence[bytes]) -> None:
    """Refuse an answer about the own list that is not as long as the list.

    Raises:
        ProtocolError: with both lengths.
    """
    if len(entries) != len(state.ids):
        raise ProtocolError(
            f"this party has sent {len(state.ids):,} identifiers, and {len(entries):,} came back"
        )
