"""Merchants that sell alike, in groups that train by themselves."""

from __future__ import annotations

import json

import numpy as np
import pytest

import fedrec
from fedrec import compare_merchants
from fedrec.errors import ConfigError, DataError
from fedrec.evaluation.sums import means
from fedrec.merchants.chosen import choose
from fedrec.merchants.clustered import Clusters, clustered_candidates, clusters_of, profiles
from fedrec.merchants.ranked import field_of
from fedrec.merchants.trained import federated_scorer
from fedrec.report.merchants import merchants_page
from fedrec.run import read_system
from fedrec.storage import RunDirectory
from fedrec.training.node import evaluate_scorer, prepare
from tests.merchants.markets import EASE, MF, market

SIX = {"data.merchants": 6, "data.users": 150, "merchants.clusters": 2}


@pytest.fixture(scope="module")
def mf(tmp_path_factory):
    more = {"train.rounds": 2, "compare.seeds": "0", "local.epochs": 2, "central.epochs": 1}
    config = market(MF, SIX, more)
    return compare_merchants(config, out=tmp_path_factory.mktemp("groups") / "run")


def test_profiles_are_shares_of_training_sales_alone() -> None:
    setup = prepare(market(EASE, SIX))
    found = profiles(setup)
    assert found.sum(1) == pytest.approx(np.ones(6))
    population = setup.population
    category = population.split.dataset.items.attributes["department"].values
    mine = np.repeat(population.client_of_user, np.diff(population.indptr)) == 4
    counts = np.bincount(category[population.items[mine]], minlength=found.shape[1])
    assert found[4] == pytest.approx(counts / counts.sum())


def test_groups_are_the_same_whatever_the_system_and_no_group_is_small() -> None:
    one = clusters_of(prepare(market(EASE, SIX)))
    other = clusters_of(prepare(market(MF, SIX)))
    assert one is not None
    assert other is not None
    assert (one.of == other.of).all()
    assert min(len(m) for m in one.members) >= 3
    assert one.merged == ""
    assert "(3, 3) instead of all 6" in one.statement
    assert clusters_of(prepare(market(EASE))) is None


def test_a_group_of_all_is_the_federated_model_and_one_of_itself_is_alone(tmp_path) -> None:
    from fedrec.merchants.solved import own_candidates, pooled_candidates

    field = field_of(prepare(market(EASE)))
    for of, same in (([0, 0, 0], pooled_candidates), ([0, 1, 2], own_candidates)):
        clusters = Clusters(np.array(of), len(set(of)), "department", 3, 0.0)
        found = clustered_candidates(field, clusters, tmp_path, 0, "in-process", lambda e: None)
        one, other = choose(field, found, "each"), choose(field, same(field), "each")
        assert (one.ranks == other.ranks).all()
        assert one.labels == other.labels


def test_each_group_trains_by_itself(mf) -> None:
    told = mf.result.extra["merchants"]
    groups = told["clusters"]["groups"]
    assert sorted(sum(groups, [])) == sorted(m["name"] for m in told["merchants"])
    for number, group in enumerate(groups, start=1):
        run = read_system(mf.directory / "merchants" / f"clustered-group{number}-seed0")
        assert run.cost["bytes_up_per_client"] > 0
        assert len(group) >= 3
    system = next(s for s in mf.result.systems if s.name.endswith("-clustered"))
    assert "each hides among fewer" in system.privacy["statement"]
    assert system.selected_round is None
    assert {"clustered", "federated"} <= set(told["overall"]["values"])
    gain = told["clusters"]["gains"][0]
    assert (gain["a"], gain["b"], gain["metric"]) == ("clustered", "federated", "ndcg@10")
    assert set(told["clusters"]["by_merchant"]) <= {m["name"] for m in told["merchants"]}
    assert told["settings"]["clustered"]["shop-1"][0].startswith("rounds ")


