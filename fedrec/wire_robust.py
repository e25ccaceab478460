"""The reply in which every client's update stays its own, for robust aggregation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from flwr.app import MetricRecord, RecordDict
from numpy.typing import NDArray

from fedrec.errors import EngineError
from fedrec.params import Shared
from fedrec.robust.updates import Updates, nothing
from fedrec.training.single_node import Singles
from fedrec.wire import narrow, open_record, pack_arrays, seal_record, unpack_arrays


@dataclass(frozen=True, eq=False)
class SinglesReply:
    """What a node gives back for a round if it was asked for single updates.

    The rows of all its clients travel as one array, client by client: a client costs its
    row ids, rows and weights, as if it had sent them in a message of its own.

    Attributes:
        singles: of its chosen clients; of none if it had none.
    """

    singles: Singles
    KIND: ClassVar[str] = "singles-reply"

    def pack(self) -> RecordDict:
        """Return the message content."""
        updates, metrics = self.singles.updates, self.singles.metrics
        arrays = {
            "clients": narrow(updates.clients),
            "lengths": narrow(np.bincount(updates.client, minlength=len(updates.clients))),
            "ids": narrow(updates.ids),
            "rows": updates.rows,
            "weight": narrow(updates.weight),
        }
        arrays |= {f"dense.{name}": value for name, value in updates.weights.items()}
        told = MetricRecord({name: float(value) for name, value in metrics.items()})
        return seal_record(self.KIND, {}, {"updates": pack_arrays(arrays), "metrics": told})

    @classmethod
    def unpack(cls, content: RecordDict, shared: Shared, asked: NDArray[np.int64]) -> SinglesReply:
        """Rebuild the reply, and refuse one that would count a client twice or too much.

        Args:
            content: of the message.
            shared: the parameters, for names and shapes.
            asked: int64, ascending, the clients that were asked of this node.

        Raises:
            EngineError: if it is no such reply, or it does not fit what was asked.
        """
        _, record, metrics = open_record(content, cls.KIND, "updates", "metrics")
        updates = _updates(unpack_arrays(record), nothing(shared))
        _check(updates, asked)
        return cls(Singles(updates, {name: float(value) for name, value in metrics.items()}))


def _updates(arrays: dict[str, NDArray], like: Updates) -> Updates:
    """Build updates over the tables and weights of `like`."""
    missing = {"clients", "lengths", "ids", "rows", "weight"} - set(arrays)
    if missing:
        raise EngineError(f"single updates lack their array {min(missing)!r}")
    lengths = arrays["lengths"].astype(np.int64)
    clients = arrays["clients"].astype(np.int64)
    ids, rows, weight = arrays["ids"].astype(np.int64), arrays["rows"], arrays["weight"]
    weights = {name: arrays.get(f"dense.{name}") for name in like.weights}
    fits = (
        lengths.shape == clients.shape == weight.shape
        and (lengths >= 0).all()
        and rows.shape == (len(ids), like.rows.shape[1])
        and lengths.sum() == len(ids)
        and all(
            value is not None and value.shape == (len(clients), *like.weights[name].shape[1:])
            for name, value in weights.items()
        )
    )
    if not fits:
        raise EngineError(
            "single updates whose arrays do not fit each other or the model: "
            "install the same fedrec on the server and on every node"
        )
    fields: dict[str, Any] = {
        "clients": clients,
        "client": np.repeat(np.arange(len(clients)), lengths),
        "ids": ids,
        "rows": rows.astype(np.float32),
        "weights": {n: np.asarray(v, np.float32) for n, v in weights.items()},
        "weight": weight.astype(np.float64),
    }
    return Updates(**fields, num_items=like.num_items, widths=like.widths)


def _check(updates: Updates, asked: NDArray[np.int64]) -> None:
    """Refuse strangers, clients or rows that come twice, rows of no item, other weights."""
    place = updates.client * updates.num_items + updates.ids
    wrong = {
        "clients that were not asked": not np.isin(updates.clients, asked).all(),
        "a client twice": bool((np.diff(updates.clients) <= 0).any()),
        "rows of items that do not exist": bool(
            ((updates.ids < 0) | (updates.ids >= updates.num_items)).any()
        ),
        "a client's row twice or out of order": bool((np.diff(place) <= 0).any()),
        "a weight other than 1": bool((updates.weight != 1.0).any()),
    }
    for what, found in wrong.items():
        if found:
            raise EngineError(f"single updates with {what}: the reply of this node is not used")
