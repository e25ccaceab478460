"""The train handler: one call trains all chosen clients of the node."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from flwr.app import Context, Message, RecordDict
from numpy.typing import NDArray

from clients.hosting import Host, check_plain, host
from clients.personal import begin_round, end_round
from clients.secret import node_key
from fedrec.params import Personal
from fedrec.privacy.policy import build_policy
from fedrec.training.node import train_node
from fedrec.training.single_node import train_singles
from fedrec.wire import PersonalState, TrainReply, TrainRequest, store_state
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
    start = begin_round(context.state, request.moment, here.directory, here.fresh)
    reply = TrainReply(None).pack()
    try:
        if len(request.clients):
            reply, after = _train_chosen(here, request, start)
            store_state(context.state, "current", after)
    finally:  # a node whose training fails must still be there after a resume
        end_round(context.state, request.moment, here.directory)
    return Message(reply, reply_to=message)


def _train_chosen(
    here: Host, request: TrainRequest, start: PersonalState
) -> tuple[RecordDict, PersonalState]:
    index = here.positions(request.clients)
    policy = build_policy(here.setup.config, here.setup.population.num_clients)
    key = node_key(here.setup.config, here.directory / request.moment.session)
    chosen = (
        here.setup,
        request.shared,
        start.personal.take(index),
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
    personal = scatter(start.personal, trained, index)
    return reply, replace(start, round_number=request.round_number, personal=personal)


def scatter(everyone: Personal, some: Personal, index: NDArray[np.int64]) -> Personal:
    """Return `everyone` with the rows `index` (int64 [c]) replaced by `some`."""
    values = {}
    for name, value in everyone.values.items():
        values[name] = value.copy()
        values[name][index] = some.values[name]
    return Personal(values)
