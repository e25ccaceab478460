"""`fedrec estimate`, and the line that `fedrec run` begins with."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fedrec.bench import calibration, check
from fedrec.bench import estimate as estimating
from fedrec.bench.calibration import Fit
from fedrec.cli.app import app
from fedrec.errors import ConfigError, EngineError

FIT = Fit(
    seconds={"round": [0.5, *[0] * 8], "evaluate": [0, 0, 0, 0], "checkpoint": [0, 0],
             "end": [1.0, 0, 0, 0]},
    bytes_up=[0, 1, 0, 0], bytes_down=[0, 0, 4, 0],
    base_mib=700.0, sample_bytes=2.0, cell_bytes=8.0, start_s=4.0, compile_s=1.0,
)  # fmt: skip
SMALL = ["data.name=marketplace", "data.users=40", "data.items=60", "data.events_per_user=10",
         "model.dim=4", "train.rounds=2"]  # fmt: skip


def invoke(*words: str) -> str:
    return CliRunner().invoke(app, list(words), catch_exceptions=False).output


def test_an_estimate_is_printed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FEDREC_CACHE", str(tmp_path))
    monkeypatch.setattr(estimating, "calibrate", lambda config, **_: FIT)
    text = invoke("estimate", *SMALL)
    assert "calibrating this kind of run" in text
    assert "2 rounds of 40 clients" in text
    assert "0.5 s" in text


def test_mapped_interactions_are_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FEDREC_CACHE", str(tmp_path))
    monkeypatch.setattr(estimating, "calibrate", lambda config, **_: FIT)
    zipf = ["data.name=zipf", "data.users=40", "data.items=60", "data.events_per_user=10"]
    text = " ".join(invoke("estimate", *zipf, "model.dim=4", "data.store=disk").split())
    assert "interactions lie in mapped files and are not in this memory" in text
    memory = invoke("estimate", *zipf, "model.dim=4", "data.store=memory")
    assert "mapped" not in memory


def test_a_run_begins_with_its_estimate(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(estimating, "stored", lambda config, **_: FIT)
    monkeypatch.setattr(estimating, "calibrate", lambda config, **_: FIT)
    text = invoke("run", *SMALL, "--out", str(tmp_path / "a"))
    assert "estimated: " in text
    assert "estimated: " not in invoke("run", *SMALL, "--no-estimate", "--out", str(tmp_path / "b"))


def test_a_run_goes_on_without_an_estimate(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def fail(config: object, **_: object) -> Fit:
        raise EngineError("the calibration failed (1):\nmore")

    monkeypatch.setattr(estimating, "stored", lambda config, **_: FIT)
    monkeypatch.setattr(estimating, "calibrate", fail)
    text = invoke("run", *SMALL, "--out", str(tmp_path / "a"))
    assert "no estimate: the calibration failed (1):" in text
    assert (tmp_path / "a" / "result.json").is_file()


def test_the_check_is_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found = {"a": {"rounds_s": {"foretold": 1.0, "real": 2.0, "error": -0.5}}}
    monkeypatch.setattr(check, "check_estimates", lambda runs, tell: found)
    invoke("estimate", "--check", "--json", str(tmp_path / "estimate.json"))
    saved = json.loads((tmp_path / "estimate.json").read_text())
    assert saved["runs"] == found
    assert "cores" in saved["machine"]


def test_options_that_do_not_go_together() -> None:
    with pytest.raises(ConfigError, match="--check estimates runs of its own"):
        invoke("estimate", "train.rounds=3", "--check")
    with pytest.raises(ConfigError, match="--json is for --check"):
        invoke("estimate", "--json", "x.json")
    assert calibration.ROUNDS >= 4
