"""From the folded partial sum to the mean update that the server applies."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from flwr.app import Message
from numpy.typing import NDArray

from fedrec.params import PartialSum, SparseRows
from fedrec.wire import TrainReply
from server.roster import Roster
from server.sampling import Sample


@dataclass(frozen=True, eq=False)
class MeanUpdate:
    """A mean change of the shared parameters.

    Attributes:
        tables: name -> rows of change, float64.
        weights: name -> change, float64.
        weight: of all clients, by which `weights` were divided.
        num_clients: clients in the mean.
    """

    tables: dict[str, SparseRows]
    weights: dict[str, NDArray[np.float64]]
    weight: float = 1.0
    num_clients: int = 1


def folded(
    replies: Iterable[Message], roster: Roster, sample: Sample
) -> tuple[PartialSum | None, list[int]]:
    """Return the sum over nodes, None if there is nothing, and the clients that are in it.

    Args:
        replies: to a request to train, without errors, in the order of the roster.
        roster: the nodes.
        sample: the clients of the round.
    """
    total, counted = None, list[int]()
    for reply in replies:
        one = TrainReply.unpack(reply.content).partial_sum
        if one is not None:
            total = one if total is None else total + one
            hosted = roster.hosted[reply.metadata.src_node_id]
            counted += np.intersect1d(hosted, sample.training).tolist()
    return total, counted


def mean_update(total: PartialSum, rows: str) -> MeanUpdate:
    """Divide a sum of weighted updates.

    Args:
        total: the fold of all partial sums of the round.
        rows: how table rows are divided: "touching" by the summed weight of the
            clients that touched the row, so that a rare item moves as far as a
            popular one; "mean" by the weight of all clients (McMahan et al. 2017,
            FedAvg); "sum" not at all.

    Returns:
        The update; dense weights are always divided by the weight of all clients.
    """
    everyone = max(total.weight, np.finfo(np.float64).tiny)
    tables = {}
    for name, table in total.tables.items():
        divisor: NDArray[np.float64] | float = {"mean": everyone, "sum": 1.0}.get(rows, 0.0)
        if rows == "touching":
            weight = total.row_weight[name]
            divisor = np.where(weight > 0, weight, 1.0)[:, None]
        tables[name] = SparseRows(table.ids, table.rows / divisor)
    means = {name: value / everyone for name, value in total.weights.items()}
    return MeanUpdate(tables, means, everyone, total.num_clients)


def too_few(total: PartialSum | None, least: int) -> str | None:
    """Return why a round is skipped: fewer clients than `least` have trained; else None.

    With central noise a round may do without clients, as noise on nothing looks like any
    other round; then this is not asked.
    """
    count = 0 if total is None else total.num_clients
    if total is None or count < least:
        return f"{count} clients trained, server.min_clients = {least}"
    return None
