"""The whole of it: in clear, in a real secure run in groups, and what is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest

from fedrec.config import from_flat
from fedrec.contributing import check, contributions
from fedrec.contribution.estimates import from_groups, of_round
from fedrec.contribution.federation import play
from fedrec.contribution.groups import Measured, cut, measured
from fedrec.contribution.rebuilt import Opened
from fedrec.contribution.statements import STATEMENTS
from fedrec.engine.run_engine import execute
from fedrec.engine.server_side import AppServer
from fedrec.errors import ConfigError
from fedrec.report.contribution import (
    TITLES,
    contribution_grid,
    load_contributions,
    markdown_contributions,
)
from fedrec.robust.updates import as_partial_sum
from fedrec.training.node import prepare
from tests.contribution.test_federation import EASE, KEYS
from tests.engine.test_resume import run_until_killed

SIX = {
    **KEYS,
    "data.users": 90,
    "data.merchants": 6,
    "secure.mode": "semi-honest",
    "secure.bits": 24,
    "contribution.groups": 2,
    "contribution.retrain": "auto",
    "contribution.permutations": 2,
    "engine.nodes": 6,
    "evaluate.bootstrap": 0,
    "evaluate.every": 2,
}


def test_contributions_in_clear(tmp_path):
    config = from_flat({**KEYS, "contribution.permutations": 6, "contribution.by_round": True})
    done = contributions(config, out=tmp_path / "out")
    found = json.loads((tmp_path / "out" / "contribution.json").read_text())
    assert found == load_contributions(tmp_path / "out") == done.content
    assert set(found["estimates"]) == {"shapley-updates", "shapley-rounds", "leave-one-out"}
    assert len(found["alignment"]) == len(found["merchants"])
    assert all(-1 <= value <= 1 for value in found["alignment"])
    assert set(TITLES) == set(STATEMENTS)
    assert found["payments"]["by"] == "shapley-updates"
    assert found["utility"]["all"] - found["utility"]["alone"] == pytest.approx(sum(found["gains"]))
    assert len(found["merchants"]) == 3
    assert all(0 <= m["alone"] <= 1 and 0 < m["federated"] <= 1 for m in found["merchants"])
    assert "opened" in found["leak"]
    grid = contribution_grid(found)
    assert [row[0] for row in grid.rows] == [m["name"] for m in found["merchants"]]
    text = markdown_contributions(found)
    assert found["payments"]["sentence"] in text
    assert text.count("\n| ") == 1 + 3  # the head, and a row for each merchant


def test_a_secure_run_in_groups_tells_what_open_updates_would(tmp_path):
    config = from_flat(SIX)
    found = contributions(config, out=tmp_path / "out").content
    lines = (tmp_path / "out" / "rounds.jsonl").read_text().splitlines()
    told = [Measured.from_json(json.loads(line)["contribution"]) for line in lines]
    open_ = prepare(config.with_({"secure.mode": "off", "contribution.groups": 0}))
    rounds = play(open_, AppServer)
    for secret, one in zip(told, rounds, strict=True):
        groups = cut(config.run.seed, one.number, 6, 2)
        assert [g.tolist() for g in secret.groups] == [g.tolist() for g in groups]
        np.testing.assert_allclose(
            secret.table, measured(of_round(open_, one), groups).table, atol=0.01
        )
    assert np.ptp(told[0].table) > 0.005
    assert set(found["estimates"]) == {"groups", "groups-rebuilt"}
    grid = contribution_grid(found)
    assert {"from guessed updates", "goes along with others"} <= set(grid.head)
    assert all(len(row) == len(grid.head) for row in grid.rows)
    assert "the cosine of a merchant's mean update" in markdown_contributions(found)
    assert found["payments"]["by"] == "groups-rebuilt"
    opened = [Opened(one.number, told[i].groups, tuple(as_partial_sum(one.updates.take(g))
              for g in told[i].groups)) for i, one in enumerate(rounds)]  # fmt: skip
    expected = from_groups(open_, rounds, opened).values
    values = np.array(found["estimates"]["groups-rebuilt"]["values"])
    np.testing.assert_allclose(values, expected, atol=0.01)
    assert np.ptp(values) > 0.005
    assert sum(found["estimates"]["groups"]["values"]) == pytest.approx(
        sum(one.table[-1] - one.table[0] for one in told)
    )
    assert "hidden among at least 2 others" in found["leak"]
    privacy = json.loads((tmp_path / "out" / "result.json").read_text())["systems"][0]["privacy"]
    assert "each of 2 groups of 3 clients or more, drawn anew in every" in privacy["statement"]


@pytest.mark.slow
def test_sums_of_groups_survive_a_kill(tmp_path):
    keys = {**SIX, "contribution.permutations": 1, "train.rounds": 2, "evaluate.every": 2}
    calm, killed = (from_flat({**keys, "run.out": str(tmp_path / n)}) for n in ("calm", "killed"))
    execute(calm)
    assert run_until_killed(killed, 150, after=True)
    assert len((tmp_path / "killed" / "rounds.jsonl").read_text().splitlines()) == 1
    assert (tmp_path / "killed" / "groups" / "round-000001.ckpt").is_file()
    execute(killed)
    told = [json.loads((tmp_path / n / "rounds.jsonl").read_text().splitlines()[-1])["contribution"]
            for n in ("calm", "killed")]  # fmt: skip
    assert told[0]["rebuilt"]["rounds"] == told[1]["rebuilt"]["rounds"] == 2
    np.testing.assert_allclose(told[1]["rebuilt"]["values"], told[0]["rebuilt"]["values"])


def test_groups_are_opened_in_some_rounds_alone(tmp_path):
    config = from_flat({**SIX, "contribution.rounds": 2})
    found = contributions(config, out=tmp_path / "out").content
    lines = (tmp_path / "out" / "rounds.jsonl").read_text().splitlines()
    told = [json.loads(line)["contribution"] for line in lines]
    assert [one is not None for one in told] == [True, True] + [False] * (len(told) - 2)
    assert told[1]["rebuilt"]["rounds"] == 2
    assert len(list((tmp_path / "out").rglob("groups/round-*"))) == 2
    assert "opened in the first 2 rounds" in found["leak"]


def test_sums_of_ease_are_opened_in_one_grouping(tmp_path):
    config = from_flat(
        {**SIX, **EASE, "secure.bits": 16, "secure.clip": 500.0, "evaluate.every": 1}
    )
    found = contributions(config, out=tmp_path / "out").content
    assert len(found["alike"]) == 2
    assert sorted(len(some) for some in found["alike"]) == [3, 3]
    assert "opened once" in found["leak"]
    values = np.array(found["estimates"]["groups"]["values"])
    assert len(np.unique(values.round(9))) == 2


def test_a_node_of_several_merchants_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"a node for each merchant.*set engine.nodes = 6"):
        contributions(from_flat({**SIX, "engine.nodes": 1}), out=tmp_path / "out")


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"contribution.groups": 0}, "would open sums that differ by one merchant's update"),
        ({"contribution.retrain": "leave-one-out"}, "compare models with and without one merch"),
        ({"contribution.retrain": "all"}, "compare models with and without one merchant"),
        ({"data.merchants": 5}, "needs 6 merchants or more, and there are 5"),
        ({"contribution.least": 4}, "needs 8 merchants or more, and there are 6"),
        ({"secure.mode": "malicious-server"}, "a malicious server would choose"),
        ({"secure.mode": "off"}, "is for runs with secure aggregation"),
        ({"secure.rows": "threshold"}, "needs secure.rows = 'dense' or 'low-rank'"),
        ({"clients.unit": "user"}, "needs clients.unit = 'merchant'"),
        ({"clients.sampling": "fixed", "clients.per_round": 4}, "needs clients.sampling = 'all'"),
        ({"contribution.groups": 1}, "one group is all merchants"),
        ({**EASE, "train.rounds": 2, "evaluate.every": 2, "secure.clip": 1.5}, "can be solved"),
    ],
)
def test_what_would_open_single_updates_is_refused(keys, message):
    with pytest.raises(ConfigError, match=message):
        check(from_flat({**SIX, **keys}))


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"clients.unit": "user"}, "is about merchants: set clients.unit = 'merchant'"),
        ({"clients.dropout": 0.2}, "compares who takes part"),
        ({"data.merchants": 13, "contribution.retrain": "all"}, "up to 12"),
        ({"data.merchants": 13}, "contribution.permutations = 0 looks at all"),
        ({**EASE, "contribution.by_round": True}, "needs changes of a model in every round"),
    ],
)
def test_what_cannot_be_measured_is_refused(keys, message):
    with pytest.raises(ConfigError, match=message):
        check(from_flat({**KEYS, **keys}))
