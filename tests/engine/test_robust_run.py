"""Attacked and defended runs, end to end: every engine, any number of nodes."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

from fedrec.config import from_flat
from fedrec.engine.run_engine import execute
from fedrec.errors import ConfigError, FedrecError
from fedrec.run import run
from fedrec.storage import RunDirectory
from tests.engine.test_engines import TOLERANCE, change, relative_difference

SUMS = {"server__rows": "sum", "server__table_lr": 0.2}
ATTACK = {"robust__attack": "promote", "robust__malicious": 0.1, "robust__boost": 2.0}
SINGLE = ("median", "trimmed-mean", "krum", "multi-krum", "bulyan")


def moved(config, engine="in-process"):
    execute(config, engine=engine)
    return change(config)


def lines(config):
    text = RunDirectory(Path(config.run.out)).rounds.read_text()
    return [json.loads(line) for line in text.splitlines()]


def system(config):
    return json.loads(RunDirectory(Path(config.run.out)).system.read_text())


@pytest.mark.parametrize("defence", ["median", "bulyan"])
def test_nodes_do_not_matter_to_a_defence(small_run, defence):
    keys = {**SUMS, **ATTACK, "robust__defence": defence}
    one, two = small_run("one", **keys), small_run("two", engine__nodes=2, **keys)
    first = moved(one)
    assert max(np.abs(value).max() for value in first.values()) > 1e-3
    assert relative_difference(moved(two), first) <= TOLERANCE
    for ours, theirs in zip(lines(two), lines(one), strict=True):
        assert ours["clients"] == theirs["clients"]
        assert ours["bytes_up"] == theirs["bytes_up"] > 0
        assert ours["robust"] == {"not_finite": 0}
        assert ours["loss"] == pytest.approx(theirs["loss"])


@pytest.mark.parametrize("attack", ["random", "promote", "replace", "noise", "stale"])
def test_nodes_do_not_matter_to_an_attack(small_run, attack):
    keys = {**SUMS, **ATTACK, "robust__attack": attack}
    first = moved(small_run("one", **keys))
    assert relative_difference(moved(small_run("many", engine__nodes=7, **keys)), first) < 1e-5
    calm = moved(small_run("calm", **SUMS))
    assert relative_difference(first, calm) > 0.01


@pytest.mark.parametrize("model", ["mf", "ncf"])
@pytest.mark.parametrize("defence", SINGLE)
def test_every_rule_runs(small_run, defence, model):
    keys = {"model__name": model, "model__mlp": "8 4", "train__lr": 0.1, "train__rounds": 1}
    config = small_run(**SUMS, **ATTACK, **keys, robust__defence=defence)
    assert max(np.abs(value).max() for value in moved(config).values()) > 1e-5
    assert lines(config)[0]["skipped"] is None


def test_merchants_can_defend_too(small_run):
    keys = {"clients__unit": "merchant", "data__merchants": 6, "train__rounds": 1}
    config = small_run(**SUMS, **keys, robust__defence="median")
    assert max(np.abs(value).max() for value in moved(config).values()) > 1e-5


def test_single_updates_sum_to_what_sums_are(small_run):
    """A trimmed mean that trims nothing, over rows that all touch, is the mean."""
    keys = {"train__method": "fcf", "model__loss": "squared", "train__lr": 0.01,
            "train__negatives": 0, "server__rows": "mean"}  # fmt: skip
    plain = small_run("plain", **keys)
    same = small_run("same", robust__defence="trimmed-mean", robust__trim=0.0, **keys)
    assert relative_difference(moved(same), moved(plain)) <= TOLERANCE
    for ours, theirs in zip(lines(same), lines(plain), strict=True):
        assert ours["bytes_up"] == theirs["bytes_up"]
        assert ours["loss"] == pytest.approx(theirs["loss"])


def test_a_bound_works_with_secure_sums(small_run):
    keys = {**SUMS, **ATTACK, "robust__attack": "replace", "robust__defence": "norm-bound",
            "robust__norm": 0.5, "train__rounds": 1, "evaluate__sampled": 0,
            "evaluate__bootstrap": 0}  # fmt: skip
    plain = moved(small_run("plain", **keys))
    secure = moved(small_run("secure", secure__mode="semi-honest", **keys))
    assert relative_difference(secure, plain) < 0.01  # up to quantisation
    told = [system(small_run(name))["metrics"]["test"] for name in ("plain", "secure")]
    assert set(told[1]["robust"]) == {"exposure@10"}
    assert told[1]["honest"]["ndcg@10"] == pytest.approx(told[0]["honest"]["ndcg@10"], abs=0.02)
    unbounded = moved(small_run("open", **{**keys, "robust__defence": "off"}))
    assert relative_difference(unbounded, plain) > 0.5


def test_by_chance_too_few_clients_skip_a_round(small_run):
    keys = {"clients__sampling": "poisson", "clients__per_round": 8, "robust__malicious": 0.2,
            "train__rounds": 12, "evaluate__every": 12}  # fmt: skip
    config = small_run(**SUMS, **keys, robust__defence="krum")
    execute(config)
    told = [line["skipped"] for line in lines(config)]
    assert any(reason and "'krum' needs at least" in reason for reason in told)
    assert any(reason is None for reason in told)


def test_the_result_shows_attack_defence_and_what_came_of_it(small_run, tmp_path):
    config = small_run(**SUMS, **ATTACK, robust__defence="row-clip", robust__norm=0.1)
    done = run(config, out=tmp_path / "out")
    (system,) = done.result.systems
    assert system.robust["attack"] == "promote"
    assert system.robust["defence"] == "row-clip"
    assert system.robust["malicious"] == 5
    assert system.robust["target"]["item"] >= 0
    found = system.metrics["test"]
    assert 0 <= found["robust"]["exposure@10"] <= 1
    assert 0 <= found["honest"]["ndcg@10"] <= 1
    assert "test.robust.exposure@10" in system.ci95
    saved = json.loads((tmp_path / "out" / "result.json").read_text())
    assert saved["systems"][0]["robust"]["statement"] == system.robust["statement"]
    plain = run(small_run(**SUMS), out=tmp_path / "plain").result.systems[0]
    assert plain.robust == {}
    assert "robust" not in plain.metrics["test"]


def test_refused_before_anything_is_written(small_run, tmp_path):
    config = small_run(**SUMS, robust__defence="bulyan", robust__malicious=0.4)
    with pytest.raises(ConfigError, match="'bulyan' needs at least 83 clients a round"):
        run(config, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()
    with pytest.raises(FedrecError, match="'bulyan' needs at least 83"):  # as by `flwr run`
        execute(from_flat({**config.flat(), "run.out": str(tmp_path / "server")}))


ENGINES = [
    pytest.param("ray", marks=pytest.mark.skipif(
        importlib.util.find_spec("ray") is None, reason="ray is not installed")),
    "superlink",
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES)
def test_engines_do_not_matter(small_run, engine):
    keys = {**SUMS, **ATTACK, "robust__defence": "median", "engine__nodes": 2}
    first = moved(small_run("here", **keys))
    assert relative_difference(moved(small_run(engine, **keys), engine), first) <= TOLERANCE
