"""What travels between server and nodes: the only file that knows Flower's record keys.

Every request and reply is a frozen dataclass with `pack` (to a RecordDict) and
`unpack` (from one).  Arrays travel in the narrowest type that keeps every bit:
a single client's update, float32 by nature, is summed in float64 on a node and
sent as float32 again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, MetricRecord, RecordDict
from numpy.typing import NDArray

from fedrec.errors import EngineError
from fedrec.evaluation.sums import EvaluationSums, from_arrays, to_arrays
from fedrec.params import Guides, PartialSum, Personal, Shared, SparseRows
from fedrec.training.download import WHOLE, pack_tables, unpack_tables
from fedrec.wire_arrays import narrow as narrow
from fedrec.wire_arrays import pack_arrays as pack_arrays
from fedrec.wire_arrays import pack_rows, unpack_rows
from fedrec.wire_arrays import unpack_arrays as unpack_arrays

VERSION = 1
"""Version of the messages; both ends must speak the same."""

ROSTER = "query.roster"
TRAIN = "train"
EVALUATE = "evaluate"

NO_ROUND = -1
"""Stands for "no round selected yet"."""

Arrays = Mapping[str, NDArray]


def flatten_shared(shared: Shared) -> dict[str, NDArray]:
    """Return tables and weights as "table.NAME" and "weight.NAME"."""
    tables = {f"table.{name}": value for name, value in shared.tables.items()}
    fixed = {f"fixed.{name}": value for name, value in shared.fixed.items()}
    return tables | {f"weight.{name}": value for name, value in shared.weights.items()} | fixed


def restore_shared(arrays: Arrays) -> Shared:
    """Rebuild what `flatten_shared` returned."""
    tables, weights = _with_prefix(arrays, "table."), _with_prefix(arrays, "weight.")
    return Shared(tables, weights, _with_prefix(arrays, "fixed."))


def _with_prefix(arrays: Arrays, prefix: str) -> dict[str, NDArray]:
    return {n.removeprefix(prefix): a for n, a in arrays.items() if n.startswith(prefix)}


def seal_record(kind: str, head: Mapping[str, Any], records: Mapping[str, Any]) -> RecordDict:
    """Return a message content: kind, version and head, and records."""
    config = ConfigRecord({"kind": kind, "version": VERSION, **head})
    return RecordDict({"head": config, **records})


def open_record(content: RecordDict, kind: str, *records: str) -> tuple[Any, ...]:
    """Return the head and the named records of a message.

    Raises:
        EngineError: if it is another kind of message or of another version.
    """
    head = content.config_records.get("head")
    if head is None or head.get("kind") != kind:
        found = "none" if head is None else repr(head.get("kind"))
        raise EngineError(
            f"expected a fedrec message of kind {kind!r}, got {found}: "
            "server and nodes must run the apps of the same fedrec"
        )
    if head["version"] != VERSION:
        raise EngineError(
            f"a message of version {head['version']} met version {VERSION}: "
            "install the same fedrec on the server and on every node"
        )
    missing = [name for name in records if name not in content]
    if missing:
        raise EngineError(f"a {kind!r} message lacks its record {missing[0]!r}")
    return (head, *(content[name] for name in records))


@dataclass(frozen=True)
class RosterRequest:
    """Asks a node which clients it hosts."""

    KIND: ClassVar[str] = "roster-request"

    def pack(self) -> RecordDict:
        """Return the message content."""
        return seal_record(self.KIND, {}, {})

    @classmethod
    def unpack(cls, content: RecordDict) -> RosterRequest:
        """Rebuild the request."""
        open_record(content, cls.KIND)
        return cls()


@dataclass(frozen=True, eq=False)
class RosterReply:
    """Which clients a node hosts.

    Attributes:
        clients: int64 [C], ascending.
    """

    clients: NDArray[np.int64]
    KIND: ClassVar[str] = "roster-reply"

    def pack(self) -> RecordDict:
        """Return the message content."""
        return seal_record(self.KIND, {}, {"clients": pack_arrays({"ids": narrow(self.clients)})})

    @classmethod
    def unpack(cls, content: RecordDict) -> RosterReply:
        """Rebuild the reply."""
        _, clients = open_record(content, cls.KIND, "clients")
        return cls(unpack_arrays(clients)["ids"].astype(np.int64))


@dataclass(frozen=True)
class Moment:
    """Which personal parameters a node shall use and keep.

    Attributes:
        session: names the run; stays the same when the run is resumed.
        base_round: the newest state of at most this round is used.
        selected_round: round selected so far, or NO_ROUND.
        checkpoint_round: round whose state goes to the disk, or NO_ROUND.
    """

    session: str
    base_round: int
    selected_round: int = NO_ROUND
    checkpoint_round: int = NO_ROUND

    def head(self) -> dict[str, Any]:
        """Return the fields for the head of a message."""
        return {
            "session": self.session,
            "base-round": self.base_round,
            "selected-round": self.selected_round,
            "checkpoint-round": self.checkpoint_round,
        }

    @staticmethod
    def from_head(head: Mapping[str, Any]) -> Moment:
        """Rebuild the moment from the head of a message."""
        rounds = ("base-round", "selected-round", "checkpoint-round")
        return Moment(str(head["session"]), *(int(head[name]) for name in rounds))


@dataclass(frozen=True, eq=False)
class TrainRequest:
    """Asks a node to train some of its clients, or, without any, to save its state.

    Attributes:
        shared: the server's parameters.
        round_number: the round, from 1.
        clients: int64 [C], chosen clients of this node, ascending.
        moment: which personal parameters to start from and to keep.
        clip: largest norm of a client's update, where the server adapts it.
        single: whether the reply shall hold every client's own update, not their sum.
        counted: int64, by client: the last round whose sum held its update, 0 for none; where
            clients keep control variates, else None. A node is told of `clients` alone.
    """

    shared: Shared
    round_number: int
    clients: NDArray[np.int64]
    moment: Moment
    clip: float = 0.0
    single: bool = False
    counted: NDArray[np.int64] | None = None
    KIND: ClassVar[str] = "train-request"

    def pack(self, shared: ArrayRecord | None = None) -> RecordDict:
        """Return the message content; `shared` may be packed once for all nodes."""
        told = {"ids": narrow(self.clients)}
        if self.counted is not None:
            told["counted"] = narrow(self.counted[self.clients])
        records = {
            "shared": pack_shared(self.shared) if shared is None else shared,
            "clients": pack_arrays(told),
        }
        records |= _pack_guides(self.shared.guides, self.clients)
        head = {"round": self.round_number, "clip": self.clip, "single": self.single}
        head |= self.moment.head()
        return seal_record(self.KIND, head, records)

    @classmethod
    def unpack(cls, content: RecordDict) -> TrainRequest:
        """Rebuild the request."""
        head, shared, clients = open_record(content, cls.KIND, "shared", "clients")
        told = unpack_arrays(clients)
        ids, counted = told["ids"].astype(np.int64), None
        if "counted" in told:
            counted = np.zeros(ids.max(initial=-1) + 1, np.int64)
            counted[ids] = told["counted"]
        moment, clip = Moment.from_head(head), float(head["clip"])
        parameters, single = _with_guides(shared, content), bool(head["single"])
        return cls(parameters, int(head["round"]), ids, moment, clip, single, counted)


def pack_shared(shared: Shared, bits: int = WHOLE) -> ArrayRecord:
    """Return shared parameters as a record that several messages may carry.

    Args:
        shared: the parameters.
        bits: of an element of a table (`compress.download_bits`).
    """
    return pack_arrays(pack_tables(flatten_shared(shared), bits))


def unpack_shared(record: ArrayRecord) -> Shared:
    """Return what `pack_shared` has packed, as a client reads it."""
    return restore_shared(unpack_tables(unpack_arrays(record)))


def _pack_guides(guides: Guides | None, clients: NDArray[np.int64]) -> dict[str, ArrayRecord]:
    """Return the rows that were made for some clients, and for no others."""
    arrays = {} if guides is None else guides.take(clients).arrays()
    return {"guides": pack_arrays({n: narrow(a) for n, a in arrays.items()})} if arrays else {}


def _with_guides(shared: ArrayRecord, content: RecordDict) -> Shared:
    """Return what was sent to all, with the rows for single clients if there are any."""
    given = content.array_records.get("guides")
    guides = None if given is None else Guides.from_arrays(unpack_arrays(given))
    return replace(unpack_shared(shared), guides=guides)


@dataclass(frozen=True, eq=False)
class TrainReply:
    """What a node gives back for a round.

    Attributes:
        partial_sum: sum over its chosen clients, or None if it had none.
    """

    partial_sum: PartialSum | None
    KIND: ClassVar[str] = "train-reply"

    def pack(self) -> RecordDict:
        """Return the message content."""
        total = self.partial_sum
        if total is None:
            return seal_record(self.KIND, {"empty": True}, {})
        arrays: dict[str, NDArray] = {}
        for name, table in total.tables.items():
            arrays[f"ids.{name}"] = narrow(table.ids)
            arrays |= pack_rows(name, narrow(table.rows))
            arrays[f"row-weight.{name}"] = narrow(total.row_weight[name])
        arrays |= {f"weight.{name}": narrow(value) for name, value in total.weights.items()}
        head = {"empty": False, "weight": float(total.weight), "clients": int(total.num_clients)}
        metrics = MetricRecord({name: float(value) for name, value in total.metrics.items()})
        return seal_record(self.KIND, head, {"sum": pack_arrays(arrays), "metrics": metrics})

    @classmethod
    def unpack(cls, content: RecordDict) -> TrainReply:
        """Rebuild the reply; all sums are float64 again."""
        (head,) = open_record(content, cls.KIND)
        if head["empty"]:
            return cls(None)
        head, record, metrics = open_record(content, cls.KIND, "sum", "metrics")
        arrays = unpack_arrays(record)
        ids = _with_prefix(arrays, "ids.")
        rows = _as_float64({name: unpack_rows(name, arrays) for name in ids})
        return cls(
            PartialSum(
                {n: SparseRows(ids[n].astype(np.int64), rows[n]) for n in ids},
                _as_float64(_with_prefix(arrays, "row-weight.")),
                _as_float64(_with_prefix(arrays, "weight.")),
                float(head["weight"]),
                int(head["clients"]),
                {name: float(value) for name, value in metrics.items()},
            )
        )


def _as_float64(arrays: Arrays) -> dict[str, NDArray]:
    return {name: array.astype(np.float64) for name, array in arrays.items()}


@dataclass(frozen=True, eq=False)
class EvaluateRequest:
    """Asks a node to evaluate clients that it hosts.

    Attributes:
        shared: the parameters to evaluate.
        part: "valid" or "test".
        bootstrap: number of bootstrap replicates.
        moment: which personal parameters to use.
        clients: int64 [C], ascending; None for all that the node hosts.
    """

    shared: Shared
    part: str
    bootstrap: int
    moment: Moment
    clients: NDArray[np.int64] | None = None
    KIND: ClassVar[str] = "evaluate-request"

    def pack(self, shared: ArrayRecord | None = None) -> RecordDict:
        """Return the message content; `shared` may be packed once for all nodes."""
        records = {"shared": pack_shared(self.shared) if shared is None else shared}
        if self.clients is not None:
            records["clients"] = pack_arrays({"ids": narrow(self.clients)})
            records |= _pack_guides(self.shared.guides, self.clients)
        head = {"part": self.part, "bootstrap": self.bootstrap, **self.moment.head()}
        return seal_record(self.KIND, head, records)

    @classmethod
    def unpack(cls, content: RecordDict) -> EvaluateRequest:
        """Rebuild the request."""
        head, shared = open_record(content, cls.KIND, "shared")
        parameters = _with_guides(shared, content)
        clients = None
        if "clients" in content:
            clients = unpack_arrays(content.array_records["clients"])["ids"].astype(np.int64)
        part, bootstrap = str(head["part"]), int(head["bootstrap"])
        return cls(parameters, part, bootstrap, Moment.from_head(head), clients)


@dataclass(frozen=True, eq=False)
class EvaluateReply:
    """What a node gives back from an evaluation: sums, no rows.

    Attributes:
        sums: over the users of its clients.
    """

    sums: EvaluationSums
    KIND: ClassVar[str] = "evaluate-reply"

    def pack(self) -> RecordDict:
        """Return the message content."""
        arrays = {name: narrow(array) for name, array in to_arrays(self.sums).items()}
        return seal_record(self.KIND, {}, {"sums": pack_arrays(arrays)})

    @classmethod
    def unpack(cls, content: RecordDict) -> EvaluateReply:
        """Rebuild the reply."""
        _, record = open_record(content, cls.KIND, "sums")
        arrays = unpack_arrays(record)
        wide = {n: a.astype(np.float64) if a.dtype == np.float32 else a for n, a in arrays.items()}
        return cls(from_arrays(wide))


@dataclass(frozen=True, eq=False)
class PersonalState:
    """Personal parameters as a node keeps them between messages.

    Attributes:
        round_number: the round that produced them.
        personal: of all clients that the node hosts, in ascending order.
    """

    round_number: int
    personal: Personal


def store_state(state: RecordDict, slot: str, value: PersonalState) -> None:
    """Put personal parameters into a slot of a node's context state."""
    state[f"personal.{slot}"] = pack_arrays(value.personal.arrays())
    state[f"personal.{slot}.tag"] = ConfigRecord({"round": value.round_number})


def stored_state(state: RecordDict, slot: str) -> PersonalState | None:
    """Return what `store_state` put into a slot, or None."""
    if f"personal.{slot}" not in state:
        return None
    values = unpack_arrays(state[f"personal.{slot}"])
    return PersonalState(int(state[f"personal.{slot}.tag"]["round"]), Personal.from_arrays(values))
