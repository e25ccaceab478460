"""Merchants compared, end to end, on a market that takes seconds to learn."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from fedrec import compare_merchants, load_result
from fedrec.errors import CheckpointError, ConfigError
from fedrec.merchants.outcome import load_outcome
from fedrec.merchants.ranked import field_of
from fedrec.output import compares_merchants, resume_command
from fedrec.training.node import prepare
from tests.merchants.markets import EASE, MF, market


def made_of(config, directory):
    done = compare_merchants(config, out=directory)
    told = done.result.extra["merchants"]
    return SimpleNamespace(result=done.result, directory=done.directory, told=told, config=config)


@pytest.fixture(scope="module")
def ease(tmp_path_factory):
    return made_of(market(EASE), tmp_path_factory.mktemp("ease") / "run")


@pytest.fixture(scope="module")
def mf(tmp_path_factory):
    return made_of(market(MF), tmp_path_factory.mktemp("mf") / "run")


@pytest.mark.parametrize("which", ["ease", "mf"])
def test_the_entry_has_what_a_decision_needs(which, request):
    made = request.getfixturevalue(which)
    data = json.loads((made.directory / "result.json").read_text())["merchants"]
    assert [m["name"] for m in data["merchants"]] == ["shop-1", "shop-2", "shop-3"]
    for one in (*data["merchants"], data["overall"]):
        for gain in one["gains"]:
            assert (gain["a"], gain["b"]) == ("personalised", "alone")
            assert gain["low"] <= gain["difference"] <= gain["high"]
            assert gain["difference"] == pytest.approx(gain["first"] - gain["second"])
            assert gain["p_value"] <= gain["p_adjusted"] <= 1
        assert {g["a"] for g in one["others"]} >= {"federated", "pooled"}
        assert set(one["groups"]) == {"new customers", "head items", "tail items"}
    assert data["overall"]["customers"] == sum(m["tested_customers"] for m in data["merchants"])
    assert data["cost"]["bytes_up_per_round"] > 0
    assert data["cost"]["hours"]["federated"] > 0
    assert data["contributions"] is None
    systems = {(s["name"], s["seed"]) for s in json.loads(
        (made.directory / "result.json").read_text())["systems"]}  # fmt: skip
    seeds = (0,) if which == "ease" else (0, 1)
    assert {(f"alone-{which}", s) for s in seeds} <= systems


def test_federated_ease_is_pooled_ease_where_ridges_agree(ease):
    field = field_of(prepare(ease.config))
    split = field.setup.population.split.split_hash
    place = ease.directory / "merchants"
    federated, pooled = (load_outcome(place / f"{n}-seed0", split) for n in ("federated", "pooled"))
    if pooled.labels[0] == "ridge 20":
        assert (federated.ranks == pooled.ranks).all()
    from fedrec.merchants.chosen import Candidate, choose
    from fedrec.merchants.solved import Way, _solved

    everyone = np.arange(field.setup.population.num_users)
    again = choose(field, [Candidate("", _solved(field.setup, everyone, Way(20.0, False)))], "each")
    assert (again.ranks == federated.ranks).all()


def test_the_federated_scorer_is_what_the_nodes_evaluate(mf):
    """Ranks of the run's own evaluation follow from its exported parameters."""
    from fedrec.evaluation.sums import means
    from fedrec.merchants.trained import federated_scorer
    from fedrec.run import read_system
    from fedrec.storage import RunDirectory
    from fedrec.training.node import evaluate_scorer

    for seed in (0, 1):
        setup = prepare(mf.config.with_({"run.seed": seed}))
        files = RunDirectory(mf.directory / "merchants" / f"federated-seed{seed}")
        system = read_system(files.path)
        scorer = federated_scorer(setup, files, system)
        users = np.arange(setup.population.num_users)
        found = means(evaluate_scorer(setup, scorer, users, "test", bootstrap=0))
        told = system.flat_metrics()
        assert found["full.ndcg@10"] == pytest.approx(told["test.full.ndcg@10"], abs=1e-12)
        assert found["full.recall@5"] == pytest.approx(told["test.full.recall@5"], abs=1e-12)


def test_an_interrupted_comparison_goes_on_with_what_is_there(mf, tmp_path):
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(mf.directory, copy)
    (copy / "result.json").unlink()
    shutil.rmtree(copy / "merchants" / "pooled-seed1")
    assert compares_merchants(copy)
    assert resume_command(copy) == f"fedrec compare --merchants --resume {copy}"
    events = []
    again = compare_merchants(resume=copy, on_event=events.append)
    started = [(e["system"], e["seed"]) for e in events if e["event"] == "system-start"]
    assert ("pooled-mf", 1) in started
    assert ("alone-mf", 0) not in started
    for key in ("merchants", "overall"):
        assert again.result.extra["merchants"][key] == mf.told[key]


def test_ranks_of_another_split_are_refused(mf):
    place = mf.directory / "merchants" / "alone-seed0"
    with pytest.raises(CheckpointError, match="ranks the items of another split"):
        load_outcome(place, "0123456789abcdef")


def test_each_merchant_may_choose_for_itself(ease, tmp_path):
    each = made_of(market(EASE, merchants__choice="each"), tmp_path / "each")
    told = each.told["settings"]
    assert set(told) == set(ease.told["settings"])
    assert each.result.config["merchants.choice"] == "each"
    valid = {s.name: s.metrics["valid"]["merchant"]["ndcg@10"] for s in each.result.systems}
    for system in ease.result.systems:
        if "personalised" not in system.name:  # which mixes with another own model
            assert valid[system.name] >= system.metrics["valid"]["merchant"]["ndcg@10"] - 1e-12


def test_it_is_read_again_as_it_was_written(ease):
    assert load_result(ease.directory).extra["merchants"] == json.loads(json.dumps(ease.told))


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"clients.unit": "user"}, "needs clients.unit = 'merchant'"),
        ({"evaluate.bootstrap": 0}, "set evaluate.bootstrap"),
        (
            {"merchants.personalise": "ditto", "model.name": "ncf", "model.mlp": "4"},
            "pulls table rows",
        ),
    ],
)
def test_what_cannot_be_compared_is_refused(keys, words, tmp_path):
    more = {"train.negatives_from": "train"}
    with pytest.raises(ConfigError, match=words):
        compare_merchants(market(MF, more, keys), out=tmp_path / "no")
    assert not (tmp_path / "no").exists()


def test_lists_of_settings_are_checked():
    with pytest.raises(ConfigError, match=r"merchants.mixtures = '0 2'"):
        market(EASE, merchants__mixtures="0 2")
    with pytest.raises(ConfigError, match=r"merchants.ridges = 'many'"):
        market(EASE, merchants__ridges="many")
    with pytest.raises(ConfigError, match="negatives_from = 'own'"):
        market(MF, clients__unit="user")
