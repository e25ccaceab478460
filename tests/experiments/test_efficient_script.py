"""The figures of experiments/efficient.py and fair.py: measured, and shown."""

import json
from pathlib import Path
from typing import Any

import pytest

from experiments import efficient, fair, tables_efficient
from fedrec.machine import describe_machine

SMALL: dict[str, Any] = {
    "data.name": "marketplace", "data.users": 40, "data.items": 60, "data.merchants": 2,
    "model.dim": 4, "train.rounds": 2, "evaluate.every": 2, "evaluate.bootstrap": 20,
}  # fmt: skip


def test_cases_name_what_they_change() -> None:
    cases = efficient.cases()
    assert cases["quickstart, 8 bits"] == {"compress.download_bits": 8}
    low = cases["pre-trained, adapters of rank 2, 8 bits"]
    assert low == {"train.rounds": 20, "model.adapter_rank": 2, "compress.download_bits": 8}
    assert len(cases) == 13


def test_the_earlier_model_sees_every_second_user_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = tmp_path / "small.toml"
    lines = [f'"{k}" = {json.dumps(v)}' for k, v in SMALL.items()]
    small.write_text("\n".join(line.replace('"', "", 2) for line in lines) + "\n")
    monkeypatch.setattr(efficient, "FILE", small)
    model = efficient.pretrain(tmp_path)
    rows = [line.split(",") for line in (tmp_path / "half.csv").read_text().splitlines()[1:]]
    assert 10 <= len({user for user, *_ in rows}) <= 20
    keys = {"model.pretrained": str(model), "model.adapter_rank": 2}
    whole = efficient.measure("whole", keys, tmp_path, (0,))
    small_one = efficient.measure("few", {**keys, "compress.download_bits": 8}, tmp_path, (0,))
    assert whole["bytes_up"] == small_one["bytes_up"] > 0
    assert whole["bytes_fixed"] > small_one["bytes_fixed"] > 0
    assert whole["bytes_down"] > small_one["bytes_down"] > small_one["bytes_fixed"]
    assert "model.pretrained" not in whole["keys"]


def test_a_fair_case_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fair, "BASE", {**SMALL, "evaluate.group": ""})
    row = fair.measure("propensity 0.5, fairness 1")
    assert row["keys"] == {"train.propensity": 0.5, "server.fairness": 1.0}
    assert 0 <= row["tail"] <= 1
    assert 0 <= row["ndcg"] <= row["hr"] <= 1
    assert row["worst"] is None


def test_the_tables(tmp_path: Path) -> None:
    assert tables_efficient.efficient_table(tmp_path) == ""
    assert tables_efficient.fair_table(tmp_path) == ""
    place = tmp_path / "experiments" / "results"
    place.mkdir(parents=True)
    case = {
        "case": "frozen", "accuracy": {"hr@10": [0.1, 0.2], "ndcg@10": [0.05]},
        "ci95": {"hr@10": [0.08, 0.12], "ndcg@10": [0.04, 0.06]},
        "bytes_up": 0, "bytes_down": 215_296, "bytes_fixed": 215_296,
    }  # fmt: skip
    told = {"cases": [case], "machine": describe_machine()}
    (place / "efficient.json").write_text(json.dumps(told))
    row = tables_efficient.efficient_table(tmp_path).splitlines()[2]
    assert row == (
        "| frozen | 0.150 [0.080, 0.120] | 0.050 [0.040, 0.060] | – | 215.3 kB | 215.3 kB |"
    )
    fine = {"case": "plain", "ndcg": 0.07, "unbiased": 0.04, "worst": 0.05, "gap": 0.03, "tail": 0.1,
            "disparity": 0.25, "gini": 0.9, "coverage": 0.2}  # fmt: skip
    (place / "fair.json").write_text(json.dumps({**told, "cases": [fine]}))
    row = tables_efficient.fair_table(tmp_path).splitlines()[2]
    assert row == "| plain | 0.070 | 0.040 | 0.050 | 0.030 | 10.0% | 25.0% | 0.900 | 20.0% |"
