"""Comparisons, end to end, on a marketplace that takes a second to learn."""

import json
import sys
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from fedrec import compare, load_result
from fedrec.config import Config, from_flat, load_config
from fedrec.errors import CheckpointError, ConfigError, ModelError, OutputError
from fedrec.output import is_comparison
from tests.interruption import cut_after

SMALL = {
    "run.name": "small",
    "data.name": "marketplace",
    "data.users": 60,
    "data.items": 50,
    "data.merchants": 2,
    "data.events_per_user": 12.0,
    "model.dim": 4,
    "train.rounds": 3,
    "train.personal_lr": 0.3,
    "central.epochs": 2,
    "local.epochs": 2,
    "local.every": 1,
    "evaluate.every": 2,
    "evaluate.k": "5 10",
    "evaluate.sampled": 20,
    "evaluate.bootstrap": 50,
    "compare.seeds": "0 1",
    "compare.systems": "federated centralised local-only popularity ease",
}
NAMES = ["federated-mf", "centralised-mf", "local-only-mf", "popularity", "ease"]
EXPLICIT = {
    "data.name": "file",
    "data.feedback": "explicit",
    "data.rating_column": "rating",
    "data.time_column": "time",
    "model.loss": "squared",
}


def small(**overrides: str | int | float | bool) -> Config:
    return from_flat({**SMALL, **{k.replace("__", "."): v for k, v in overrides.items()}})


def metrics_of(result):
    return {(s.name, s.seed): s.flat_metrics() for s in result.systems}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    events = []
    done = compare(small(), out=tmp_path_factory.mktemp("runs") / "whole", on_event=events.append)
    return SimpleNamespace(result=done.result, directory=done.directory, events=events)


def test_every_system_with_every_seed(made):
    seeds = [(s.name, s.seed) for s in made.result.systems]
    assert seeds == [(n, s) for n in NAMES for s in ((0, 1) if "-" in n else (0,))]
    kinds = {s.name: s.kind for s in made.result.systems}
    assert kinds["federated-mf"] == "federated"
    assert kinds["local-only-mf"] == "local-only"
    assert kinds["ease"] == "baseline"
    values = metrics_of(made.result)
    assert values["federated-mf", 0] != values["federated-mf", 1]


def test_result_json_keeps_the_contract(made):
    data = json.loads((made.directory / "result.json").read_text())
    kinds = {
        "schema": int, "name": str, "fedrec": str, "config_hash": str, "data": dict,
        "systems": list, "comparisons": list, "leak_guard": dict, "machine": dict,
        "command": str, "created": str, "account": list, "notes": list, "config": dict,
    }  # fmt: skip
    assert {key: type(data[key]) for key in kinds} == kinds
    kinds = {"name": str, "users": int, "items": int, "interactions": int, "clients": int,
             "split_hash": str, "protocol": str, "negatives": str, "selected_by": str}  # fmt: skip
    assert {key: type(data["data"][key]) for key in kinds} == kinds
    assert data["data"]["selected_by"] == "full.ndcg@10"
    for system in data["systems"]:
        assert isinstance(system["name"], str)
        assert system["kind"] in ("federated", "centralised", "local-only", "baseline")
        assert isinstance(system["seed"], int)
        trained = system["kind"] != "baseline"
        assert isinstance(system["selected_round"], int if trained else type(None))
        for part in ("test", "valid"):
            for protocol in ("full", "sampled20"):
                values = system["metrics"][part][protocol]
                assert all(0 <= values[m] <= 1 for m in ("hr@10", "ndcg@10", "recall@5", "map@5"))
        low, high = system["ci95"]["test.full.hr@10"]
        assert low <= system["metrics"]["test"]["full"]["hr@10"] <= high
        assert "beyond" in system["metrics"]["test"]
        privacy = system["privacy"]
        assert set(privacy) == {"statement", "unit", "epsilon", "delta", "secure_aggregation"}
        assert privacy["epsilon"] is None
        cost = system["cost"]
        assert {"round_s_median", "clients_per_s", "bytes_up_per_client",
                "bytes_down_per_client", "peak_rss_mib"} <= set(cost)  # fmt: skip
        if system["kind"] == "federated":
            assert all(cost[key] > 0 for key in cost)
        assert (made.directory / system["bootstrap"]).is_file()
        assert (system["history"] is None) == (not trained)


