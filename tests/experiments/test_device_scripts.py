"""The figures of recommend_speed.py and transfer.py: measured, and shown."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from experiments import recommend_speed, sessions, tables_device, transfer
from fedrec.config import load_config
from fedrec.machine import describe_machine
from fedrec.training.node import prepare

SMALL: dict[str, Any] = {
    "data.name": "marketplace", "data.users": 40, "data.items": 60, "data.merchants": 2,
    "model.dim": 5, "train.rounds": 2, "evaluate.every": 2, "evaluate.bootstrap": 20,
}  # fmt: skip


@pytest.mark.parametrize("name", ["mf, closed form", "item-knn", "ease"])
def test_a_case_of_speed_is_measured(tmp_path: Path, name: str) -> None:
    row = recommend_speed.measure(name, {**recommend_speed.CASES[name], "items": 200}, tmp_path)
    assert row["items"] == 200
    for times in ("observe_ms", "recommend_ms", "explain_ms"):
        assert 0 < row[times]["median"] <= row[times]["p95"]


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "small.toml"
    lines = [f'"{k}" = {json.dumps(v)}' for k, v in SMALL.items()]
    file.write_text("\n".join(line.replace('"', "", 2) for line in lines) + "\n")
    monkeypatch.setattr(transfer, "FILE", file)
    monkeypatch.setattr(transfer, "ROUNDS", (1, 2))
    return file


def test_platforms_share_no_user_and_match_items_by_name(small: Path, tmp_path: Path) -> None:
    dataset = prepare(load_config(small)).population.split.dataset
    data, older = dataset.interactions, transfer.older_users(dataset)
    assert older.sum() == dataset.num_users // 2
    assert data.timestamp is not None
    first = [data.timestamp[data.user == user].min() for user in range(dataset.num_users)]
    assert np.array(first)[older].max() <= np.array(first)[~older].min()
    sold = older[data.user] & (data.item % 2 == 0)
    before = transfer.platform(dataset, sold, tmp_path / "older.csv")
    newer = transfer.own(transfer.platform(dataset, ~older[data.user], tmp_path / "newer.csv"))
    model = transfer.pretrain(before, tmp_path / "earlier")
    known, number = transfer.known_items(newer, model)
    assert 0 < known < number
    keys = {**newer, "model.pretrained": str(model)}
    curve = transfer.measure({**keys, "model.freeze": True}, tmp_path / "frozen", (0,))
    assert [point["rounds"] for point in curve] == [1, 2]
    assert curve[0]["bytes_up"] == 0
    low = transfer.measure({**keys, "model.adapter_rank": 1}, tmp_path / "low", (0,))
    full = transfer.measure(keys, tmp_path / "full", (0,))
    assert 0 < low[0]["bytes_up"] < full[0]["bytes_up"]


def test_cases_name_what_they_change() -> None:
    cases = transfer.cases()
    assert cases[transfer.SCRATCH] == (0, {})
    assert cases["half of the items, low rank"] == (2, {"model.adapter_rank": 4})
    assert len(cases) == 7


def test_the_tables(tmp_path: Path) -> None:
    assert tables_device.speed_on_device(tmp_path) == ""
    assert tables_device.transfer_table(tmp_path) == ""
    assert tables_device.sessions_table(tmp_path) == ""
    place = tmp_path / "experiments" / "results" / "device"
    place.mkdir(parents=True)
    times = {f"{n}_ms": {"median": 1.25, "p95": 2.0} for n in ("observe", "recommend", "explain")}
    case = {"case": "mf", "items": 50000, "megabytes": 11.6, "load_s": 0.44, **times}
    speed = {"met": 50, "events": 30, "cases": [case], "load": 0.5, "machine": describe_machine()}
    (place / "recommend_speed.json").write_text(json.dumps(speed))
    told = tables_device.speed_on_device(tmp_path)
    assert "| mf | 50,000 | 12 MB | 1.2 ms | 1.2 ms | 1.2 ms | 0.4 s |" in told
    point = {
        "rounds": 1, "accuracy": {"ndcg@10": [0.1, 0.2]}, "ci95": {"ndcg@10": [0.12, 0.18]},
        "bytes_up": 1500,
    }  # fmt: skip
    rows = [{"case": "all items, frozen", "known_items": [3, 1400], "curve": [point]}]
    figures = {"rounds": [1], "seeds": [0, 1], "cases": rows, "machine": describe_machine()}
    (place / "transfer.json").write_text(json.dumps(figures))
    told = tables_device.transfer_table(tmp_path)
    assert "| all items, frozen | 3 of 1,400 | 0.150 [0.120, 0.180] | 1.5 kB |" in told
    assert "| begins with, trains | items known | 1 round | bytes up |" in told
    good = dict.fromkeys(("hr@10", "ndcg@10"), 0.1)
    told_of = {"accuracy": good, "ci95": {m: [0.05, 0.15] for m in good}}
    both = {"case": "ease", "run": told_of, **told_of, "session_ms": 2.04}
    found = {"cases": [both], "machine": describe_machine()}
    (place / "sessions.json").write_text(json.dumps(found))
    lines = tables_device.sessions_table(tmp_path).splitlines()
    assert lines[2].startswith("| ease | clients of the run | 0.100 [0.050, 0.150] |")
    assert lines[3].endswith("| 0.100 [0.050, 0.150] | 2.0 ms |")


def test_sessions_are_tested_as_the_run_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ease = (Path(sessions.__file__).parent / "ease.toml").read_text()
    (tmp_path / "ease.toml").write_text(ease)
    monkeypatch.setattr(sessions, "HERE", tmp_path)
    keys = {k: v for k, v in SMALL.items() if k.startswith(("data.", "evaluate.boot"))}
    row = sessions.measure("ease", tmp_path / "runs", **keys)
    assert row["accuracy"] == row["run"]["accuracy"]
    assert row["ci95"] == row["run"]["ci95"]
    assert row["session_ms"] > 0
