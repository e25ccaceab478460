"""The evaluate handler: sums over the hosted users leave the node, rows do not."""

from __future__ import annotations

from flwr.app import Context, Message

from clients.hosting import host
from clients.personal import at_round
from fedrec.training.node import evaluate_node
from fedrec.wire import EvaluateReply, EvaluateRequest


def evaluate(message: Message, context: Context) -> Message:
    """Evaluate all hosted clients on one part and reply with their sums."""
    request = EvaluateRequest.unpack(message.content)
    here = host(context)
    personal = at_round(context.state, request.moment, here.directory, here.fresh)
    sums = evaluate_node(
        here.setup,
        request.shared,
        personal,
        here.clients,
        request.part,
        bootstrap=request.bootstrap,
    )
    return Message(EvaluateReply(sums).pack(), reply_to=message)
