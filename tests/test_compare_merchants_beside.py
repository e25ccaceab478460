"""What stands beside a comparison of merchants: what each brings, and what could be inferred."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fedrec import compare_merchants
from fedrec.errors import ConfigError
from fedrec.report.merchants import PAGE, merchants_page, write_merchants
from fedrec.results import load_result
from tests.merchants.markets import EASE, MF, market

SHORT = {"compare.seeds": "0", "train.rounds": 2, "local.epochs": 2, "central.epochs": 1}
BRINGS = {"contribution.compare": True, "contribution.permutations": 4}
ATTACKS = {"audit.compare": True, "audit.rounds": "1", "audit.clients": 2, "audit.bootstrap": 20,
           "audit.shadows": 64,  # is about users, and not measured here
           "server.weighting": "equal", "train.negatives_from": "train"}  # fmt: skip
SECURE = {"secure.mode": "semi-honest", "contribution.groups": 2, "contribution.retrain": "off",
          "data.merchants": 6, "data.users": 150, "server.rows": "mean", "engine.nodes": 6}  # fmt: skip


@pytest.fixture(scope="module")
def brought(tmp_path_factory):
    return compare_merchants(market(EASE, BRINGS), out=tmp_path_factory.mktemp("brought") / "run")


def test_contributions_stand_in_the_result(brought) -> None:
    entry = json.loads((brought.directory / "result.json").read_text())["merchants"]
    told = entry["contributions"]
    assert [m["name"] for m in told["merchants"]] == ["shop-1", "shop-2", "shop-3"]
    assert set(told["estimates"]) == {"shapley-updates", "leave-one-out"}
    for found in told["estimates"].values():
        assert len(found["values"]) == 3
    assert told["payments"]["by"] == "shapley-updates"
    assert sum(told["payments"]["transfers"]) == pytest.approx(0, abs=1e-9)
    assert sum(told["gains"]) == pytest.approx(told["utility"]["all"] - told["utility"]["alone"])
    assert entry["audits"] is None


def test_the_page_shows_who_brings_what_also_when_read_again(brought) -> None:
    page = merchants_page(brought.result)
    assert "Who brings how much" in page
    assert "Shapley, from updates" in page
    assert "No attack was tried" in page
    place = write_merchants(brought.directory, brought.directory / PAGE)
    assert place.read_text(encoding="utf-8") == merchants_page(load_result(brought.directory))


def test_a_resumed_comparison_measures_contributions_again_alike(brought) -> None:
    again = compare_merchants(resume=brought.directory).result.extra["merchants"]
    before = brought.result.extra["merchants"]["contributions"]
    assert json.loads(json.dumps(again["contributions"])) == json.loads(json.dumps(before))


@pytest.mark.slow
def test_attacks_on_updates_of_merchants_stand_in_the_result_and_on_the_page(tmp_path) -> None:
    told: list[dict[str, Any]] = []
    small = market(MF, SHORT, ATTACKS)
    done = compare_merchants(small, out=tmp_path / "run", on_event=told.append)
    (audit,) = done.result.extra["merchants"]["audits"]
    assert audit["title"] == "A server that sees updates, in round 1"
    assert any("support F1" in line for line in audit["lines"])
    assert any("attacking what the server sees" in e["text"] for e in told if e["event"] == "note")
    page = merchants_page(done.result)
    assert "A server that sees updates, in round 1" in page
    assert "No attack was tried" not in page


def test_masked_merchants_are_valued_by_groups_alone(tmp_path) -> None:
    done = compare_merchants(market(MF, SHORT, BRINGS, SECURE), out=tmp_path / "run")
    brought = done.result.extra["merchants"]["contributions"]
    assert set(brought["estimates"]) == {"groups", "groups-rebuilt"}
    assert all(len(found["values"]) == 6 for found in brought["estimates"].values())
    assert "groups" in brought["leak"]


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({**EASE, **BRINGS, "audit.compare": True}, "sends statistics"),
        (
            {**MF, **BRINGS, "secure.mode": "semi-honest", "server.rows": "mean"},
            "contribution.groups = 2",
        ),
        ({**MF, **BRINGS, "clients.dropout": 0.1}, "compares who takes part"),
        ({**MF, "audit.compare": True, "robust.defence": "median"}, "robust.defence is of a run"),
    ],
)
def test_what_cannot_stand_beside_is_refused_before_training(keys, words, tmp_path) -> None:
    with pytest.raises(ConfigError, match=words):
        compare_merchants(market(keys), out=tmp_path / "no")
    assert not (tmp_path / "no").exists()
