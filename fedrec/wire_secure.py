"""Messages of secure aggregation between server and nodes, beside those of `fedrec.wire`.

A node hosts many parties, so one Flower message carries one message of the protocol for
each of them; their bytes are those that the parties would exchange if each were alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, RecordDict
from numpy.typing import NDArray

from fedrec.wire import EvaluateRequest, TrainRequest, open_record, seal_record

SECURE = "train.secure"
IDENTITIES = "query.identities"

FORGET = "forget"
"""Not a stage: the session is over, and all that is left of it is wiped."""

Raw = bytes | bytearray | memoryview
Messages = Mapping[int, Raw]


def _pack(messages: Messages) -> dict[str, ArrayRecord]:
    """Return the messages as arrays of bytes; one that is the same for all travels once."""
    numbers = np.array(list(messages), np.int64)
    first = next(iter(messages.values()), b"")
    same = len(messages) > 1 and all(m is first or m == first for m in messages.values())
    bodies = {"all": first} if same else {str(n): m for n, m in messages.items()}
    arrays = {name: Array(np.frombuffer(body, np.uint8)) for name, body in bodies.items()}
    return {"parties": ArrayRecord({"ids": Array(numbers)}), "messages": ArrayRecord(arrays)}


def _unpack(parties: ArrayRecord, messages: ArrayRecord) -> dict[int, bytes]:
    numbers = parties["ids"].numpy().astype(np.int64).tolist()
    bodies = {name: array.numpy().tobytes() for name, array in messages.items()}
    return {n: bodies["all"] if "all" in bodies else bodies[str(n)] for n in numbers}


@dataclass(frozen=True)
class IdentitiesRequest:
    """Asks a node to register the identities of its clients."""

    KIND: ClassVar[str] = "identities-request"

    def pack(self) -> RecordDict:
        """Return the message content."""
        return seal_record(self.KIND, {}, {})

    @classmethod
    def unpack(cls, content: RecordDict) -> IdentitiesRequest:
        """Rebuild the request."""
        open_record(content, cls.KIND)
        return cls()


@dataclass(frozen=True)
class IdentitiesReply:
    """Public keys of all clients of a node.

    Attributes:
        keys: client number -> Ed25519 public key, 32 bytes.
    """

    keys: dict[int, bytes]
    KIND: ClassVar[str] = "identities-reply"

    def pack(self) -> RecordDict:
        """Return the message content."""
        return seal_record(self.KIND, {}, _pack(self.keys))

    @classmethod
    def unpack(cls, content: RecordDict) -> IdentitiesReply:
        """Rebuild the reply."""
        _, parties, messages = open_record(content, cls.KIND, "parties", "messages")
        return cls(_unpack(parties, messages))


@dataclass(frozen=True, eq=False)
class SecureRequest:
    """One stage of a session for some parties of a node.

    Attributes:
        stage: "advertise", "share", "mask", "consistency", "unmask", or FORGET.
        messages: client number -> message of the server; empty bytes at the first stage.
        plan: the agreement, at the first stage.
        vectors: "update", "indicators" or "evaluation": what is to be masked.
        train: at the stage "mask": parameters, round and moment of the training.
        kept: at the stage "mask": entity -> int64, the rows that take part; None for all.
        evaluate: at the stage "mask" of an evaluation: parameters, part and moment.
    """

    stage: str
    messages: Messages
    plan: bytes = b""
    vectors: str = "update"
    train: TrainRequest | None = None
    kept: dict[str, NDArray[np.int64]] | None = None
    evaluate: EvaluateRequest | None = None
    KIND: ClassVar[str] = "secure-request"

    def pack(self, shared: ArrayRecord | None = None) -> RecordDict:
        """Return the message content; `shared` may be packed once for all nodes."""
        records: dict[str, ArrayRecord | ConfigRecord] = dict(_pack(self.messages))
        for prefix, inner in (("train", self.train), ("evaluate", self.evaluate)):
            if inner is not None:
                for name, record in inner.pack(shared).items():
                    records[f"{prefix}.{name}"] = record  # type: ignore[assignment]
        if self.kept is not None:
            arrays = {name: Array(rows) for name, rows in self.kept.items()}
            records["kept"] = ArrayRecord(arrays)
        head = {"stage": self.stage, "plan": self.plan, "vectors": self.vectors}
        return seal_record(self.KIND, head, records)

    @classmethod
    def unpack(cls, content: RecordDict) -> SecureRequest:
        """Rebuild the request."""
        head, parties, messages = open_record(content, cls.KIND, "parties", "messages")
        train, evaluate = _inner(content, "train."), _inner(content, "evaluate.")
        kept = None
        if "kept" in content:
            kept = {n: a.numpy() for n, a in content.array_records["kept"].items()}
        return cls(
            str(head["stage"]),
            _unpack(parties, messages),
            bytes(head["plan"]),
            str(head["vectors"]),
            TrainRequest.unpack(train) if train else None,
            kept,
            EvaluateRequest.unpack(evaluate) if evaluate else None,
        )


def _inner(content: RecordDict, prefix: str) -> RecordDict:
    """Return the message that travels inside another one; empty if there is none."""
    inner = {n.removeprefix(prefix): r for n, r in content.items() if n.startswith(prefix)}
    return RecordDict(inner)


@dataclass(frozen=True, eq=False)
class SecureReply:
    """What the parties of a node answer.

    Attributes:
        messages: client number -> its message; those that refuse are left out.
        refused: client number -> why.
    """

    messages: Messages
    refused: dict[int, str] = field(default_factory=dict)
    KIND: ClassVar[str] = "secure-reply"

    def pack(self) -> RecordDict:
        """Return the message content."""
        head = {"refused": list(self.refused), "reasons": list(self.refused.values())}
        return seal_record(self.KIND, head, _pack(self.messages))

    @classmethod
    def unpack(cls, content: RecordDict) -> SecureReply:
        """Rebuild the reply."""
        head, parties, messages = open_record(content, cls.KIND, "parties", "messages")
        refused = dict(zip(head["refused"], head["reasons"], strict=True))
        return cls(_unpack(parties, messages), refused)


@dataclass(frozen=True)
class SleepingSession:
    """What a node keeps of a session between two messages, in its context alone.

    Attributes:
        plan: the agreement.
        roster: the ROSTER message; empty before it came.
        parties: client number -> secrets of the party, as `Party.sleep` gives them.
    """

    plan: bytes
    roster: bytes
    parties: dict[int, bytes]


def store_session(state: RecordDict, session: SleepingSession | None) -> None:
    """Replace what a node keeps of a session; None wipes it."""
    state.pop("secure.session", None)
    if session is not None and session.parties:
        numbers, secrets = list(session.parties), list(session.parties.values())
        state["secure.session"] = ConfigRecord(
            {"plan": session.plan, "roster": session.roster, "ids": numbers, "parties": secrets}
        )


def stored_session(state: RecordDict) -> SleepingSession | None:
    """Return what `store_session` stored."""
    if "secure.session" not in state:
        return None
    kept = state.config_records["secure.session"]
    parties = dict(zip(kept["ids"], kept["parties"], strict=True))  # type: ignore[arg-type]
    return SleepingSession(bytes(kept["plan"]), bytes(kept["roster"]), parties)  # type: ignore[arg-type]


def identity_seeds(state: RecordDict, clients: NDArray[np.int64], fresh: bytes) -> dict[int, bytes]:
    """Return the secrets of the identities of a node's clients, made once.

    Args:
        state: the node's context state, changed at the first call.
        clients: int64 [C], hosted clients.
        fresh: 32 * C secret bytes, used at the first call.
    """
    if "secure.identities" not in state:
        state["secure.identities"] = ConfigRecord({"seeds": fresh})
    seeds = bytes(state.config_records["secure.identities"]["seeds"])  # type: ignore[arg-type]
    return {int(n): seeds[32 * i : 32 * i + 32] for i, n in enumerate(clients)}
