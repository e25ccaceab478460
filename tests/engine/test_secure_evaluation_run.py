"""Runs whose evaluation is secure: plain metrics, skipped validations, registries, the wire."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest
from flwr.app import Message

from clients.app import app as client_app
from fedrec.config import Config
from fedrec.engine.in_process import InProcessGrid
from fedrec.engine.run_engine import execute
from fedrec.errors import ConfigError, EngineError
from fedrec.evaluation.sums import from_arrays, means
from fedrec.secure import Identity, Plan
from fedrec.secure.registry import REGISTRY, write_identities
from fedrec.storage import RunDirectory
from fedrec.training.node import prepare
from fedrec.wire_secure import IDENTITIES, SECURE, SecureReply, SecureRequest
from server.strategy import FedRecStrategy
from tests.engine.test_secure_run import PLAIN, Keys, Make, lines, run, system
from tests.engine.test_secure_run import SECURE as KEYS

KINDS = {"roster-reply", "identities-reply", "secure-reply", "train-reply"}
"""All that may leave a node of a secure run; a train-reply must be empty."""


class Grid(InProcessGrid):
    """Nodes in this process, and somebody between them and the server."""

    def __init__(self, config: Config) -> None:
        super().__init__(client_app, config, config.engine.nodes)
        self.replies: list[Message] = []
        self.requests: list[Message] = []
        self.lose: Callable[[SecureRequest, int], bool] = lambda request, number: False
        self.forge: Callable[[Message], None] = lambda message: None
        self.node_config: dict[str, str] = {}

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        sent = list(messages)
        for message in sent:
            self.requests.append(message)
            self.forge(message)
        for context in self._contexts.values():
            context.node_config.update(self.node_config)
        ids = super().push_messages(sent)
        self._asked = dict(zip(ids, sent, strict=True))
        return ids

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        replies = super().pull_messages(message_ids)
        for reply in replies:
            if not reply.has_error():
                self._drop(self._asked[reply.metadata.reply_to_message_id], reply)
        self.replies += replies
        return replies

    def _drop(self, request: Message, reply: Message) -> None:
        if request.metadata.message_type != SECURE:
            return
        asked = SecureRequest.unpack(request.content)
        if asked.stage == "forget":
            return
        found = SecureReply.unpack(reply.content)
        left = {n: m for n, m in found.messages.items() if not self.lose(asked, n)}
        if len(left) < len(found.messages):
            reply.content = SecureReply(left, found.refused).pack()


def play(config: Config, change: Callable[[Grid], None] = lambda grid: None) -> Grid:
    grid = Grid(config)
    change(grid)
    FedRecStrategy(config, prepare(config)).start(grid)
    return grid


def test_sums(config: Config) -> dict[str, np.ndarray]:
    with np.load(RunDirectory(Path(config.run.out)).bootstrap) as archive:
        return {name: archive[name] for name in archive.files}


test_sums.__test__ = False  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "keys",
    [
        {"engine__nodes": 2, "evaluate__sampled": 99, "evaluate__group": "region"},
        {"engine__nodes": 10},
        {"secure__mode": "malicious-server"},
        {"clients__unit": "merchant", "data__merchants": 4},
        {"evaluate__clients": 20, "engine__nodes": 3},
    ],
    ids=["groups", "ten nodes", "malicious", "merchants", "sampled"],
)
def test_metrics_are_those_of_a_plain_run(small_run: Make, keys: Keys) -> None:
    """Nothing is trained, so that both evaluate the same model."""
    fixed = {"train__lr": 1e-9, "train__personal_lr": 1e-9, "evaluate__bootstrap": 30}
    secure = small_run("secure", **{**KEYS, **fixed, **keys, "secure__intervals": "bootstrap"})
    others = {n: v for n, v in keys.items() if not n.startswith("secure__")}
    plain = small_run("plain", **{**PLAIN, **fixed, **others})
    run(secure)
    run(plain)
    (line,), (expected,) = lines(secure), lines(plain)
    assert line["valid"] == pytest.approx(expected["valid"], abs=1e-6)
    assert line["evaluation"]["skipped"] is None
    mine, theirs = from_arrays(test_sums(secure)), from_arrays(test_sums(plain))
    assert means(mine) == pytest.approx(means(theirs), abs=1e-6)
    assert mine.counts == theirs.counts
    assert mine.recommended.tolist() == theirs.recommended.tolist()
    assert mine.groups == pytest.approx(theirs.groups, abs=1e-6)
    found, wanted = system(secure), system(plain)
    assert found["ci95"].keys() == wanted["ci95"].keys()
    for name, ends in wanted["ci95"].items():
        assert found["ci95"][name] == pytest.approx(ends, abs=1e-5)


def test_intervals_from_moments(small_run: Make) -> None:
    keys = {"evaluate__bootstrap": 400, "train__rounds": 1}
    secure, exact = (
        small_run(name, **{**KEYS, **keys, "secure__intervals": name})
        for name in ("moments", "bootstrap")
    )
    run(secure)
    run(exact)
    mine, theirs = system(secure), system(exact)
    for name, (low, high) in theirs["ci95"].items():
        assert mine["ci95"][name] == pytest.approx([low, high], abs=0.03)
    assert "sums of products of two of a client's figures" in mine["privacy"]["statement"]
    statement = theirs["privacy"]["statement"]
    assert "weights that the server knows (400 of 50 clients)" in statement
    assert "compute the test figures of each" in statement


@pytest.mark.parametrize("stage", ["advertise", "share", "mask", "consistency", "unmask"])
def test_clients_lost_in_an_evaluation_cost_themselves(small_run: Make, stage: str) -> None:
    keys = {"secure__mode": "malicious-server", "engine__nodes": 2}

    def change(grid: Grid) -> None:
        grid.lose = lambda request, number: (
            request.vectors == "evaluation" and request.stage == stage and number < 4
        )

    config = small_run(**{**KEYS, **keys})
    play(config, change)
    (line,) = lines(config)
    counted = stage in ("consistency", "unmask")
    assert line["clients"] == 50
    assert line["evaluation"]["clients"] == (50 if counted else 46)
    assert line["evaluation"]["lost"][stage] == 4
    assert line["valid"]
    assert system(config)["privacy"]["test_evaluation"]["clients"] == (50 if counted else 46)


def test_a_validation_with_too_few_clients_is_skipped_and_recorded(small_run: Make) -> None:
    def change(grid: Grid) -> None:
        grid.lose = lambda request, number: (
            request.evaluate is not None and request.evaluate.part == "valid" and number > 9
        )

    config = small_run(**{**KEYS, "train__rounds": 2, "evaluate__every": 1})
    play(config, change)
    for line in lines(config):
        assert line["valid"] is None
        assert "skipped after the stage 'mask'" in line["evaluation"]["skipped"]
        assert line["evaluation"]["clients"] == 0
        assert line["skipped"] is None
    assert system(config)["selected_round"] == 2  # the last one, as none was validated
    assert system(config)["metrics"]["test"]


def test_a_test_with_too_few_clients_is_an_error_and_can_be_resumed(small_run: Make) -> None:
    def change(grid: Grid) -> None:
        grid.lose = lambda request, number: (
            request.evaluate is not None and request.evaluate.part == "test" and number > 9
        )

    config = small_run(**KEYS)
    with pytest.raises(EngineError, match=r"saved, but its test failed.*Resume the run"):
        play(config, change)
    assert not RunDirectory(Path(config.run.out)).system.exists()
    play(config)
    assert system(config)["metrics"]["test"]["full"]
    assert len(lines(config)) == 1


def test_nothing_else_leaves_a_node(small_run: Make) -> None:
    config = small_run(**{**KEYS, "engine__nodes": 5, "train__rounds": 2})
    grid = play(config)
    kinds = set()
    for reply in grid.replies:
        content = reply.content
        kinds.add(content.config_records["head"]["kind"])
        if content.config_records["head"]["kind"] == "train-reply":
            assert content.config_records["head"]["empty"]
        if content.config_records["head"]["kind"] == "secure-reply":
            assert set(content) == {"head", "parties", "messages"}
            assert set(content["head"]) == {"kind", "version", "refused", "reasons"}
    assert kinds <= KINDS
    assert {"secure-reply", "identities-reply"} <= kinds
    asked = {SecureRequest.unpack(m.content).vectors for m in grid.requests
             if m.metadata.message_type == SECURE}  # fmt: skip
    assert asked == {"update", "evaluation"}


# Identities that do not come from the server


def pinned(small_run: Make, tmp_path: Path, nodes: int | None = None, **keys: str | int) -> Config:
    write_identities(tmp_path / "ids", 50, nodes)
    registry = str(tmp_path / "ids" / REGISTRY)
    mode = {"secure__mode": "malicious-server", "secure__registry": registry}
    return small_run(**{**KEYS, **mode, "engine__nodes": 2, **keys})


@pytest.mark.parametrize("nodes", [None, 2])
def test_a_registry_takes_the_place_of_registration(
    small_run: Make, tmp_path: Path, nodes: int | None
) -> None:
    config = pinned(small_run, tmp_path, nodes)
    grid = play(config)
    assert not any(m.metadata.message_type == IDENTITIES for m in grid.requests)
    (line,) = lines(config)
    assert (line["clients"], line["skipped"]) == (50, None)
    statement = system(config)["privacy"]["statement"]
    assert "own copies of the registry of identities (fingerprint" in statement
    assert "genuine" not in statement


def forge(message: Message) -> None:
    """A lying server that puts itself in the place of client 7."""
    if message.metadata.message_type != SECURE:
        return
    request = SecureRequest.unpack(message.content)
    if request.stage != "advertise":
        return
    plan = Plan.from_bytes(request.plan)
    fake = Identity(b"server knows this secret".ljust(32)).public
    registry = tuple((n, fake if n == 7 else key) for n, key in plan.registry)
    changed = Plan(**_with(plan, registry))  # type: ignore[arg-type]
    message.content = SecureRequest("advertise", request.messages, changed.to_bytes()).pack()


def _with(plan: Plan, registry: tuple[tuple[int, bytes], ...]) -> dict[str, object]:
    names = [f for f in plan.__dataclass_fields__ if f != "registry"]
    return {**{name: getattr(plan, name) for name in names}, "registry": registry}


def test_a_forged_identity_is_refused_by_everybody(small_run: Make, tmp_path: Path) -> None:
    def change(grid: Grid) -> None:
        grid.forge = forge

    config = pinned(small_run, tmp_path)
    with pytest.raises(EngineError, match="its test failed"):
        play(config, change)
    (line,) = lines(config)  # the round is skipped, not the run
    assert line["clients"] == 0
    assert "skipped after the stage 'advertise'" in line["skipped"]
    assert line["valid"] is None


def test_the_reason_of_a_refusal_is_told(small_run: Make, tmp_path: Path) -> None:
    config = pinned(small_run, tmp_path)

    def change(grid: Grid) -> None:
        grid.forge = forge

    grid = Grid(config)
    change(grid)
    with pytest.raises(EngineError):
        FedRecStrategy(config, prepare(config)).start(grid)
    refused = [
        reason
        for reply in grid.replies
        if reply.content.config_records["head"]["kind"] == "secure-reply"
        for reason in SecureReply.unpack(reply.content).refused.values()
    ]
    assert len(refused) >= 50
    assert all("identity of client 7 that is not the one in the registry" in r for r in refused)


def test_without_a_registry_the_statement_claims_less(small_run: Make) -> None:
    config = small_run(**{**KEYS, "secure__mode": "malicious-server"})
    run(config)
    statement = system(config)["privacy"]["statement"]
    assert "register with it at the start of the run" in statement
    assert "could stand for all clients but one" in statement


def test_a_bound_node_takes_part_in_nothing_less(small_run: Make, tmp_path: Path) -> None:
    """The run's configuration comes from the server; the node-config does not."""
    write_identities(tmp_path / "ids", 50)

    def change(grid: Grid) -> None:
        grid.node_config = {"registry": str(tmp_path / "ids" / REGISTRY)}

    for name, keys in (("plain", PLAIN), ("semi", KEYS)):
        with pytest.raises(EngineError, match="was started with a registry of identities"):
            play(small_run(name, **keys), change)
    with pytest.raises(EngineError, match="its test failed"):  # registered, not pinned
        play(
            small_run("other", **{**KEYS, "secure__mode": "malicious-server"}), _registered(change)
        )


