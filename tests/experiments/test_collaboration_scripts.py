"""The figures of cross_domain.py and vertical.py: measured, and shown."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from experiments import cross_domain, tables_collab, vertical
from experiments.figures import write_figures

SMALL = {"data.users": 160, "data.items": 60, "evaluate.bootstrap": 20}


def shown(path: Path, name: str, content: dict) -> Path:
    place = path / "experiments/results/collab"
    place.mkdir(parents=True)
    machine = {"cores": 2, "processor": "Example", "python": "3.11", "tensorflow": "2.21"}
    (place / f"{name}.json").write_text(json.dumps({**content, "machine": machine}))
    return path


def test_a_domain_is_measured_alone_and_together(monkeypatch, tmp_path: Path) -> None:
    small = {**cross_domain.CASES["marketplace, toys"], **SMALL, "train.rounds": 2}
    monkeypatch.setattr(cross_domain, "CASES", {"marketplace, toys": small})
    monkeypatch.setattr(cross_domain, "BASE", {"evaluate.every": 2})
    monkeypatch.setattr(cross_domain, "RIDGES", {"ials": (10.0, 30.0), "ease": (100.0,)})
    row = cross_domain.measure("marketplace, toys")
    for method in row["methods"].values():
        gain = method["gain"]["ndcg@10"]
        assert gain["low"] <= gain["difference"] <= gain["high"]
        gap = method["together"]["ndcg@10"] - method["alone"]["ndcg@10"]
        assert gap == pytest.approx(gain["difference"], abs=2e-4)
        gain.update(p_adjusted=0.01, difference=0.1)
    assert row["methods"]["ials"]["ridges"]["target"] in (10.0, 30.0)
    assert 0 < row["popularity"]["ndcg@10"] < 1
    table = tables_collab.domains_table(shown(tmp_path, "domains", {"cases": [row], "seed": 0}))
    assert "marketplace, toys (same users)" in table
    assert "EASE gains NDCG@10 in 1 of 1 cases and loses in 0" in table
    assert "| popularity |" in table


def test_vertical_features_are_measured_beside_a_placebo(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setattr(vertical, "BASE", {**SMALL, "central.epochs": 2, "model.dim": 4})
    row = vertical.measure("marketplace", (0,))
    assert set(row["groups"]) == {"cold-ish", "others"}
    assert set(row["groups"]["cold-ish"]) == {"alone", "with", "placebo"}
    assert row["customers"] == 160
    assert 0 < row["read"]["gender"]["right"] <= 1
    table = tables_collab.vertical_table(shown(tmp_path, "vertical", {"cases": [row], "left": 3}))
    assert "| marketplace | cold-ish | with attributes |" in table
    assert "reads it out of the answers" in table


def test_cold_users_keep_their_latest_interactions(monkeypatch) -> None:
    monkeypatch.setattr(vertical, "BASE", SMALL)
    case = vertical.prepared("marketplace", 0)
    counts = np.diff(case.setup.population.indptr)
    assert counts[case.cold].max() <= vertical.LEFT
    assert counts.max() > vertical.LEFT
    toy = case.setup.population
    thin = vertical.thinned(toy, np.arange(toy.num_users))
    for user in (0, 5):
        own = toy.items[toy.indptr[user] : toy.indptr[user + 1]]
        kept = thin.items[thin.indptr[user] : thin.indptr[user + 1]]
        assert kept.tolist() == own[-vertical.LEFT :].tolist()


@pytest.mark.parametrize("table", [tables_collab.domains_table, tables_collab.vertical_table])
def test_nothing_is_shown_without_figures(table, tmp_path: Path) -> None:
    assert table(tmp_path) == ""


def test_figures_say_where_and_when_they_were_measured(tmp_path: Path) -> None:
    file = tmp_path / "new" / "figures.json"
    write_figures(file, {"cases": [1], "left": 3})
    content = json.loads(file.read_text(encoding="utf-8"))
    assert list(content) == ["cases", "left", "machine", "fedrec", "date"]
    assert (content["cases"], content["left"]) == ([1], 3)
    assert content["machine"]["cores"] >= 1
