"""Secure evaluation on a node: the sums of each client, ready to be masked."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from flwr.app import RecordDict
from numpy.typing import NDArray

from clients.hosting import Host
from clients.secret import forget_key
from clients.store import at_round
from fedrec.errors import EngineError, ProtocolError
from fedrec.evaluation.evaluator import PARTS
from fedrec.secure import Plan
from fedrec.training.secure_evaluation import evaluation_layout, evaluation_vectors
from fedrec.wire import EvaluateRequest

Vectors = Iterator[tuple[int, dict[str, NDArray[np.uint64]]]]


def evaluation(
    here: Host,
    state: RecordDict,
    plan: Plan,
    request: EvaluateRequest | None,
    clients: NDArray[np.int64],
) -> Vectors:
    """Evaluate the parties of a node in one go.

    Args:
        here: the node.
        state: its context state, read only.
        plan: what was agreed.
        request: parameters, part and moment.
        clients: int64 [C], the parties, ascending.

    Returns:
        An iterator over (client, vectors), each client once.

    Raises:
        EngineError: if the request does not say what to evaluate.
        ProtocolError: if the part is unknown, or the agreed vectors are not those of it.
    """
    if request is None:
        raise EngineError("a request to mask an evaluation must say what to evaluate")
    if request.part not in PARTS:
        raise ProtocolError(f"there is no part {request.part!r} to evaluate")
    layout = evaluation_layout(here.setup, request.part, len(plan.registry))
    if plan.vectors != layout.vectors():
        raise ProtocolError(
            f"the agreed vectors are not those of an evaluation of the part {request.part!r}"
        )
    personal = at_round(here, state, request.moment)
    if request.part == "test":  # it ends a run
        forget_key(here.directory / request.moment.session)
    own = here.held(personal, clients)
    base = request.moment.base_round
    return evaluation_vectors(here.setup, request.shared, own, clients, request.part, layout, base)