def _registered(change: Callable[[Grid], None]) -> Callable[[Grid], None]:
    def both(grid: Grid) -> None:
        change(grid)
        grid.forge = forge

    return both


@pytest.mark.parametrize(
    ("number", "message"), [(49, "holds the identities of 49 clients, and the data has 50")]
)
def test_a_registry_of_other_clients_is_refused_before_the_run(
    small_run: Make, tmp_path: Path, number: int, message: str
) -> None:
    write_identities(tmp_path / "ids", number)
    registry = str(tmp_path / "ids" / REGISTRY)
    config = small_run(**{**KEYS, "secure__registry": registry})
    with pytest.raises(ConfigError, match=message):
        execute(config, engine="in-process")
    missing = small_run("missing", **{**KEYS, "secure__registry": str(tmp_path / "none.txt")})
    with pytest.raises(ConfigError, match="cannot read the registry"):
        execute(missing, engine="in-process")


@pytest.mark.parametrize("changes", [{"mode": "semi-honest"}, {"neighbours": 12, "threshold": 9}])
def test_a_weaker_session_than_configured_is_refused(
    small_run: Make, changes: dict[str, object]
) -> None:
    def weaken(message: Message) -> None:
        if message.metadata.message_type != SECURE:
            return
        request = SecureRequest.unpack(message.content)
        if request.stage == "advertise":
            plan = Plan.from_bytes(request.plan)
            weak = Plan(**{**_with(plan, plan.registry), **changes})  # type: ignore[arg-type]
            message.content = SecureRequest("advertise", request.messages, weak.to_bytes()).pack()

    config = small_run(**{**KEYS, "secure__mode": "malicious-server"})
    grid = Grid(config)
    grid.forge = weaken
    with pytest.raises(EngineError, match="its test failed"):
        FedRecStrategy(config, prepare(config)).start(grid)
    told = json.dumps([
        SecureReply.unpack(r.content).refused
        for r in grid.replies
        if r.content.config_records["head"]["kind"] == "secure-reply"
    ])  # fmt: skip
    assert "the server proposes" in told


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"evaluate__clients": 2}, "3 clients or more, not of evaluate.clients = 2"),
        ({"secure__intervals": "exact"}, "secure.intervals"),
    ],
)
def test_refused_with_the_configuration(small_run: Make, keys: Keys, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        small_run(**{**KEYS, **keys})
