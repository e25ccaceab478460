"""contribution.py and saboteurs.py: the market is what it says, and figures are counted right."""

import json

import numpy as np
import pytest

from experiments import contribution, saboteurs
from experiments.tables_contribution import contribution_table, saboteurs_table
from fedrec.config import load_config
from fedrec.output import write_atomically
from fedrec.results import plain_numbers
from fedrec.training.node import prepare
from tests.contribution.test_federation import setup_of

CONTRIBUTION = load_config(contribution.HERE / "contribution.toml")
SABOTEURS = load_config(saboteurs.HERE / "saboteurs.toml")


def test_noise_is_in_training_and_nowhere_else():
    noisy = contribution.market(CONTRIBUTION, 1)
    clean = prepare(noisy.config)
    assert noisy.population.valid is clean.population.valid
    assert noisy.population.test is clean.population.test
    owner = np.repeat(clean.population.client_of_user, np.diff(clean.population.indptr))
    changed = noisy.population.items != clean.population.items
    shares = [changed[owner == i].mean() for i in range(6)]
    assert np.allclose(shares, contribution.NOISE, atol=0.08)
    assert shares[1] == shares[3] == 0.0


def test_items_are_told_by_norms():
    setup = setup_of()
    population = setup.population
    owner = np.repeat(population.client_of_user, np.diff(population.indptr))
    rows = np.zeros((3, population.num_items, 4))
    for i in range(3):
        rows[i, population.items[owner == i]] = 1.0
    assert contribution.items_auc(setup, rows.reshape(3, -1)) == 1.0
    assert contribution.items_auc(setup, np.ones((3, rows[0].size))) == 0.5
    assert contribution.items_auc(setup, (1 - rows).reshape(3, -1)) == 0.0


def case(seed, attack, who, updates, groups):
    both = dict.fromkeys(("groups", "rebuilt", "alignment"), np.array(groups))
    told = {"contributions": {"updates": np.array(updates), **both}}
    return {"seed": seed, "attack": attack, "who": who, "norms": [1.0, 2.0, 3.0], "rows": 0.5,
            **told}  # fmt: skip


RUNS = [
    case(100, "off", -1, [0.3, 0.2, 0.1], [0.3, 0.2, -0.1]),
    case(0, "off", -1, [0.3, 0.05, 0.2], [0.2, 0.1, 0.3]),
    *[case(0, attack, 1, [0.3, 0.0, 0.2], [0.2, -0.2, -0.3]) for attack in saboteurs.ATTACKS],
]


def test_detection_by_hand():
    """A twentieth of the way from lowest to highest of three: .11 and -.07."""
    found = {(row["source"], row["attack"]): row for row in saboteurs.detection(RUNS)}
    one = found["updates", "noise"]
    assert (one["detected"], one["false_alarms"]) == (1.0, 0.0)
    assert one["threshold"] == pytest.approx(0.11)
    assert (one["auc"], one["not_positive"]) == (1.0, 1.0)
    one = found["groups", "stale"]
    assert (one["detected"], one["false_alarms"]) == (1.0, 0.5)
    assert one["threshold"] == pytest.approx(-0.07)
    assert one["auc"] == 0.5
    assert found["updates", "off"]["false_alarms"] == pytest.approx(1 / 3)


def test_the_judge_leaves_out_whom_groups_have_found():
    judge = saboteurs.judge_of(RUNS)
    assert judge.suspects(saboteurs.Case(0, "stale", 1)) == [1, 2]
    assert (judge.norm, judge.row_norm) == (2.0, 0.5)


def test_every_attack_meets_every_merchant_and_calibration_is_apart():
    all_of_them = saboteurs.cases(SABOTEURS)
    assert len(all_of_them) == len(set(all_of_them)) == 8 + 8 + 3 + 3 * 3 * 2
    seeds = {c.seed for c in all_of_them if c.who >= 0}
    assert seeds.isdisjoint((*saboteurs.CALIBRATION, *saboteurs.CHECKED))
    attacked = saboteurs.configured(SABOTEURS, all_of_them[-1])
    assert attacked.robust.who == "3"
    assert attacked.robust.attack == "promote"


def test_tables_show_what_stands_in_the_files(tmp_path):
    rebuilt = {"spearman": 0.25, "evaluations": 4}
    opened = {"spearman": 0.5, "items_auc": {"all": 0.6, "groups": 0.7, "single": 0.8},
              "rebuilt": rebuilt, "cosine": {"all": 0.4, "groups": 0.9, "single": 1.0}}  # fmt: skip
    run = {
        "seed": 0, "rounds": 6, "longer": {"12": [{**opened, "rebuilt": {"spearman": 0.125}}]}, "exact": [0.2, -0.1], "config_hash": "x",
        "estimates": {"shapley-updates": {"spearman": 0.75, "evaluations": 50}},
        "groups": [opened],
    }  # fmt: skip
    about = {"config": CONTRIBUTION.flat(), "noise": [0.5, 0.0], "groups": 2, "machine": {}}
    write(tmp_path, "contribution", {**about, "runs": [run]})
    text = contribution_table(tmp_path)
    assert "| Shapley from updates, models rebuilt from all rounds | 0.75 | 0.75 | 50 |" in text
    asked = 4 * CONTRIBUTION.train.rounds
    assert f"| utilities of groups (secure aggregation) | 0.50 | 0.50 | {asked} |" in text
    assert "| updates guessed from sums of groups (secure aggregation) | 0.25 | 0.25 | 4 |" in text
    assert "| the same, of 12 smaller rounds | 0.12 | 0.12 | 4 |" in text
    assert "| 6 | 0.90 | 0.40 | 0.30 | 0.40 | 0.20 |" in text
    assert "seed 0: 0.200 −0.100" in text
    effect = {"seed": 0, "attack": "stale", "who": 1, "defence": "off", "left_out": [],
              "exposure": 0.25, "accuracy": 0.125, "accuracy_interval": [0.1, 0.15]}  # fmt: skip
    calm = saboteurs.Case(0, "off", -1)
    effects = [effect, {**effect, "defence": "leave out", "left_out": [1, 2]},
               {**effect, **vars(calm)}]  # fmt: skip
    told = {"runs": RUNS, "detection": saboteurs.detection(RUNS), "effects": effects, "machine": {}}
    write(tmp_path, "saboteurs", told)
    text = saboteurs_table(tmp_path)
    assert "| none | utilities of groups | – of 3 | 0% | – |" in text
    assert "| stale | utilities of groups | 100% of 1 | 50% | 0.50 |" in text
    assert "| leave out | 25.0%, 0.125 | – |" in text
    assert "Left out were 1 of the 1 attackers, and 1 honest merchants" in text


def write(root, name, figures):
    file = root / "experiments" / "results" / f"{name}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(file, json.dumps(plain_numbers(figures)))
