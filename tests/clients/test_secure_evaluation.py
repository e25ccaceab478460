"""Evaluation of a node in secure runs: masked, equal to the plain sums, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from flwr.app import RecordDict

from fedrec.config import Config
from fedrec.errors import ConfigError, EngineError, ProtocolError
from fedrec.evaluation.encoding import decode_sums
from fedrec.evaluation.sums import EvaluationSums, means
from fedrec.secure import Plan
from fedrec.wire import EVALUATE, TRAIN, EvaluateReply, TrainReply
from fedrec.wire_secure import SECURE, SecureReply
from tests.clients.test_secure import CLIENTS, STAGES, Node
from tests.secure.test_messages import mutations

Make = Callable[..., Config]
KEYS = {"secure__mode": "semi-honest", "server__rows": "sum", "evaluate__group": "region"}


def node(small_run: Make, part: str = "test", **keys: str | int) -> Node:
    return Node(small_run(**{**KEYS, **keys}), part)


def summed(here: Node) -> EvaluationSums:
    for stage in STAGES:
        here.stage(stage)
    return decode_sums(here.server.finish().totals, here.sums, replicates=20)


def plain(here: Node) -> EvaluationSums:
    """What a plain run's node would have answered, for the same clients."""
    here.context.run_config["secure.mode"] = "off"
    request = here.evaluate
    asked = type(request)(
        request.shared, request.part, 20, request.moment, np.array(CLIENTS, np.int64)
    )
    return EvaluateReply.unpack(here.call(asked.pack(), EVALUATE)).sums


@pytest.mark.parametrize("intervals", ["moments", "bootstrap"])
def test_the_sum_is_that_of_plain_evaluation(small_run: Make, intervals: str) -> None:
    here = node(small_run, secure__intervals=intervals)
    found = summed(here)
    expected = plain(here)
    assert means(found) == pytest.approx(means(expected), abs=1e-6)
    assert found.counts == expected.counts
    assert found.recommended.tolist() == expected.recommended.tolist()
    assert found.groups == pytest.approx(expected.groups, abs=1e-8)
    assert any(name.endswith(".count") for name in found.groups)
    assert found.replicates.keys() == expected.replicates.keys()
    if intervals == "bootstrap":
        for name, row in expected.replicates.items():
            assert np.abs(found.replicates[name] - row).max() < 6 * 2.0**-19


def test_validation_sends_only_what_selects_a_round(small_run: Make) -> None:
    found = summed(node(small_run, "valid"))
    assert means(found)
    assert (len(found.recommended), found.groups, found.replicates) == (0, {}, {})


