"""The handlers of a node: what they change, keep and refuse."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from flwr.app import Context, Message, RecordDict
from hypothesis import given
from hypothesis import strategies as st

import clients.training
from clients.app import app
from clients.store import scatter
from fedrec.config import Config
from fedrec.engine._flower import identify_process
from fedrec.params import Personal, Shared
from fedrec.storage import RunDirectory
from fedrec.training.node import init_shared, prepare
from fedrec.wire import (
    EVALUATE,
    NO_ROUND,
    ROSTER,
    TRAIN,
    EvaluateReply,
    EvaluateRequest,
    Moment,
    RosterReply,
    RosterRequest,
    TrainReply,
    TrainRequest,
    stored_state,
)

Make = Callable[..., Config]


class Node:
    """One of two nodes, called directly."""

    def __init__(self, config: Config) -> None:
        identify_process()
        self.shared: Shared = init_shared(prepare(config))
        node = {"partition-id": 1, "num-partitions": 2}
        self.context = Context(1, 9, node, RecordDict(), dict(config.flat()))

    def call(self, content: RecordDict, kind: str) -> RecordDict:
        return app(Message(content, 9, kind), self.context).content

    def train(self, number: int, chosen: list[int], saved: int = NO_ROUND) -> TrainReply:
        moment = Moment("s", number - 1, NO_ROUND, saved)
        request = TrainRequest(self.shared, number, np.array(chosen, np.int64), moment)
        return TrainReply.unpack(self.call(request.pack(), TRAIN))

    def vectors(self) -> np.ndarray:
        state = stored_state(self.context.state, "current")
        assert state is not None
        return state.personal.values["user"]


def test_the_roster(small_run: Make) -> None:
    reply = RosterReply.unpack(Node(small_run()).call(RosterRequest().pack(), ROSTER))
    assert reply.clients.tolist() == list(range(1, 50, 2))


def test_only_chosen_clients_learn(small_run: Make) -> None:
    node = Node(small_run())
    node.train(1, [])
    before = node.vectors()
    total = node.train(2, [3, 7]).partial_sum
    assert total is not None
    assert total.num_clients == 2
    moved = np.flatnonzero((node.vectors() != before).any(axis=1))
    assert moved.tolist() == [1, 3]  # places of clients 3 and 7 among 1, 3, 5, 7, ...


def test_a_node_without_chosen_clients_only_saves(small_run: Make) -> None:
    config = small_run()
    assert Node(config).train(1, [], saved=1).partial_sum is None
    kept = RunDirectory(Path(config.run.out)).clients / "1-of-2" / "s"
    assert [p.name for p in kept.iterdir()] == ["round-000001.ckpt"]


def test_a_node_that_fails_still_saves_what_it_had(
    small_run: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = small_run()
    node = Node(config)
    node.train(1, [3])
    before = node.vectors()

    def broken(*arguments: object) -> None:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(clients.training, "train_node", broken)
    with pytest.raises(RuntimeError, match="out of memory"):
        node.train(2, [3], saved=2)
    monkeypatch.undo()
    again = Node(config)
    again.train(3, [])
    assert again.vectors().tobytes() == before.tobytes()


def test_evaluation_changes_nothing(small_run: Make) -> None:
    node = Node(small_run())
    node.train(1, [3])
    before = node.vectors()
    request = EvaluateRequest(node.shared, "valid", 0, Moment("s", 1))
    sums = EvaluateReply.unpack(node.call(request.pack(), EVALUATE)).sums
    assert 0 < sums.counts["full"] <= 25
    assert sums.replicates == {}
    assert node.vectors().tobytes() == before.tobytes()


@given(st.sets(st.integers(0, 9), max_size=10))
def test_scatter_moves_the_named_rows_only(rows: set[int]) -> None:
    index = np.array(sorted(rows), np.int64)
    old = Personal({"user": np.zeros((10, 2), np.float32)})
    new = scatter(old, Personal({"user": np.ones((len(index), 2), np.float32)}), index)
    assert set(np.flatnonzero(new.values["user"].any(axis=1))) == rows
    assert not old.values["user"].any()
