"""`coldstart.users` in a run: refused early, measured after training, shown to the reader."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

import fedrec
from fedrec.coldstart.after import check_users, tell_users
from fedrec.config import Config, from_flat
from fedrec.engine.deployed import as_deployed
from fedrec.errors import ConfigError, DataError
from fedrec.report.html import write_report
from fedrec.report.tables import print_result
from fedrec.results import load_result
from fedrec.training.node import prepare

KEYS = {
    "run.name": "cold",
    "data.name": "marketplace",
    "data.users": 80,
    "data.items": 40,
    "data.merchants": 2,
    "split.protocol": "cold-users",
    "split.fraction": 0.2,
    "model.dim": 4,
    "model.loss": "squared",
    "train.method": "ials",
    "train.rounds": 1,
    "coldstart.users": "popularity ease prototypes mixture",
    "coldstart.k": "0 2",
    "coldstart.test_items": 2,
    "coldstart.prototypes": 3,
    "coldstart.prototype_rounds": 2,
    "coldstart.prototype_users": 3,
    "evaluate.k": "5 10",
    "evaluate.bootstrap": 50,
    "evaluate.sampled": 0,
    "compare.systems": "federated popularity",
    "compare.seeds": "0",
}


def config(**keys) -> Config:
    return from_flat({**KEYS, **{k.replace("__", "."): v for k, v in keys.items()}})


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fedrec.run(config(), out=tmp_path_factory.mktemp("run") / "cold").directory


def test_a_run_tells_its_curves(directory):
    (system,) = load_result(directory).systems
    told = system.cold_start
    assert list(told["curves"]) == ["popularity", "ease", "prototypes", "mixture"]
    assert told["k"] == ["0", "2", "whole"]
    assert told["strangers"] == 16
    for curve in told["curves"].values():
        for k in told["k"]:
            mean, low, high = curve[k]["ndcg@10"]
            assert low <= mean <= high
    assert told["curves"]["ease"]["0"] == told["curves"]["popularity"]["0"]
    for strategy in told["strategies"].values():
        assert strategy["privacy"]
        assert strategy["bytes_down"] > 0
    assert all(sum(own.values()) == pytest.approx(1, abs=0.01) for own in told["mixture"].values())


def test_the_reader_sees_them(directory):
    page = write_report([directory], directory / "report.html").read_text()
    assert "Users whom no training has seen" in page
    assert "Weights of the mixture by k" in page
    assert "Accuracy for strangers by revealed interactions" in page  # the figure
    text = io.StringIO()
    print_result(load_result(directory), Console(file=text, width=140))
    shown = text.getvalue()
    assert "16 users whom no training has seen" in shown
    assert "prototypes" in shown
    assert "whole history" in shown


def test_what_stands_there_is_not_measured_again(directory):
    file = directory / "system.json"
    before = file.read_bytes()
    tell_users(config(), directory)
    assert file.read_bytes() == before


def test_a_comparison_tells_them_of_its_federated_system(tmp_path):
    done = fedrec.compare(config(coldstart__users="popularity ease"), out=tmp_path / "both")
    told = {s.kind: s.cold_start for s in done.result.systems}
    assert list(told["federated"]["curves"]) == ["popularity", "ease"]
    assert told["federated"]["mixture"] == {}
    assert not told["baseline"]
    assert "cold_start" in json.loads((tmp_path / "both" / "result.json").read_text())["systems"][0]


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"coldstart__users": "popularty"}, "unknown strategy 'popularty'. Did you mean 'popularity'"),
        ({"coldstart__users": "mixture"}, "a mixture is of the strategies beside it"),
        ({"split__protocol": "leave-last-out"}, "set split.protocol = 'cold-users'"),
        ({"coldstart__users": "reptile"}, "train.method = 'reptile' has learnt to"),
        ({"coldstart__users": "sequence"}, "needs a sequence model"),
        ({"coldstart__users": "near-ease"}, "set them, for example to 20 and 10"),
        ({"clients__unit": "merchant", "train__method": "fedavg", "model__loss": "logistic"},
         "set clients.unit = 'user'"),
        ({"privacy__mechanism": "central", "privacy__clip": 1.0, "privacy__noise_multiplier": 1.0,
          "train__method": "alternating", "model__loss": "logistic"},
         "which the epsilon of privacy.mechanism = 'central' does not cover"),
    ],
)  # fmt: skip
def test_refused_before_any_data_are_read(keys, told):
    with pytest.raises(ConfigError, match=told):
        config(**keys)


@pytest.mark.parametrize(
    ("keys", "kind", "told"),
    [
        ({"coldstart__test_items": 500}, DataError, "lower coldstart.test_items"),
        ({"coldstart__prototype_users": 40}, ConfigError, "fewer than 40 a round"),
        (
            {"train__method": "ease", "model__name": "item-item", "model__loss": "logistic"},
            ConfigError,
            "has no personal parameters",
        ),
        (
            {"coldstart__users": "segment-popularity", "coldstart__attributes": "ages"},
            ConfigError,
            "users have no attribute 'ages'",
        ),
    ],
)
def test_refused_before_training(keys, kind, told):
    with pytest.raises(kind, match=told):
        check_users(prepare(config(**keys)))


def test_a_deployment_has_no_strangers(tmp_path):
    with pytest.raises(ConfigError, match="measured where all data lie"):
        as_deployed(config(), tmp_path)
