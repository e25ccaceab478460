"""The script of own files that memory does not hold, on a small file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from experiments.large_file import generate, settings, train
from experiments.large_population import record


def test_both_stores_give_one_update(tmp_path: Path) -> None:
    generate(tmp_path / "rows.parquet", 40, 1_500)
    told = {s: train(settings(tmp_path, s), tmp_path / f"{s}.npy") for s in ("disk", "memory")}
    assert told["disk"]["interactions"] == told["memory"]["interactions"] > 500
    assert list((tmp_path / "cache").rglob("population-*"))
    disk, memory = (np.load(tmp_path / f"{store}.npy") for store in told)
    assert np.linalg.norm(memory) > 0
    np.testing.assert_array_equal(disk, memory)


def test_other_figures_stay(tmp_path: Path) -> None:
    path = tmp_path / "new" / "figures.json"
    record(path, {"rows": [1]})
    record(path, {"file": {"rows": [2]}})
    assert json.loads(path.read_text()) == {"rows": [1], "file": {"rows": [2]}}
