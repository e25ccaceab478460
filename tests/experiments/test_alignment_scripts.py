"""The figures of alignment_speed.py and item_linkage.py: measured, and shown."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from experiments import alignment_speed, item_linkage, tables_align


def test_matching_is_measured_and_exact() -> None:
    found = alignment_speed.measure("fedrec", 30)
    assert found["common"] == 15
    assert found["exact"]
    assert found["cpu_s"] >= 0 < found["peak_rss_mib"]


def test_the_committed_figures_meet_the_limits() -> None:
    root = Path(__file__).resolve().parents[2] / "experiments/results/align"
    figures = json.loads((root / "speed.json").read_text())
    own, limit = figures["libraries"]["fedrec"], figures["limit"]
    assert figures["size"] == 100_000
    assert own["exact"]
    assert own["common"] == 50_000
    assert own["cpu_s"] < limit["cpu_s"] == 90
    assert own["peak_rss_mib"] < limit["peak_rss_mib"] == 1024
    assert figures["met"]


def test_an_interval_of_a_share() -> None:
    low, high = item_linkage.wilson(9, 10)  # by hand: z^2 = 3.8416
    middle, half = (0.9 + 0.19208) / 1.38416, 1.96 * (0.009 + 0.009604) ** 0.5 / 1.38416
    assert np.allclose((low, high), (middle - half, middle + half))
    assert item_linkage.wilson(0, 0) == (0.0, 1.0)


def test_the_tables_name_the_load_and_the_intervals() -> None:
    assert "processor seconds count" in tables_align.alignment_table()
    table = tables_align.linkage_table()
    assert "≥ 0.9" in table
    assert table.count("\n") > 12


@pytest.mark.parametrize("table", [tables_align.alignment_table, tables_align.linkage_table])
def test_nothing_is_shown_without_figures(table, tmp_path: Path) -> None:
    assert table(tmp_path) == ""
