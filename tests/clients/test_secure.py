"""The parties of a node: what they keep between messages, what they refuse, what they wipe."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from flwr.app import Context, Message, RecordDict

from clients.app import app
from fedrec.config import Config
from fedrec.engine._flower import identify_process
from fedrec.errors import EngineError
from fedrec.params import Shared
from fedrec.secure import Coordinator
from fedrec.training.node import init_shared, prepare
from fedrec.training.secure_evaluation import evaluation_layout
from fedrec.training.secure_update import decode_sum, make_layout
from fedrec.wire import TRAIN, EvaluateRequest, Moment, TrainReply, TrainRequest, stored_state
from fedrec.wire_secure import (
    FORGET,
    IDENTITIES,
    SECURE,
    IdentitiesReply,
    IdentitiesRequest,
    SecureReply,
    SecureRequest,
    stored_session,
)

Make = Callable[..., Config]
CLIENTS = (1, 3, 5, 7, 9, 11)
STAGES = ("advertise", "share", "mask", "unmask")


class Node:
    """One of two nodes, and a server that talks to it stage by stage."""

    def __init__(self, config: Config, part: str = "") -> None:
        identify_process()
        self.config = config
        self.shared: Shared = init_shared(prepare(config))
        node = {"partition-id": 1, "num-partitions": 2}
        self.context = Context(1, 9, node, RecordDict(), dict(config.flat()))
        keys = IdentitiesReply.unpack(self.call(IdentitiesRequest().pack(), IDENTITIES)).keys
        self.layout = make_layout(config, self.shared)
        self.part = part
        self.sums = evaluation_layout(prepare(config), part or "valid", len(CLIENTS))
        self.server = Coordinator(
            {n: keys[n] for n in CLIENTS},
            self.sums.vectors() if part else self.layout.vectors(len(CLIENTS)),
            round_number=1,
            mode=config.secure.mode,
        )
        self.outgoing: dict[int, bytes] = dict.fromkeys(CLIENTS, b"")
        self.train = TrainRequest(self.shared, 1, np.array(CLIENTS), Moment("s", 0))
        self.evaluate = EvaluateRequest(self.shared, part, 20, Moment("s", 0))

    def call(self, content: RecordDict, kind: str) -> RecordDict:
        return app(Message(content, 9, kind), self.context).content

    def send(self, stage: str, messages: dict[int, bytes]) -> SecureReply:
        train = self.train if stage == "mask" else None
        plan = self.server.plan.to_bytes() if stage == "advertise" else b""
        request = SecureRequest(stage, messages, plan, train=train)
        if self.part:
            evaluate = self.evaluate if stage == "mask" else None
            request = SecureRequest(stage, messages, plan, "evaluation", evaluate=evaluate)
        self.last = self.call(request.pack(), SECURE)
        return SecureReply.unpack(self.last)

    def send_plan(self, plan: bytes) -> SecureReply:
        request = SecureRequest("advertise", dict.fromkeys(CLIENTS, b""), plan)
        return SecureReply.unpack(self.call(request.pack(), SECURE))

    def stage(self, stage: str, without: tuple[int, ...] = ()) -> SecureReply:
        asked = {n: m for n, m in self.outgoing.items() if n not in without}
        reply = self.send(stage, asked)
        for message in reply.messages.values():
            self.server.receive(message)
        if stage != "unmask":
            self.outgoing = self.server.advance()
        return reply

    def secrets(self) -> set[int]:
        session = stored_session(self.context.state)
        return set() if session is None else set(session.parties)


@pytest.fixture
def node(small_run: Make) -> Node:
    return Node(small_run(secure__mode="semi-honest", server__rows="sum", train__lr=0.1))


def test_the_sum_is_that_of_plain_training(node: Node) -> None:
    for stage in STAGES:
        node.stage(stage)
    total = decode_sum(node.server.finish().totals, node.layout, len(CLIENTS), 0.0)
    plain = Node(node.config)
    plain.context.run_config["secure.mode"] = "off"
    reply = TrainReply.unpack(plain.call(plain.train.pack(), TRAIN)).partial_sum
    assert reply is not None
    expected = reply.tables["item"].dense(60)
    error = np.abs(total.tables["item"].dense(60) - expected)
    assert error.max() < len(CLIENTS) * node.layout.scheme.step
    mine, theirs = (stored_state(n.context.state, "current") for n in (node, plain))
    assert mine is not None
    assert theirs is not None
    assert np.array_equal(mine.personal.values["user"], theirs.personal.values["user"])


def test_secrets_sleep_in_the_context_and_are_wiped(node: Node) -> None:
    for stage in STAGES[:-1]:
        node.stage(stage)
        assert node.secrets() == set(CLIENTS)
    node.stage("unmask")
    assert node.secrets() == set()


def test_identities_stay_and_keys_do_not(node: Node) -> None:
    first = IdentitiesReply.unpack(node.call(IdentitiesRequest().pack(), IDENTITIES))
    again = IdentitiesReply.unpack(node.call(IdentitiesRequest().pack(), IDENTITIES))
    assert first == again
    assert len(set(first.keys.values())) == 25
    one = node.send("advertise", node.outgoing).messages
    two = node.send("advertise", node.outgoing).messages
    assert all(one[n] != two[n] for n in CLIENTS)


def test_a_lost_client_is_forgotten(node: Node) -> None:
    node.stage("advertise")
    node.stage("share")
    node.stage("mask", without=(3,))
    assert node.secrets() == set(CLIENTS) - {3}
    reply = node.send("unmask", {3: b"late"})
    assert reply.refused == {3: "it is not part of this session"}


def test_a_forged_message_costs_its_receiver_only(node: Node) -> None:
    node.stage("advertise")
    node.stage("share")
    node.outgoing[5] = node.outgoing[5][:-1] + bytes([node.outgoing[5][-1] ^ 1])
    reply = node.stage("mask")
    assert set(reply.messages) == set(CLIENTS) - {5}
    assert list(reply.refused) == [5]
    node.stage("unmask")
    assert node.server.finish().survivors == (1, 3, 7, 9, 11)


def test_no_stage_is_answered_twice(node: Node) -> None:
    for stage in STAGES[:-1]:
        node.stage(stage)
    request = dict(node.outgoing)
    assert node.send("unmask", request).messages
    with pytest.raises(EngineError, match="knows no session"):
        node.send("unmask", request)


def test_a_stage_out_of_order_is_refused_by_every_party(node: Node) -> None:
    node.stage("advertise")
    reply = node.send("unmask", dict.fromkeys(CLIENTS, b"?"))
    assert reply.messages == {}
    assert all("each message is accepted once and in order" in r for r in reply.refused.values())
    assert node.secrets() == set()


def test_the_end_of_a_session_wipes_it(node: Node) -> None:
    node.stage("advertise")
    node.send(FORGET, {})
    assert node.secrets() == set()


def test_unknown_stages_and_strangers_are_refused(node: Node) -> None:
    node.stage("advertise")
    with pytest.raises(EngineError, match="no stage 'guess'"):
        node.send("guess", dict.fromkeys(CLIENTS, b""))
    with pytest.raises(EngineError, match="is not hosted on this node"):
        node.send("share", {2: b""})


def test_only_masked_numbers_leave(node: Node) -> None:
    """Two rounds of the same clients give unlike bytes, and none of them in clear."""
    node.stage("advertise")
    node.stage("share")
    masked = node.stage("mask").messages
    assert len({bytes(m) for m in masked.values()}) == len(CLIENTS)
    clear = np.frombuffer(bytes(masked[1])[64 : 64 + 240 * 23 // 8], np.uint8)
    assert np.abs(clear.astype(np.float64) / 2**8 - 0.5).mean() > 0.2  # uniform: a quarter
