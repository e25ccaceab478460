"""Runs with distributed noise: what is added, counted, refused, repeated and said."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clients.secret import check_least
from fedrec.config import Config
from fedrec.engine.apps import app_dir, load_app
from fedrec.engine.run_engine import execute
from fedrec.errors import ConfigError, ProtocolError
from fedrec.privacy.ledger import Event, Ledger
from fedrec.secure import Vector
from fedrec.secure.plan import make_plan
from fedrec.storage import RunDirectory, read_arrays
from tests.engine.test_resume import outcome, run_until_killed

Make = Callable[..., Config]

DISTRIBUTED: dict[str, Any] = {
    "server__rows": "sum",
    "server__min_clients": 8,
    "clients__sampling": "fixed",
    "clients__per_round": 10,
    "privacy__mechanism": "distributed",
    "privacy__clip": 0.5,
    "privacy__noise_multiplier": 1.0,
    "privacy__draws": "seeded",
    "secure__mode": "semi-honest",
    "secure__bits": 16,
    "secure__clip": 1.0,
    "evaluate__sampled": 0,
    "evaluate__bootstrap": 0,
    "train__rounds": 2,
}
SECRET = {**DISTRIBUTED, "privacy__draws": "secret"}
STEPS = 0.5 * (2**16 - 1) / 2.0


def event(noise: float = 1.0) -> Event:
    return Event("skellam", noise, 50, 10, STEPS)


def done(config: Config) -> dict[str, Any]:
    return json.loads(RunDirectory(Path(config.run.out)).system.read_text())


def lines(config: Config) -> list[dict[str, Any]]:
    text = RunDirectory(Path(config.run.out)).rounds.read_text()
    return [json.loads(line) for line in text.splitlines()]


def state(config: Config) -> dict[str, Any]:
    return read_arrays(RunDirectory(Path(config.run.out)).checkpoint)[1]["privacy"]


def tables(config: Config) -> np.ndarray:
    execute(config)
    arrays = read_arrays(RunDirectory(Path(config.run.out)).checkpoint)[0]
    return np.concatenate([v.ravel() for n, v in sorted(arrays.items()) if "shared/table" in n])


def test_the_sum_carries_the_noise_of_all_survivors(small_run: Make) -> None:
    """One round of plain steps: what the runs differ by is the noise, and nothing else."""
    keys = {**DISTRIBUTED, "train__rounds": 1, "train__lr": 0.01}
    noisy = tables(small_run("noisy", **keys))
    clear = tables(small_run("clear", **{**keys, "privacy__noise_multiplier": 0.0}))
    noise = noisy - clear
    wanted = 1.0 * 0.5 * math.sqrt(10 / 8)  # calibrated for 8, and 10 have survived
    assert noise.std() == pytest.approx(wanted, rel=5 / math.sqrt(2 * len(noise)))
    assert (np.abs(noise) > 1e-9).mean() > 0.99  # every row, touched or not


def test_one_and_two_nodes_give_the_same_model(small_run: Make) -> None:
    one, two = (tables(small_run(f"n{n}", **DISTRIBUTED, engine__nodes=n)) for n in (1, 2))
    assert np.abs(one - two).max() <= 4 * 2.0 / (2**16 - 1)  # some roundings may fall otherwise
    assert np.abs(one).max() > 1


def test_secret_noise_differs_from_run_to_run(small_run: Make) -> None:
    one, two = (tables(small_run(name, **SECRET)) for name in "ab")
    assert (np.abs(one - two) > 1e-6).mean() > 0.99


def test_what_a_run_says_and_does_not_say(small_run: Make) -> None:
    config = small_run(**SECRET)
    execute(config)
    privacy, delta = done(config)["privacy"], 50**-1.1
    assert privacy["epsilon"] == pytest.approx(Ledger().add(event(), 2).epsilon(delta), abs=1e-6)
    assert (privacy["mechanism"], privacy["rounds"]) == ("distributed", 2)
    for words in (
        "-differential privacy of every user towards everyone, the server too if it follows",
        "together 1 times that norm with the 8 clients that a round needs, and more with more",
        "Each takes part with chance 0.2, which the server then knows",
        "it takes part with an update of zero",
        "sum of the updates of all clients of a round with their noise",
        "With fewer clients than a round needs nothing is revealed",
    ):
        assert words in privacy["statement"]
    for words in ("losses", "the loss and counts", "single contributor", "The sum itself is exact"):
        assert words not in privacy["statement"]
    assert "exposure" not in privacy
    for line in lines(config):  # nothing that is not covered by noise has left a client
        assert line["loss"] is None
        assert line["within_clip"] is None
        assert line["secure"]["clipped"] is None
        assert line["clients"] == 10
    assert state(config)["ledger"] == [{**event().__dict__, "count": 2}]
    assert state(config)["secret"] == ""


def test_a_round_with_too_few_survivors_is_skipped_unseen_and_costs(small_run: Make) -> None:
    keys = {**DISTRIBUTED, "clients__dropout": 0.35, "train__rounds": 6, "secure__threshold": 3}
    config = small_run(**{**keys, "secure__drop_stage": "mask", "server__min_clients": 6})
    execute(config)
    told = lines(config)
    skipped = [line for line in told if line["skipped"]]
    assert 0 < len(skipped) < 6
    for line in skipped:
        assert "after the stage 'mask'" in line["skipped"]
        assert line["secure"]["lost"].get("unmask") is None  # nothing was revealed
        assert line["clients"] == 0
    for line in told:
        assert line["skipped"] or line["clients"] >= 6
    assert done(config)["privacy"]["rounds"] == 6


def test_each_attempt_at_a_round_costs(small_run: Make) -> None:
    """The server may have seen the sum before the crash; the second one has fresh noise."""
    keys = {**DISTRIBUTED, "engine__nodes": 2, "train__rounds": 3}
    calm = small_run("calm", **keys)
    execute(calm)
    killed = small_run("killed", **keys)
    assert run_until_killed(killed, 9, after=False)
    begun = state(killed)["ledger"][0]["count"]
    assert begun == 1  # written down before anything was sent
    execute(killed)
    assert outcome(killed)["model"] == outcome(calm)["model"]  # seeded: the same result
    assert state(killed)["ledger"][0]["count"] == 4
    assert done(killed)["privacy"]["epsilon"] > done(calm)["privacy"]["epsilon"]


def test_the_budget_stops_a_run(small_run: Make) -> None:
    budget = Ledger().add(event(), 2).epsilon(50**-1.1) + 1e-6
    config = small_run(**{**SECRET, "train__rounds": 9}, privacy__epsilon=budget)
    execute(config)
    privacy = done(config)["privacy"]
    assert [line["round"] for line in lines(config)] == [1, 2]
    assert privacy["epsilon"] <= budget
    assert "privacy budget spent: after 2 rounds" in privacy["stopped"]


def test_a_calibrated_run_ends_at_its_budget(small_run: Make) -> None:
    keys = {**SECRET, "privacy__noise_multiplier": 0.0, "privacy__epsilon": 3.0}
    config = small_run(**keys)
    execute(config)
    privacy = done(config)["privacy"]
    assert 2.9 < privacy["epsilon"] <= 3.0
    assert privacy["stopped"] is None


def test_clients_without_data_look_like_the_others(small_run: Make) -> None:
    """Ten clients a round, whoever they are: the sum of weights tells nothing."""
    keys = {**DISTRIBUTED, "data__events_per_user": 2.0, "train__rounds": 4}
    config = small_run(**keys)
    execute(config)
    assert {line["clients"] for line in lines(config)} == {10}


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"clients__dropout": 0.4}, r"above the 6 clients that a round has on average"),
        ({"privacy__noise_multiplier": 60.0}, r"set secure\.bits = \d+ or fewer"),
        ({"secure__bits": 2, "secure__clip": 4.0}, r"raise secure\.bits"),
    ],
)
def test_refused_before_anything_is_sent(
    small_run: Make, keys: dict[str, Any], message: str
) -> None:
    config = small_run(**{**DISTRIBUTED, **keys})
    with pytest.raises(ConfigError, match=message):
        execute(config)
    assert not RunDirectory(Path(config.run.out)).checkpoint.exists()


def test_a_client_refuses_a_session_that_accepts_fewer(small_run: Make) -> None:
    registry = {i: bytes([i]) * 32 for i in range(10)}

    def plan(least: int) -> Any:
        return make_plan(
            registry,
            (Vector("u", 5, 32, None),),
            round_number=1,
            coordinator=b"c" * 32,
            nonce=b"n" * 16,
            least=least,
        )

    config = small_run(**DISTRIBUTED)
    check_least(config, plan(8))
    check_least(small_run(), plan(0))
    with pytest.raises(ProtocolError, match="accepts a sum of 7 clients"):
        check_least(config, plan(7))


@pytest.mark.slow
@pytest.mark.parametrize("mechanism", ["central", "local", "distributed"])
def test_seeded_noise_on_ray_is_that_of_one_process(small_run: Make, mechanism: str) -> None:
    keys = {**DISTRIBUTED, "privacy__mechanism": mechanism, "engine__nodes": 2}
    if mechanism == "local":
        keys |= {"secure__mode": "off"}
    found = []
    for engine in ("in-process", "ray"):
        config = small_run(f"{mechanism}-{engine}", **keys)
        execute(config, engine=engine)
        arrays = read_arrays(RunDirectory(Path(config.run.out)).checkpoint)[0]
        found.append(arrays["shared/table.item"])
    assert found[0] == pytest.approx(found[1], rel=1e-4, abs=4 * 2.0 / (2**16 - 1))
    assert np.abs(found[0]).max() > 1


# Central noise: a crash together with another sum -----------------------------------


@pytest.mark.parametrize(("mode", "count"), [("off", 3), ("semi-honest", 4)])
def test_a_repeated_round_with_another_sum_costs_again(
    small_run: Make, monkeypatch: pytest.MonkeyPatch, mode: str, count: int
) -> None:
    """In the clear the repeated sum is the same; in the ring roundings make it another."""
    keys = {
        **SECRET,
        "server__min_clients": 1,
        "privacy__mechanism": "central",
        "privacy__noise_multiplier": 4.0,
        "secure__mode": mode,
        "train__rounds": 3,
    }
    config = small_run(**keys)
    load_app(app_dir())  # another test may have loaded another copy of the apps
    strategy = sys.modules["server.strategy"].FedRecStrategy
    validate = strategy._validate

    def crash(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(strategy, "_validate", crash)
    with pytest.raises(KeyboardInterrupt):
        execute(config)
    before = state(config)
    assert before["ledger"][0]["count"] == 1  # round 2 began; it is counted when repeated
    assert len(bytes.fromhex(before["released"])) == 32
    monkeypatch.setattr(strategy, "_validate", validate)
    execute(config)
    assert state(config)["ledger"][0]["count"] == count
    assert "released" not in state(config)
    assert done(config)["privacy"]["rounds"] == count
