"""The server's half of secure aggregation: sessions against made-up nodes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable

import numpy as np
import pytest
from flwr.app import Message
from flwr.app.error import Error

from fedrec.config import Config
from fedrec.engine._flower import identify_process
from fedrec.params import PartialSum
from fedrec.secure import Identity, Party, Plan
from fedrec.training.node import Setup, init_shared, prepare
from fedrec.training.secure_update import encode_nothing, make_layout
from fedrec.wire import Moment, TrainRequest, pack_shared
from fedrec.wire_secure import (
    FORGET,
    IDENTITIES,
    IdentitiesReply,
    SecureReply,
    SecureRequest,
)
from server.roster import Roster
from server.sampling import Sample
from server.secure import SecureServer
from server.secure_session import SecureRound

Make = Callable[..., Config]
HOSTED = {1: np.array([0, 2, 4, 6]), 2: np.array([1, 3, 5])}
NONE = np.zeros(0, np.int64)


class Nodes:
    """Two nodes whose clients send zeros, through the same messages as real ones."""

    def __init__(self, setup: Setup) -> None:
        identify_process()
        self.setup = setup
        self.shared = init_shared(setup)
        self.layout = make_layout(setup.config, self.shared)
        self.identities = {n: Identity(os.urandom(32)) for ids in HOSTED.values() for n in ids}
        self.parties: dict[int, Party] = {}
        self.seen: list[tuple[int, str]] = []
        self.failing: set[tuple[int, str]] = set()
        self.spoil: Callable[[str, int, bytes], bytes] = lambda stage, number, raw: raw

    def exchange(self, messages: Iterable[Message]) -> list[Message]:
        return [self.answer(message) for message in messages]

    def answer(self, message: Message) -> Message:
        node = message.metadata.dst_node_id
        if message.metadata.message_type == IDENTITIES:
            keys = {int(n): self.identities[int(n)].public for n in HOSTED[node]}
            return Message(IdentitiesReply(keys).pack(), reply_to=message)
        request = SecureRequest.unpack(message.content)
        self.seen.append((node, request.stage))
        if (node, request.stage) in self.failing:
            return Message(Error(1, "lost"), reply_to=message)
        answers = {n: self.take(request, n, raw) for n, raw in request.messages.items()}
        return Message(SecureReply(answers).pack(), reply_to=message)

    def take(self, request: SecureRequest, number: int, raw: bytes) -> bytes:
        if request.stage == "advertise":
            plan = Plan.from_bytes(request.plan)
            self.parties[number] = Party(plan, number, self.identities[number])
        party = self.parties[number]
        answer = {
            "advertise": lambda: party.advertise(),
            "share": lambda: party.share(raw),
            "mask": lambda: bytes(party.mask(raw, encode_nothing(self.layout))),
            "unmask": lambda: party.unmask(raw),
        }[request.stage]()
        return self.spoil(request.stage, number, answer)


@pytest.fixture
def nodes(small_run: Make) -> Nodes:
    return Nodes(prepare(small_run(secure__mode="semi-honest", server__rows="sum")))


def play(nodes: Nodes, training: list[int] | None = None) -> SecureRound:
    config, roster = nodes.setup.config, Roster(HOSTED)
    chosen = np.array(list(range(7)) if training is None else training, np.int64)
    train = TrainRequest(nodes.shared, 1, NONE, Moment("s", 0))
    server = SecureServer(config, nodes.setup, nodes.shared)
    return server.run(
        nodes.exchange, roster, Sample(chosen, NONE), train, pack_shared(nodes.shared)
    )


def survivors(done: SecureRound) -> int:
    assert isinstance(done.total, PartialSum)
    return done.total.num_clients


def test_a_round_in_which_nobody_is_lost(nodes: Nodes) -> None:
    done = play(nodes)
    assert survivors(done) == 7
    assert done.skipped is None
    assert done.trained == {1, 2}
    assert set(done.lost.values()) == {0}
    assert list(done.seconds) == ["advertise", "share", "mask", "unmask"]
    assert not any(stage == FORGET for _, stage in nodes.seen)


def test_only_chosen_clients_are_asked(nodes: Nodes) -> None:
    assert survivors(play(nodes, [0, 2, 4])) == 3
    assert {node for node, _ in nodes.seen} == {1}


@pytest.mark.parametrize("stage", ["advertise", "share", "mask"])
def test_spoilt_messages_cost_their_senders(nodes: Nodes, stage: str) -> None:
    def spoil(at: str, number: int, raw: bytes) -> bytes:
        return raw[:-1] + bytes([raw[-1] ^ 1]) if (at, number) == (stage, 3) else raw

    nodes.spoil = spoil
    done = play(nodes)
    assert survivors(done) == 6
    assert done.lost[stage] == 1


def test_a_lost_node_may_end_the_round(nodes: Nodes) -> None:
    nodes.failing = {(2, "mask")}
    done = play(nodes)
    assert done.total is None
    assert done.skipped is not None
    assert "after the stage 'mask'" in done.skipped
    assert (1, FORGET) in nodes.seen  # what it still holds is wiped
    assert done.line()["secure"]["clipped"] is None


@pytest.mark.parametrize("chosen", [[], [4], [0, 1]])
def test_too_few_clients_skip_the_round(nodes: Nodes, chosen: list[int]) -> None:
    done = play(nodes, chosen)
    assert done.total is None
    assert done.skipped is not None
    assert f"got {len(chosen)}" in done.skipped
    assert nodes.seen == []


def test_bytes_are_counted_as_they_are_sent(nodes: Nodes) -> None:
    sizes: list[int] = []

    def count(stage: str, number: int, raw: bytes) -> bytes:
        sizes.append(len(raw))
        return raw

    nodes.spoil = count
    done = play(nodes)
    assert done.bytes_up == sum(sizes)
    assert done.bytes_down > 7 * nodes.shared.num_bytes
