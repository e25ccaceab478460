"""The evaluate handler: sums over the hosted users leave the node, rows do not."""

from __future__ import annotations

import numpy as np
from flwr.app import Context, Message
from numpy.typing import NDArray

from clients.hosting import Host, check_plain, host
from clients.secret import forget_key
from clients.store import at_round
from fedrec.evaluation.sums import EvaluationSums, merge
from fedrec.params import Personal
from fedrec.training.node import evaluate_node
from fedrec.wire import EvaluateReply, EvaluateRequest

AT_ONCE = 1 << 16
"""Clients whose personal parameters and values are in memory at once; the blocks do not
depend on where these are kept, so that sums do not either."""


def evaluate(message: Message, context: Context) -> Message:
    """Evaluate hosted clients on one part and reply with their sums.

    The test ends a run: then the node's key for noise is deleted.

    Raises:
        ProtocolError: in a run with secure aggregation, where sums travel masked.
    """
    request = EvaluateRequest.unpack(message.content)
    here = host(context)
    check_plain(here.setup.config, "the evaluation")
    personal = at_round(here, context.state, request.moment)
    if request.part == "test":
        forget_key(here.directory / request.moment.session)
    clients = here.clients if request.clients is None else request.clients
    blocks = [clients[at : at + AT_ONCE] for at in range(0, max(1, len(clients)), AT_ONCE)]
    sums = merge([_evaluate_some(here, request, personal, block) for block in blocks])
    return Message(EvaluateReply(sums).pack(), reply_to=message)


def _evaluate_some(
    here: Host, request: EvaluateRequest, personal: Personal, clients: NDArray[np.int64]
) -> EvaluationSums:
    return evaluate_node(
        here.setup,
        request.shared,
        here.held(personal, clients),
        clients,
        request.part,
        bootstrap=request.bootstrap,
        round_number=request.moment.base_round,
    )
