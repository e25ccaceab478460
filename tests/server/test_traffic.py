"""Bytes between the server and its nodes."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Error, Message, RecordDict
from numpy.typing import NDArray

from fedrec.config import Config, load_config
from fedrec.engine._flower import identify_process
from fedrec.engine.run_engine import execute
from fedrec.training.node import init_personal, init_shared, prepare, train_node
from fedrec.wire import TrainReply
from server.traffic import Traffic, content_bytes


def message(values: int) -> Message:
    identify_process()
    arrays = ArrayRecord({"rows": Array(np.zeros(values, np.float32))})
    return Message(RecordDict({"arrays": arrays, "head": ConfigRecord({})}), 1, "train")


def test_a_message_counts_its_arrays() -> None:
    few, many = content_bytes([message(10)]), content_bytes([message(1010)])
    assert many - few == 4000
    assert 40 <= few < 400  # the header of an array, its name
    assert content_bytes([message(10), message(10)]) == 2 * few


def test_an_error_carries_nothing() -> None:
    assert content_bytes([Message(Error(1, "lost"), reply_to=message(1))]) == 0


def test_rounds_are_counted_apart() -> None:
    traffic = Traffic()
    traffic.count([message(10)], [message(20)])
    first = traffic.line()
    assert first["node_bytes_up"] - first["node_bytes_down"] == 40
    assert traffic.line() == {"node_bytes_down": 0, "node_bytes_up": 0}


def test_two_nodes_get_the_parameters_twice_and_send_their_own_rows(
    small_run: Callable[..., Config],
) -> None:
    found = {}
    for nodes in (1, 2):
        config = small_run(f"n{nodes}", engine__nodes=nodes, train__rounds=3, evaluate__every=3)
        execute(config)
        lines = (Path(config.run.out) / "rounds.jsonl").read_text().splitlines()
        found[nodes] = json.loads(lines[0])
    one, two = found[1], found[2]
    assert two["node_bytes_down"] > 1.8 * one["node_bytes_down"]
    assert one["node_bytes_up"] < two["node_bytes_up"] < 2.1 * one["node_bytes_up"]
    table = 60 * 4 * 4  # 60 items, d = 4, float32
    assert one["node_bytes_down"] > table


def test_a_few_rows_of_a_large_catalogue_travel_alone_and_are_the_whole_sum() -> None:
    keys = {"data.name": "zipf", "data.users": 30, "data.items": 20_000, "model.dim": 4,
            "data.events_per_user": 8.0}  # fmt: skip
    setup = prepare(load_config(None, keys))
    shared = init_shared(setup)

    def reply(clients: NDArray[np.int64]) -> RecordDict:
        total, _ = train_node(setup, shared, init_personal(setup, clients), clients, 1)
        return TrainReply(total).pack()

    def dense(packed: RecordDict) -> NDArray:
        total = TrainReply.unpack(packed).partial_sum
        assert total is not None
        return total.tables["item"].dense(20_000)

    everyone = np.arange(30)
    shards = [reply(everyone[part::2]) for part in range(2)]
    whole = dense(reply(everyone))
    assert np.abs(dense(shards[0]) + dense(shards[1]) - whole).max() <= 1e-5 * np.abs(whole).max()
    touched = np.count_nonzero(np.abs(dense(shards[0])).sum(axis=1))
    assert 100 < touched < 2_000
    sent = content_bytes([Message(shards[0], 1, "train")])
    # an id of 4 bytes, a row and its weight of at most 8 each; the whole table has 320,000 bytes
    assert 4 * 5 * touched < sent < 48 * touched + 2_000 < 100_000
