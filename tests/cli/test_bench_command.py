"""`fedrec bench`."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fedrec.bench import suite
from fedrec.bench.stopwatch import PHASES
from fedrec.cli.app import app
from fedrec.errors import ConfigError


def figures(name: str, rounds: int) -> dict:
    """Invented figures."""
    keys = ("clients_per_s", "samples_per_s", "compile_s", "peak_rss_mib", "round_drawn_s_median")
    ratios = ("ratio_to_centralised", "ratio_to_floor")
    values = dict.fromkeys((*keys, *ratios), 1.0)
    return {**values, "round_s_median": 0.25, "phases": dict.fromkeys(PHASES, 0.1), "about": name}


def test_workloads_are_printed_and_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(suite, "measure_apart", figures)
    monkeypatch.setattr(suite, "rounds_on_engine", lambda workload, rounds: {"round_s_median": 2.0})
    out = tmp_path / "bench.json"
    done = CliRunner().invoke(
        app, ["bench", "w1", "W3", "--json", str(out)], catch_exceptions=False
    )
    assert done.exit_code == 0
    assert "2.000 s through Flower" in done.output.replace("\n", " ")
    saved = json.loads(out.read_text())
    assert set(saved) == {"W1", "W3", "machine"}
    assert saved["W3"]["round_s_median"] == 0.25


def test_curves_and_sharding_have_names_of_their_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    sharded = {"round_s_median": 0.5, "node_bytes_down": 2**20, "node_bytes_up": 2**19}
    monkeypatch.setattr(suite, "measure_apart", figures)
    monkeypatch.setattr(suite, "rounds_on_engine", lambda *_, **__: sharded)
    words = ["bench", "catalogue", "Sharding", "--json", str(tmp_path / "b.json")]
    done = CliRunner().invoke(app, words, catch_exceptions=False)
    assert "superlink" in done.output
    saved = json.loads((tmp_path / "b.json").read_text())
    assert saved["catalogue"]["items"]["1000000"]["about"] == "items=1000000"
    spread = {(run["engine"], run["nodes"], run["threads"]) for run in saved["sharding"]}
    assert {("ray", n, t) for n in (1, 2) for t in (0, 1)} < spread


def test_an_unknown_name_stops_before_anything_is_measured() -> None:
    with pytest.raises(ConfigError, match="'W6'. Did you mean 'W"):
        CliRunner().invoke(app, ["bench", "W1", "w6"], catch_exceptions=False)
