"""The train handler: one call trains all chosen clients of the node."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from flwr.app import Context, Message
from numpy.typing import NDArray

from clients.hosting import Host, host
from clients.personal import begin_round, end_round
from clients.secret import node_key
from fedrec.params import PartialSum, Personal
from fedrec.privacy.policy import build_policy
from fedrec.training.node import train_node
from fedrec.wire import PersonalState, TrainReply, TrainRequest, store_state


def train(message: Message, context: Context) -> Message:
    """Train the chosen clients and reply with their partial sum.

    A request without clients only lets the node save its state at a checkpoint.
    """
    request = TrainRequest.unpack(message.content)
    here = host(context)
    start = begin_round(context.state, request.moment, here.directory, here.fresh)
    total: PartialSum | None = None
    try:
        if len(request.clients):
            total, after = _train_chosen(here, request, start)
            store_state(context.state, "current", after)
    finally:  # a node whose training fails must still be there after a resume
        end_round(context.state, request.moment, here.directory)
    return Message(TrainReply(total).pack(), reply_to=message)


def _train_chosen(
    here: Host, request: TrainRequest, start: PersonalState
) -> tuple[PartialSum, PersonalState]:
    index = here.positions(request.clients)
    policy = build_policy(here.setup.config, here.setup.population.num_clients)
    key = node_key(here.setup.config, here.directory / request.moment.session)
    total, trained = train_node(
        here.setup,
        request.shared,
        start.personal.take(index),
        request.clients,
        request.round_number,
        policy.at(request.round_number, request.clip, key),
    )
    personal = scatter(start.personal, trained, index)
    return total, replace(start, round_number=request.round_number, personal=personal)


def scatter(everyone: Personal, some: Personal, index: NDArray[np.int64]) -> Personal:
    """Return `everyone` with the rows `index` (int64 [c]) replaced by `some`."""
    values = {}
    for name, value in everyone.values.items():
        values[name] = value.copy()
        values[name][index] = some.values[name]
    return Personal(values)