def test_ratings(small_run: Make, tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    lines = [
        f"{user},{item},{draw.integers(1, 6)},{at}"
        for user in range(12)
        for at, item in enumerate(draw.permutation(60)[:9])
    ]
    (tmp_path / "ratings.csv").write_text("\n".join(["user,item,rating,time", *lines]) + "\n")
    keys = {
        "data__name": "file",
        "data__path": str(tmp_path / "ratings.csv"),
        "data__rating_column": "rating",
        "data__time_column": "time",
        "data__feedback": "explicit",
        "model__loss": "squared",
        "evaluate__group": "",
    }
    here = node(small_run, **keys)
    found, expected = summed(here), plain(here)
    assert found.counts == expected.counts
    assert means(found) == pytest.approx(means(expected), abs=1e-6)
    assert set(means(found)) == {"rating.rmse", "rating.mae"}


def test_tables_of_the_clients_own_are_summed_in_secret_too(small_run: Make) -> None:
    keys = {"train__method": "fedavg", "evaluate__table": "personalised"}
    found = means(summed(node(small_run, **keys)))
    assert found == pytest.approx(means(plain(node(small_run, **keys))), abs=1e-6)
    assert found != pytest.approx(means(summed(node(small_run))), abs=1e-3)


@pytest.mark.parametrize("stage", ["advertise", "share", "mask"])
def test_a_client_lost_at_a_stage_costs_itself_only(small_run: Make, stage: str) -> None:
    here = node(small_run, "valid")
    for name in STAGES:
        if name != stage:
            here.stage(name)
            continue
        here.stage(name, without=(5,))
        here.outgoing.pop(5, None)
    sums = here.server.finish()
    assert sums.survivors == (1, 3, 7, 9, 11)
    found = decode_sums(sums.totals, here.sums, replicates=0)
    assert found.counts["full"] <= 5


def test_nothing_leaves_in_plain(small_run: Make) -> None:
    """A server that asks for the sums, or for updates, gets an error and no message."""
    for mode in ("semi-honest", "malicious-server"):
        here = node(small_run, secure__mode=mode)
        with pytest.raises(ProtocolError, match="the evaluation of this node was asked for in pl"):
            here.call(here.evaluate.pack(), EVALUATE)
        with pytest.raises(ProtocolError, match="the training of this node was asked for in plain"):
            here.call(here.train.pack(), TRAIN)
        with pytest.raises(ProtocolError, match="in plain"):
            here.call(type(here.train)(**{**vars(here.train), "single": True}).pack(), TRAIN)
        nobody = type(here.train)(**{**vars(here.train), "clients": np.zeros(0, np.int64)})
        assert TrainReply.unpack(here.call(nobody.pack(), TRAIN)).partial_sum is None


def test_another_part_than_agreed_is_refused(small_run: Make) -> None:
    """Vectors agreed for a validation do not carry a test, nor those of training."""
    here = node(small_run, "valid")
    here.stage("advertise")
    here.stage("share")
    here.evaluate = type(here.evaluate)(here.shared, "test", 20, here.evaluate.moment)
    reply = here.send("mask", dict(here.outgoing))
    assert reply.messages == {}
    assert set(reply.refused) == set(CLIENTS)
    assert "not those of an evaluation of the part 'test'" in reply.refused[1]
    assert here.secrets() == set()


@pytest.mark.parametrize(("part", "message"), [("train", "no part 'train'"), ("", "no part ''")])
def test_unknown_parts_are_refused(small_run: Make, part: str, message: str) -> None:
    here = node(small_run, "valid")
    here.stage("advertise")
    here.stage("share")
    here.evaluate = type(here.evaluate)(here.shared, part, 0, here.evaluate.moment)
    assert message in here.send("mask", dict(here.outgoing)).refused[1]


def test_a_mask_request_must_say_what_to_evaluate(small_run: Make) -> None:
    here = node(small_run, "valid")
    here.stage("advertise")
    here.stage("share")
    here.evaluate = None  # type: ignore[assignment]
    with pytest.raises(EngineError, match="must say what to evaluate"):
        here.send("mask", dict(here.outgoing))


@pytest.mark.parametrize("stage", ["share", "mask", "unmask"])
def test_mutated_messages_are_refused(small_run: Make, stage: str) -> None:
    """Bit flips, cuts, splices and huge lengths, one for each party at once."""
    here = node(small_run, "valid")
    for name in STAGES[: STAGES.index(stage)]:
        here.stage(name)
    right, state = dict(here.outgoing), here.context.state.copy()
    others = [right[n] for n in CLIENTS[1:]]
    mutants = list(mutations(bytes(right[1]), others, 120, seed=STAGES.index(stage)))
    for at in range(0, len(mutants) - 5, 6):
        here.context.state = state.copy()
        wrong = {n: m for n, m in zip(CLIENTS, mutants[at : at + 6], strict=True) if m != right[n]}
        reply = here.send(stage, wrong)
        assert reply.messages == {}
        assert set(reply.refused) == set(wrong)
    here.context.state = state
    assert set(here.send(stage, right).messages) == set(CLIENTS)


def test_mutated_requests_are_typed_errors(small_run: Make) -> None:
    """Records of the request itself: a lost, renamed or malformed one is no crash."""
    here = node(small_run, "valid")
    here.stage("advertise")
    here.stage("share")
    state = here.context.state.copy()
    raw = here.server.plan.to_bytes()
    for plan in list(mutations(raw, [raw[::-1]], 150, seed=5)):
        here.context.state = RecordDict()
        try:
            reply = here.send_plan(plan)
        except (ProtocolError, ConfigError):
            continue  # malformed, or against a rule: the node answers with this error
        accepted = Plan.from_bytes(plan)
        assert set(reply.messages) | set(reply.refused) == set(CLIENTS)
        if reply.messages:  # another round, nonce, key of the server or vectors: no secret is out
            assert accepted.identities[1] == here.server.plan.identities[1]
    here.context.state = state
    assert here.send("mask", dict(here.outgoing)).messages


def test_only_messages_and_refusals_are_on_the_wire(small_run: Make) -> None:
    here = node(small_run)
    for stage in STAGES:
        here.stage(stage)
        content = here.last
        assert set(content) == {"head", "parties", "messages"}
        assert set(content["head"]) == {"kind", "version", "refused", "reasons"}
        assert set(content.array_records["parties"]) == {"ids"}
        assert SecureReply.unpack(content).refused == {}
    assert SECURE == "train.secure"