def test_the_file_and_the_returned_result_agree(made):
    read = load_result(made.directory)
    assert metrics_of(read) == metrics_of(made.result)
    assert set(read.frame()["system"]) == set(NAMES)
    row = read.summary().query("system == 'federated-mf' and metric == 'test.full.hr@10'")
    assert row["seeds"].item() == 2


def test_the_command_reproduces_the_result_elsewhere(made):
    assert made.result.command.startswith("fedrec compare config.toml")
    assert str(made.directory) not in json.dumps(made.result.to_json())
    saved = load_config(made.directory / "config.toml")
    assert saved.config_hash() == made.result.config_hash
    assert saved.run.out == ""


def test_systems_are_compared_in_pairs(made):
    first = {c.metric for c in made.result.comparisons}
    assert first == {"test.full.hr@10", "test.full.ndcg@10"}
    assert [c.b for c in made.result.comparisons if c.metric == "test.full.hr@10"] == NAMES[1:]
    means = {
        n: np.mean(
            [m["test.full.hr@10"] for (s, _), m in metrics_of(made.result).items() if s == n]
        )
        for n in NAMES
    }
    for pair in made.result.comparisons:
        assert pair.a == "federated-mf"
        assert pair.low <= pair.high
        assert 0 < pair.p_adjusted <= 1
        if pair.metric == "test.full.hr@10":
            assert pair.difference == pytest.approx(means[pair.a] - means[pair.b])


def test_the_leak_guard_passes(made):
    verdict = made.result.leak_guard
    assert verdict["passed"]
    assert abs(verdict["standard_errors"]) <= 3
    assert "held-out items did not reach training" in verdict["statement"]


def test_events_name_a_system_in_one_way_and_count_its_rounds(made):
    starts = [e for e in made.events if e["event"] == "system-start"]
    ends = [e for e in made.events if e["event"] == "system-done"]
    assert [(e["system"], e["seed"]) for e in starts] == [(e["system"], e["seed"]) for e in ends]
    assert {e["system"]: e["rounds"] for e in starts} == {
        "federated-mf": 3, "centralised-mf": 2, "local-only-mf": 2, "popularity": 0, "ease": 0
    }  # fmt: skip
    current = None
    last = {}
    for event in made.events:
        current = event.get("system", current)
        if event["event"] == "round":
            last[current] = event["round"]
    assert last == {"federated-mf": 3, "centralised-mf": 2, "local-only-mf": 2}
    assert all(e["metrics"]["test.full.hr@10"] >= 0 for e in ends)


def test_an_interrupted_comparison_goes_on_where_it_was(made, tmp_path, monkeypatch):
    module = sys.modules["fedrec.compare"]
    real = module.train_system

    def interrupted(name, config, *rest):
        if name == "local-only":
            raise KeyboardInterrupt
        real(name, config, *rest)

    monkeypatch.setattr(module, "train_system", interrupted)
    directory = tmp_path / "cut"
    with pytest.raises(KeyboardInterrupt):
        compare(small(), out=directory)
    assert is_comparison(directory)
    assert not (directory / "result.json").exists()
    kept = {p: p.stat().st_mtime_ns for p in directory.glob("systems/*/system.json")}
    assert len(kept) == 4

    with pytest.raises(OutputError, match="Continue it with: fedrec compare --resume"):
        compare(small(), out=directory)
    with pytest.raises(CheckpointError, match="cannot resume .* with another configuration"):
        compare(small(train__rounds=4), resume=directory)
    with pytest.raises(ConfigError, match="the systems that it was started with"):
        compare(resume=directory, systems=["ease"])

    monkeypatch.setattr(module, "train_system", real)
    events = []
    done = compare(resume=directory, on_event=events.append)
    assert metrics_of(done.result) == metrics_of(made.result)
    assert done.result.config_hash == made.result.config_hash
    assert {p: p.stat().st_mtime_ns for p in kept} == kept
    assert sum("kept, it was finished" in e.get("text", "") for e in events) == 4
    assert load_result(directory).leak_guard["passed"]


