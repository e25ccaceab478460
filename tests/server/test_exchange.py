"""What the server notes of its messages to nodes."""

from collections.abc import Iterable

import pytest
from flwr.app import ConfigRecord, Error, Message, RecordDict
from flwr.serverapp import Grid

from fedrec.engine._flower import identify_process, set_message_id
from fedrec.errors import EngineError
from server.exchange import Exchange


class Nodes(Grid):
    """Nodes of which some are silent and some fail."""

    def __init__(self, silent: set[int] = frozenset(), failing: set[int] = frozenset()) -> None:
        identify_process()
        self.silent, self.failing = silent, failing
        self.asked: list[int] = []
        self.replies: dict[str, Message] = {}

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        ids = []
        for message in messages:
            node = message.metadata.dst_node_id
            self.asked.append(node)
            ids.append(str(len(self.asked)))
            set_message_id(message, ids[-1])
            if node in self.failing:
                self.replies[ids[-1]] = Message(Error(1, "out of paper"), reply_to=message)
            elif node not in self.silent:
                answer = RecordDict({"head": ConfigRecord({})})
                self.replies[ids[-1]] = Message(answer, reply_to=message)
        return ids

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        return [self.replies.pop(i) for i in message_ids if i in self.replies]

    def set_run(self, *_): ...
    @property
    def run(self): ...
    def create_message(self, *_, **__): ...
    def get_node_ids(self): ...
    def send_and_receive(self, *_, **__): ...


def messages(*nodes: int) -> list[Message]:
    return [Message(RecordDict({"head": ConfigRecord({})}), node, "train") for node in nodes]


def test_who_is_silent_is_not_asked_again_in_a_round() -> None:
    nodes, exchange = Nodes(silent={2}), Exchange(0.1)
    assert len(exchange.send(nodes, {1, 2}, messages(1, 2))) == 1
    assert len(exchange.send(nodes, {1, 2}, messages(1, 2))) == 1
    assert nodes.asked == [1, 2, 1]
    assert exchange.begin_round() == {2}
    assert exchange.begin_round() == set()
    exchange.send(nodes, {1, 2}, messages(1, 2))
    assert nodes.asked == [1, 2, 1, 1, 2]


def test_failures_stand_in_one_line_and_then_no_more() -> None:
    exchange = Exchange(None)
    exchange.send(Nodes(failing={3}), {1, 3}, messages(1, 3))
    exchange.note(["node 1: no update"])
    told = exchange.line()
    assert told["failed_nodes"] == ["node 3: out of paper", "node 1: no update"]
    assert exchange.line()["failed_nodes"] == []


def test_nobody_left_ends_the_run_and_one_of_two_does_not() -> None:
    with pytest.raises(EngineError, match="all 2 nodes failed. First, node 1: out of paper"):
        Exchange(None).send(Nodes(failing={1, 2}), {1, 2}, messages(1, 2))
    assert len(Exchange(None).send(Nodes(failing={1}), {1, 2}, messages(1))) == 1


def test_nothing_to_send_is_no_failure() -> None:
    assert Exchange(None).send(Nodes(), {1}, []) == []
