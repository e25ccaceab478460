"""The figures of experiments/secure_rows.py: measured, stored once, and shown."""

import json
from pathlib import Path

import pytest

from experiments import secure_rows, tables

SMALL = {
    "data.name": "marketplace",
    "data.users": 40,
    "data.items": 60,
    "data.merchants": 2,
    "clients.per_round": 8,
    "evaluate.clients": 0,
    "evaluate.every": 2,
    "train.rounds": 2,
}


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secure_rows, "BASE", {**secure_rows.BASE, **SMALL})


def test_a_case_is_measured(small: None) -> None:
    masked = secure_rows.measure("union, 50 largest rows")
    clear = secure_rows.measure("in clear, 8 bits")
    assert masked["keys"] == {"secure.rows": "union", "compress.rows": 50}
    assert 0 <= masked["accuracy"]["ndcg@10"] <= masked["accuracy"]["hr@10"] <= 1
    assert masked["bytes_up"] > clear["bytes_up"] > 0
    assert masked["exposure"]["round"] == 1
    assert clear["exposure"] is None
    assert masked["skipped"] == clear["skipped"] == 0


def row(name: str, up: int, exposure: dict | None) -> dict:
    accuracy = {"hr@10": 0.1254, "ndcg@10": 0.0619}
    sizes = {"bytes_up": up, "bytes_down": 254_321, "cpu_s": 71.4}
    return {"case": name, "accuracy": accuracy, "exposure": exposure, **sizes}


def test_a_case_replaces_its_older_self_and_the_order_stays(tmp_path: Path) -> None:
    file = tmp_path / "some" / "rows.json"
    for name, up in (("union", 5), ("in clear", 1), ("union", 7)):
        secure_rows.save(file, row(name, up, None))
    stored = json.loads(file.read_text())["cases"]
    assert [(one["case"], one["bytes_up"]) for one in stored] == [("in clear", 1), ("union", 7)]


def test_the_table(tmp_path: Path) -> None:
    assert tables.secure_rows_table(tmp_path) == ""
    file = tmp_path / "experiments" / "results" / "secure" / "rows.json"
    secure_rows.save(file, row("in clear", 38_904, None))
    shown = {"rows": 0.2, "exposed_clients": 0.551, "interactions": 0.0049}
    secure_rows.save(file, row("union", 151_699, shown))
    lines = tables.secure_rows_table(tmp_path).splitlines()
    assert lines[2] == "| in clear | 0.125 | 0.062 | 38.9 kB | 254.3 kB | 71 s | – | – | – |"
    ending = "254.3 kB | 71 s | 20.0% | 55.1% | 0.5% |"
    assert lines[3] == f"| union | 0.125 | 0.062 | 151.7 kB | {ending}"
    assert lines[-1].startswith("Measured on ")