def test_a_killed_federated_system_goes_on_from_its_checkpoint(made, tmp_path, monkeypatch):
    cut_after(monkeypatch, 2)
    with pytest.raises(KeyboardInterrupt):
        compare(small(), out=tmp_path / "killed")
    monkeypatch.undo()
    place = tmp_path / "killed" / "systems" / "federated-seed0"
    assert (place / "checkpoint").is_dir()
    assert not (place / "system.json").exists()
    done = compare(resume=tmp_path / "killed")
    assert metrics_of(done.result) == metrics_of(made.result)


def test_overwriting_deletes_what_a_comparison_wrote_and_nothing_else(tmp_path):
    quick = small(compare__systems="popularity ease", compare__leak_guard=False)
    directory = compare(quick, out=tmp_path / "a").directory
    for mine in ("clients/app.py", "model/notes.txt"):
        (directory / mine).parent.mkdir(exist_ok=True)
        (directory / mine).write_text("mine")
    with pytest.raises(OutputError, match="already holds a run"):
        compare(quick, out=directory)
    assert (directory / "systems" / "ease-seed0" / "system.json").exists()
    again = quick.with_({"compare.systems": "popularity"})
    done = compare(again, out=directory, overwrite=True)
    assert [s.name for s in done.result.systems] == ["popularity"]
    assert not (directory / "systems" / "ease-seed0").exists()
    assert (directory / "clients" / "app.py").read_text() == "mine"
    assert (directory / "model" / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("systems", "message"),
    [
        (["federated", "popularty"], r"unknown system 'popularty'. Did you mean 'popularity'\?"),
        (["federated-mf"], r"unknown system 'federated-mf'. Did you mean 'federated'\?"),
        (["bias"], r"'bias' is for ratings only; with data.feedback = 'implicit' choose from"),
        ([], r"compare.systems is empty; choose from: federated, centralised, local-only"),
    ],
)
def test_unknown_systems_are_refused_before_anything_is_written(tmp_path, systems, message):
    with pytest.raises(ConfigError, match=message):
        compare(small(), systems=systems, out=tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_after_an_error_nothing_is_half_written(tmp_path):
    from fedrec.errors import DataError

    with pytest.raises(DataError, match="unknown data set 'marketplaces'"):
        compare(small(data__name="marketplaces"), out=tmp_path / "x")
    assert not (tmp_path / "x").exists()
    diverging = small(
        central__lr=1e30, central__optimizer="sgd", compare__systems="popularity centralised ease"
    )
    with pytest.raises(ModelError):
        compare(diverging, out=tmp_path / "y")
    files = {p.relative_to(tmp_path / "y").as_posix() for p in (tmp_path / "y").rglob("*")}
    assert files == {
        "config.toml", "systems", "systems/popularity-seed0", "systems/centralised-seed0",
        "systems/popularity-seed0/system.json", "systems/popularity-seed0/test_sums.npz",
    }  # fmt: skip


def test_a_system_named_twice_is_trained_once(tmp_path):
    config = small(compare__systems="popularity, popularity", compare__seeds="0 0")
    config = config.with_({"compare.leak_guard": False})
    result = compare(config, out=tmp_path / "once").result
    assert len(result.systems) == 1
    assert result.comparisons == ()
    assert result.leak_guard is None


@pytest.mark.parametrize("unit", ["merchant", "dirichlet"])
def test_clients_with_many_users(tmp_path, unit):
    config = small(clients__unit=unit, clients__num=4, compare__seeds="0", evaluate__sampled=0)
    result = compare(config, out=tmp_path / unit).result
    assert [s.name for s in result.systems] == NAMES
    assert result.data["clients"] == {"merchant": 2, "dirichlet": 4}[unit]
    assert result.data["users"] == 60
    assert result.leak_guard["passed"]
    federated = result.systems[0]
    assert federated.privacy["unit"] == "client"
    assert federated.cost["bytes_up_per_client"] > 0


def test_fcf_is_named_after_its_method(tmp_path):
    config = small(
        train__method="fcf", model__loss="squared", compare__systems="federated ials",
        compare__seeds="0", compare__leak_guard=False,
    )  # fmt: skip
    events = []
    result = compare(config, out=tmp_path / "fcf", on_event=events.append).result
    assert [s.name for s in result.systems] == ["federated-fcf", "ials"]
    named = [e["system"] for e in events if "system" in e]
    assert named == ["federated-fcf", "federated-fcf", "ials", "ials"]


def ratings_file(path: Path) -> Path:
    """Ratings with a taste: even users like even items."""
    draw = np.random.default_rng(0)
    lines = ["user,item,rating,time"]
    for user in range(40):
        for place, item in enumerate(draw.permutation(30)[:14]):
            liked = user % 2 == item % 2
            rating = int(draw.integers(4, 6) if liked else draw.integers(1, 3))
            lines.append(f"u{user},i{item},{rating},{1000 + place}")
    path.write_text("\n".join(lines))
    return path


def test_ratings_from_end_to_end(tmp_path):
    config = from_flat({
        **SMALL, **EXPLICIT, "data.path": str(ratings_file(tmp_path / "ratings.csv")),
        "train.rounds": 6, "train.personal_lr": 0.1, "compare.seeds": "0",
        "compare.systems": "federated centralised local-only bias item-knn user-knn-pearson",
    })  # fmt: skip
    events = []
    result = compare(config, out=tmp_path / "ratings", on_event=events.append).result
    rmse = {s.name: s.flat_metrics()["test.rating.rmse"] for s in result.systems}
    assert list(rmse) == ["federated-mf", "centralised-mf", "local-only-mf", "bias", "item-knn",
                          "user-knn-pearson"]  # fmt: skip
    assert all(0 < value < 2.5 for value in rmse.values())
    assert rmse["user-knn-pearson"] < rmse["bias"] - 0.3
    assert {c.metric for c in result.comparisons} == {"test.rating.rmse", "test.rating.mae"}
    assert result.leak_guard is None
    assert any("ratings are trained without negatives" in e.get("text", "") for e in events)
    assert result.data["selected_by"] == "rating.rmse"
    for system in result.systems:
        if system.kind == "federated":
            lines = [json.loads(line) for line in
                     (tmp_path / "ratings" / system.history).read_text().splitlines()]  # fmt: skip
            validated = {x["round"]: x["valid"]["rating.rmse"] for x in lines if x["valid"]}
            assert system.selected_round == min(validated, key=validated.__getitem__)
            assert all(a < b for a, b in pairwise(validated))


def test_ranking_baselines_are_refused_for_ratings(tmp_path):
    config = from_flat({**SMALL, **EXPLICIT, "data.path": "ratings.csv"})
    with pytest.raises(ConfigError, match="'ease' predicts no ratings; with data.feedback"):
        compare(config, systems=["federated", "ease"], out=tmp_path / "x")


def test_a_leaky_protocol_is_named_and_caught(tmp_path):
    config = small(train__negatives_from="legacy-leaky", data__users=120, compare__seeds="0")
    result = compare(config, systems=["federated", "popularity"], out=tmp_path / "leaky").result
    assert [s.name for s in result.systems] == ["federated-mf-legacy-leaky", "popularity"]
    assert result.data["negatives"] == "legacy-leaky"
    assert not result.leak_guard["passed"]
    assert "worthless" in result.leak_guard["statement"]


@pytest.mark.parametrize(("intervals", "unpaired"), [("moments", True), ("bootstrap", False)])
def test_a_secure_comparison_says_what_is_not_paired(tmp_path, intervals, unpaired):
    secure = {
        "secure.mode": "semi-honest",
        "secure.intervals": intervals,
        "compare.systems": "federated popularity",
        "compare.seeds": "0",
        "compare.leak_guard": False,
    }
    done = compare(from_flat({**SMALL, **secure}), out=tmp_path / "run")
    assert any("not paired over users" in note for note in done.result.notes) == unpaired
    assert done.result.comparisons
