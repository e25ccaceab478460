"""The in-process engine: rounds, failures that are survived, and rounds that are skipped."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp

from fedrec.config import Config
from fedrec.engine._flower import RUN_ID
from fedrec.engine.apps import app_dir, load_app
from fedrec.engine.in_process import InProcessGrid, run_in_process
from fedrec.engine.run_engine import execute
from fedrec.errors import ConfigError, EngineError
from fedrec.storage import RunDirectory
from fedrec.training.node import prepare

Make = Callable[..., Config]


def lines(config: Config) -> list[dict[str, Any]]:
    text = RunDirectory(Path(config.run.out)).rounds.read_text()
    return [json.loads(line) for line in text.splitlines()]


def system(config: Config) -> dict[str, Any]:
    return json.loads(RunDirectory(Path(config.run.out)).system.read_text())


class FailingApp:
    """A ClientApp that raises on chosen calls, given as (node id, message type, call)."""

    def __init__(self, app: ClientApp, failures: Callable[[int, str, int], bool]) -> None:
        self._app, self._failures, self._calls = app, failures, {}

    def __call__(self, message: Message, context: Context) -> Message:
        key = (context.node_id, message.metadata.message_type)
        self._calls[key] = self._calls.get(key, 0) + 1
        if self._failures(*key, self._calls[key]):
            raise RuntimeError("out of battery")
        return self._app(message, context)


def run_failing(config: Config, failures: Callable[[int, str, int], bool]) -> None:
    server_app, client_app = load_app(app_dir())
    run_in_process(config, server_app, FailingApp(client_app, failures))  # type: ignore[arg-type]


def test_a_run_and_its_events(small_run: Make) -> None:
    config = small_run(clients__dropout=0.2)
    events: list[dict[str, Any]] = []
    execute(config, on_event=events.append)
    written = lines(config)
    assert [{k: v for k, v in e.items() if k != "event"} for e in events] == written
    assert [line["round"] for line in written] == [1, 2, 3]
    assert [line["valid"] is not None for line in written] == [False, True, True]
    for line in written:
        assert line["clients"] + line["dropped"] == 50
        assert line["loss"] > 0
        assert line["bytes_up"] > 0
        assert line["seconds"] == pytest.approx(sum(line["phases"].values()), abs=1e-4)
        assert (line["failed_nodes"], line["skipped"]) == ([], None)


def test_the_system_that_is_left_behind(small_run: Make) -> None:
    config = small_run(run__seed=3)
    execute(config)
    found = system(config)
    assert (found["name"], found["kind"], found["seed"]) == ("federated-mf", "federated", 3)
    best = max((x for x in lines(config) if x["valid"]), key=lambda x: x["valid"]["full.ndcg@10"])
    assert found["selected_round"] == best["round"]
    assert found["metrics"]["valid"]["full"]["ndcg@10"] == best["valid"]["full.ndcg@10"]
    low, high = found["ci95"]["test.full.ndcg@10"]
    assert low <= found["metrics"]["test"]["full"]["ndcg@10"] <= high
    assert found["privacy"]["epsilon"] is None
    num_items = prepare(config).population.num_items
    assert found["cost"]["bytes_down_per_client"] == num_items * 4 * 4  # d = 4, float32
    assert (Path(config.run.out) / found["bootstrap"]).is_file()


def test_a_failing_node_is_reported_and_survived(small_run: Make) -> None:
    config = small_run(engine__nodes=5)
    run_failing(config, lambda node, kind, call: node == 2 and kind == "train" and call == 2)
    written = lines(config)
    assert [line["clients"] for line in written] == [50, 40, 50]
    assert [line["failed_nodes"] for line in written] == [[], ["node 2: out of battery"], []]
    assert system(config)["selected_round"] in (2, 3)


def test_a_node_that_fails_in_evaluation_is_survived(small_run: Make) -> None:
    config = small_run(engine__nodes=5)
    run_failing(config, lambda node, kind, call: node == 2 and kind == "evaluate" and call == 1)
    assert [len(line["failed_nodes"]) for line in lines(config)] == [0, 1, 0]


class Silent(InProcessGrid):
    """A grid whose second node answers nothing from its second training on."""

    def __init__(self, app: ClientApp, config: Config, nodes: int) -> None:
        super().__init__(app, config, nodes)
        self.told: list[tuple[int, str]] = []

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        every = list(messages)
        for message in every:
            self.told.append((message.metadata.dst_node_id, message.metadata.message_type))
        mute = self.told.count((2, "train")) >= 2
        heard = [m for m in every if not (mute and m.metadata.dst_node_id == 2)]
        return super().push_messages(heard)


def test_a_silent_node_is_waited_for_once_and_trains_once_it_has_answered(small_run: Make) -> None:
    config = small_run(engine__nodes=5)
    server_app, client_app = load_app(app_dir())
    grid = Silent(client_app, config, 5)
    server_app(grid, Context(RUN_ID, 0, {}, RecordDict(), dict(config.flat())))
    written = lines(config)
    assert [line["clients"] for line in written] == [50, 40, 40]
    assert [line["failed_nodes"] for line in written] == [[], ["node 2: no reply"], []]
    assert grid.told.count((2, "train")) == 2
    assert grid.told.count((2, "query.roster")) == 3  # it was asked whether it is there
    assert grid.told.count((2, "evaluate")) == 0
    assert grid.told.count((1, "evaluate")) == 3


def test_all_nodes_failing_is_an_error_with_the_reason(small_run: Make) -> None:
    with pytest.raises(EngineError, match="all 3 nodes failed. First, node 1: out of battery"):
        run_failing(small_run(engine__nodes=3), lambda node, kind, call: kind == "train")


def test_a_node_without_data_is_an_error_with_the_reason(small_run: Make) -> None:
    config = small_run(engine__nodes=60)
    start = time.monotonic()
    with pytest.raises(EngineError, match="50 of at least 60 nodes .*hosts no client"):
        execute(config)
    assert time.monotonic() - start < 30  # nobody waits for nodes that refuse


def test_a_round_with_too_few_clients_is_skipped(small_run: Make) -> None:
    config = small_run(engine__nodes=5, server__min_clients=45)
    run_failing(config, lambda node, kind, call: node == 2 and kind == "train" and call == 2)
    reasons = [line["skipped"] for line in lines(config)]
    assert reasons == [None, "40 clients trained, server.min_clients = 45", None]


def test_a_round_without_any_client_is_skipped(small_run: Make) -> None:
    config = small_run(clients__sampling="poisson", clients__per_round=1, train__rounds=8)
    execute(config)
    empty = [line for line in lines(config) if line["clients"] == 0]
    assert empty
    assert all(line["skipped"].startswith("0 clients trained") for line in empty)
    assert all(line["loss"] is None for line in empty)


def test_no_rounds_at_all(small_run: Make) -> None:
    config = small_run(train__rounds=0)
    execute(config)
    assert system(config)["selected_round"] == 0
    assert lines(config) == []


def test_an_unknown_engine(small_run: Make) -> None:
    with pytest.raises(ConfigError, match="unknown engine 'spark'"):
        execute(small_run(), engine="spark")


def test_contents_are_copied_for_each_node() -> None:
    app = ClientApp()
    seen = []

    @app.train()
    def train(message: Message, context: Context) -> Message:
        seen.append(len(message.content))
        message.content.clear()
        return Message(RecordDict(), reply_to=message)

    grid = InProcessGrid(app, Config(), 2)
    shared = RecordDict({"x": ConfigRecord({"a": 1})})
    replies = grid.send_and_receive([Message(shared, node, "train") for node in (1, 2)])
    assert seen == [1, 1]
    assert [reply.metadata.src_node_id for reply in replies] == [1, 2]
