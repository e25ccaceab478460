"""The evaluate handler: sums over the hosted users leave the node, rows do not."""

from __future__ import annotations

from flwr.app import Context, Message

from clients.hosting import check_plain, host
from clients.secret import forget_key
from clients.store import at_round
from fedrec.training.node import evaluate_node
from fedrec.wire import EvaluateReply, EvaluateRequest


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
    sums = evaluate_node(
        here.setup,
        request.shared,
        personal.take(here.positions(clients)),
        clients,
        request.part,
        bootstrap=request.bootstrap,
        round_number=request.moment.base_round,
    )
    return Message(EvaluateReply(sums).pack(), reply_to=message)