def test_only_merchants_of_the_group_are_trained_and_evaluated(mf) -> None:
    names = [m["name"] for m in mf.result.extra["merchants"]["merchants"]]
    first = mf.result.extra["merchants"]["clusters"]["groups"][0]
    place = mf.directory / "merchants" / "clustered-group1-seed0"
    lines = [json.loads(line) for line in (place / "rounds.jsonl").read_text().splitlines()]
    assert {line["clients"] for line in lines if line["round"]} == {len(first)}
    setup, system = prepare(market(MF, SIX)), read_system(place)
    scorer = federated_scorer(setup, RunDirectory(place), system)
    mine = np.array([names.index(name) for name in first])
    found = means(
        evaluate_scorer(setup, scorer, setup.population.users_of(mine), "test", bootstrap=0)
    )
    told = system.flat_metrics()["test.full.ndcg@10"]
    assert found["full.ndcg@10"] == pytest.approx(told, abs=1e-12)


def test_a_masked_sum_over_some_merchants_is_the_sum_over_these(tmp_path) -> None:
    secure = {"secure.mode": "semi-honest", "secure.bits": 24, "secure.clip": 200.0}
    some = {"merchants.clusters": 0, "merchants.only": "1 2 5"}
    done = fedrec.run(market(EASE, SIX, secure, some), out=tmp_path / "run")
    setup = prepare(market(EASE, SIX))
    scorer = federated_scorer(setup, RunDirectory(tmp_path / "run"), done.result.systems[0])
    from fedrec.merchants.solved import Way, _solved

    users = setup.population.users_of(np.array([1, 2, 5]))
    ridge = setup.config.baseline.ease_l2
    assert scorer(users) == pytest.approx(_solved(setup, users, Way(ridge, False))(users), abs=1e-5)


def test_the_page_and_the_console_tell_of_groups(mf, capsys) -> None:
    from fedrec.report.merchants_table import print_merchants

    page = merchants_page(mf.result)
    assert "Groups that sell alike" in page
    assert "together in groups that sell alike" in page
    assert "Which merchants sell alike is known" in page
    print_merchants(mf.result)
    assert "Groups by department" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"merchants.clusters": 1}, "one group, which is all"),
        ({"clients.unit": "user", "train.negatives_from": "train"}, "clients.unit = 'merchant'"),
        ({"privacy.mechanism": "central", "privacy.clip": 1.0}, "privacy.mechanism = 'off'"),
        ({"secure.mode": "malicious-server"}, "differ by one merchant"),
        ({"merchants.largest": 5}, "needs 6 merchants or more"),
        ({"merchants.clusters": 0, "merchants.only": "1 one"}, "expected numbers of merchants"),
        ({"merchants.clusters": 0, "merchants.only": "1 1"}, "each once"),
        (
            {"merchants.clusters": 0, "merchants.only": "1 2", "secure.mode": "semi-honest"},
            "needs 3 merchants or more",
        ),
    ],
)
def test_what_would_tell_more_than_was_promised_is_refused(keys, words) -> None:
    with pytest.raises(ConfigError, match=words):
        market(MF, SIX, keys)


def test_merchants_that_are_not_there_or_too_few_are_refused(tmp_path) -> None:
    with pytest.raises(ConfigError, match="there are 6 merchants"):
        prepare(market(MF, SIX, {"merchants.clusters": 0, "merchants.only": "2 6"}))
    with pytest.raises(ConfigError, match="needs 9 merchants or more"):
        compare_merchants(market(EASE, SIX, {"merchants.clusters": 3}), out=tmp_path / "few")
    with pytest.raises(DataError, match="no such attribute of categories"):
        compare_merchants(
            market(EASE, SIX, {"merchants.cluster_by": "depart"}), out=tmp_path / "no"
        )
    keys = {"merchants.clusters": 0, "merchants.only": "0 1 2"}
    with pytest.raises(ConfigError, match="is about all"):
        compare_merchants(market(EASE, SIX, keys), out=tmp_path / "only")
    assert not list(tmp_path.iterdir())
