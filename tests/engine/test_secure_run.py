"""Runs with secure aggregation: the plain result, losses at every stage, skipped rounds."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fedrec.config import Config
from fedrec.engine.run_engine import execute
from fedrec.errors import ConfigError
from fedrec.storage import RunDirectory, read_arrays
from fedrec.training.node import init_shared, prepare
from fedrec.training.secure_update import make_layout
from fedrec.wire import flatten_shared
from tests.engine.test_resume import run_until_killed

Make = Callable[..., Config]
Keys = dict[str, Any]

PLAIN: Keys = {
    "server__rows": "mean",
    "server__weight_optimizer": "sgd",
    "server__weight_lr": 1.0,
    "train__lr": 0.1,
    "train__personal_lr": 0.1,
    "train__rounds": 1,
    "evaluate__every": 1,
    "evaluate__sampled": 0,
    "evaluate__bootstrap": 0,
}
SECURE: Keys = {**PLAIN, "secure__mode": "semi-honest"}


def run(config: Config, engine: str = "in-process") -> dict[str, NDArray]:
    execute(config, engine=engine)
    arrays, _ = read_arrays(RunDirectory(Path(config.run.out)).checkpoint)
    names = flatten_shared(init_shared(prepare(config)))
    return {name: arrays[f"shared/{name}"].astype(np.float64) for name in names}


def lines(config: Config) -> list[Keys]:
    text = RunDirectory(Path(config.run.out)).rounds.read_text()
    return [json.loads(line) for line in text.splitlines()]


def system(config: Config) -> Keys:
    return json.loads(RunDirectory(Path(config.run.out)).system.read_text())


def within_bound(config: Config, secure: dict[str, NDArray], plain: dict[str, NDArray]) -> bool:
    """One step of plain SGD: the mean differs by less than one step of the grid."""
    layout = make_layout(config, init_shared(prepare(config)))
    steps = {"table": layout.scheme.step, "weight": layout.weight_scheme.step}
    float32 = 1e-6
    return all(np.abs(secure[n] - plain[n]).max() < steps[n.split(".")[0]] + float32 for n in plain)


@pytest.mark.parametrize(
    "keys",
    [
        {},
        {"model__name": "ncf", "model__mlp": "8 4"},
        {"server__weighting": "samples"},
        {"engine__nodes": 7},
        {"clients__sampling": "fixed", "clients__per_round": 20},
        {"secure__mode": "malicious-server"},
        {"clients__unit": "merchant", "data__merchants": 4},
        {"train__method": "pfedrec", "model__name": "head", "evaluate__table": "personalised"},
        {"train__method": "fedrap", "model__name": "additive", "train__ramp": 0.0},
        {"train__method": "fedrecon"},
        {"train__method": "reptile"},
        {"train__method": "fomaml"},
    ],
    ids=[
        "mf",
        "ncf",
        "weights",
        "seven nodes",
        "sampled",
        "malicious",
        "merchants",
        "pfedrec",
        "fedrap",
        "fedrecon",
        "reptile",
        "fomaml",
    ],
)
def test_the_plain_result(small_run: Make, keys: Keys) -> None:
    config = small_run("secure", **{**SECURE, **keys})
    secure = run(config)
    plain_keys = {n: v for n, v in keys.items() if not n.startswith("secure__")}
    plain = small_run("plain", **{**PLAIN, **plain_keys})
    assert within_bound(config, secure, run(plain))
    (line,), (other,) = lines(config), lines(plain)
    assert line["clients"] == other["clients"]
    assert line["loss"] == pytest.approx(other["loss"], abs=1e-4)
    assert line["secure"]["clipped"] == 0


def test_the_learning_goes_on_from_round_to_round(small_run: Make) -> None:
    keys = {"train__rounds": 3, "server__rows": "sum", "engine__nodes": 2}
    secure = run(small_run("secure", **{**SECURE, **keys}))
    plain = run(small_run("plain", **{**PLAIN, **keys}))
    assert np.abs(secure["table.item"] - plain["table.item"]).max() < 1e-3


@pytest.mark.parametrize("deliveries", [6, 9, 17])
def test_a_run_killed_in_the_middle_of_a_session_goes_on(small_run: Make, deliveries: int) -> None:
    keys = {"train__rounds": 2, "evaluate__every": 2, "engine__nodes": 2}
    config = small_run("killed", **{**SECURE, **keys})
    assert run_until_killed(config, deliveries, after=True)
    secure = run(config)
    plain = run(small_run("plain", **{**PLAIN, **keys}))
    assert np.abs(secure["table.item"] - plain["table.item"]).max() < 1e-4
    assert [line["round"] for line in lines(config)] == [1, 2]


@pytest.mark.parametrize("stage", ["advertise", "share", "mask", "consistency", "unmask"])
def test_clients_lost_at_a_stage_cost_only_themselves(small_run: Make, stage: str) -> None:
    keys = {"clients__dropout": 0.15, "secure__mode": "malicious-server"}
    config = small_run("secure", **{**SECURE, **keys, "secure__drop_stage": stage})
    secure = run(config)
    without = stage in ("advertise", "share", "mask")
    plain = small_run("plain", **{**PLAIN, "clients__dropout": 0.15 if without else 0.0})
    assert within_bound(config, secure, run(plain))
    (line,), (other,) = lines(config), lines(plain)
    assert line["clients"] == other["clients"]
    assert line["skipped"] is None
    assert line["secure"]["lost"][stage] > 0


def test_a_round_with_too_few_clients_is_skipped_and_recorded(small_run: Make) -> None:
    keys = {"clients__dropout": 0.9, "secure__drop_stage": "mask", "engine__nodes": 3}
    config = small_run("secure", **{**SECURE, **keys})
    before = flatten_shared(init_shared(prepare(config)))
    after = run(config)
    assert all(np.array_equal(after[n], before[n]) for n in before)
    (line,) = lines(config)
    assert "skipped after the stage 'mask'" in line["skipped"]
    assert line["secure"]["skipped"] == line["skipped"]
    assert (line["clients"], line["dropped"], line["loss"]) == (0, 50, None)


def test_rare_rows_stay_out_of_the_sum(small_run: Make) -> None:
    keys = {"secure__rows": "threshold", "clients__sampling": "fixed", "clients__per_round": 6}
    config = small_run("some", **{**SECURE, **keys, "secure__tau": 3})
    some = run(config)["table.item"]
    every = small_run("all", **{**SECURE, "clients__sampling": "fixed", "clients__per_round": 6})
    dense = run(every)["table.item"]
    before = init_shared(prepare(config)).tables["item"]
    moved, could = (some != before).any(axis=1), (dense != before).any(axis=1)
    assert 0 < moved.sum() < could.sum()
    assert not (moved & ~could).any()
    assert np.abs(some - dense)[moved].max() < 1e-5
    shown, exposed = (system(c)["privacy"]["exposure"] for c in (config, every))
    assert shown["rows"] == shown["exposed_clients"] == shown["interactions"] == 0
    assert exposed["rows"] > 0
    assert "how many clients touched each row" in system(config)["privacy"]["statement"]


def test_the_result_says_what_is_hidden_and_what_is_not(small_run: Make) -> None:
    config = small_run(**{**SECURE, "engine__nodes": 5})
    run(config)
    privacy = system(config)["privacy"]
    assert privacy["secure_aggregation"] == "semi-honest, dense"
    assert "a row that one client alone touched" in privacy["statement"]
    assert "sums over all evaluated clients" in privacy["statement"]
    assert privacy["test_evaluation"]["clients"] == 50
    assert "in clear" not in privacy["statement"]
    assert privacy["exposure"]["clients"] == 50


def test_bytes_are_those_of_the_messages(small_run: Make) -> None:
    config = small_run(**{**SECURE, "engine__nodes": 2})
    run(config)
    (line,) = lines(config)
    masked = 60 * 4 * 26 // 8 + 4 * 38 // 8  # 50 * (2**20 - 1) < 2**26, 50 * (2**32 - 1) < 2**38
    per_client = line["bytes_up"] / 50
    shares = per_client - (64 + masked + 32)  # frame, vectors, tag
    assert 0 < shares < 4096
    assert line["bytes_down"] / 50 > 60 * 4 * 4


def test_noise_of_the_server_goes_with_it(small_run: Make) -> None:
    pytest.importorskip("dp_accounting")
    keys = {
        "privacy__mechanism": "central",
        "privacy__clip": 0.5,
        "privacy__noise_multiplier": 1.0,
        "privacy__draws": "seeded",
    }
    secure = run(small_run("secure", **{**SECURE, **keys}))
    plain = run(small_run("plain", **{**PLAIN, **keys}))
    assert np.abs(secure["table.item"] - plain["table.item"]).max() < 1e-3
    statement = system(small_run("secure", **{**SECURE, **keys}))["privacy"]["statement"]
    assert "which sees the sum of a round" in statement
    assert "Secure aggregation" in statement


@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs the extra ray")
def test_ray(small_run: Make) -> None:
    config = small_run("secure", **{**SECURE, "engine__nodes": 2})
    assert within_bound(config, run(config, "ray"), run(small_run("plain", **PLAIN)))


@pytest.mark.slow
def test_superlink(small_run: Make) -> None:
    config = small_run("secure", **{**SECURE, "engine__nodes": 2})
    assert within_bound(config, run(config, "superlink"), run(small_run("plain", **PLAIN)))


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"server__rows": "touching"}, "needs server.rows = 'sum' or 'mean'"),
        ({"clients__sampling": "fixed", "clients__per_round": 2}, "3 clients a round or more"),
        ({"secure__neighbours": 10, "secure__threshold": 11}, "is above secure.neighbours"),
        (
            {"privacy__mechanism": "local", "privacy__clip": 1.0},
            "privacy.mechanism = 'local' is not offered",
        ),
        ({"secure__rows": "threshold", "privacy__pseudo_items": 3}, "pseudo items falsify it"),
        (
            {"secure__rows": "threshold", "privacy__mechanism": "central", "privacy__clip": 1.0},
            "publishes counts without noise",
        ),
    ],
)
def test_refused_with_the_configuration(small_run: Make, keys: Keys, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        small_run(**{**SECURE, **keys})


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"clients__unit": "merchant", "data__merchants": 2}, "at least 3 clients, got 2"),
        ({"secure__threshold": 60}, "threshold"),
        (
            {"server__weighting": "samples", "secure__max_weight": 2**31, "secure__bits": 32},
            "does not",
        ),
    ],
)
def test_refused_before_anything_is_trained(small_run: Make, keys: Keys, message: str) -> None:
    config = small_run(**{**SECURE, **keys})
    with pytest.raises(ConfigError, match=message):
        execute(config, engine="in-process")
    assert not RunDirectory(Path(config.run.out)).checkpoint.exists()
