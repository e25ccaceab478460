"""The train handler: one call trains all chosen clients of the node."""

from __future__ import annotations

from flwr.app import Context, Message, RecordDict

from clients.hosting import Host, check_plain, host
from clients.secret import node_key
from clients.store import begin_round, end_round, keep
from fedrec.privacy.policy import build_policy
from fedrec.training.node import train_node
from fedrec.training.single_node import train_singles
from fedrec.wire import PersonalState, TrainReply, TrainRequest
from fedrec.wire_robust import SinglesReply


def train(message: Message, context: Context) -> Message:
    """Train the chosen clients and reply with their partial sum, or their single updates.

    A request without clients only lets the node save its state at a checkpoint.

    Raises:
        ProtocolError: if clients shall train in plain in a run with secure aggregation.
    """
    request = TrainRequest.unpack(message.content)
    here = host(context)
    if len(request.clients):
        check_plain(here.setup.config, "the training")
    start = begin_round(here, context.state, request.moment)
    reply = TrainReply(None).pack()
    try:
        if len(request.clients):
            reply = _train_chosen(here, request, start, context.state)
    finally:  # a node whose training fails must still be there after a resume
        end_round(here, context.state, request.moment)
    return Message(reply, reply_to=message)


def _train_chosen(
    here: Host, request: TrainRequest, start: PersonalState, state: RecordDict
) -> RecordDict:
    policy = build_policy(here.setup.config, here.setup.population.num_clients)
    key = node_key(here.setup.config, here.directory / request.moment.session)
    held = here.held(start.personal, request.clients, request.counted)
    chosen = (
        here.setup,
        request.shared,
        held,
        request.clients,
        request.round_number,
        policy.at(request.round_number, request.clip, key),
    )
    if request.single:
        singles, trained = train_singles(*chosen)
        reply = SinglesReply(singles).pack()
    else:
        total, trained = train_node(*chosen)
        reply = TrainReply(total).pack()
    trained = here.trained(held, trained, request.round_number)
    keep(here, state, request.moment, start, trained, request.clients, request.round_number)
    return reply
