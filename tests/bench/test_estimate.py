"""Estimates: the fit, its arithmetic, and a real calibration in small."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from fedrec.bench import calibration, check
from fedrec.bench import estimate as estimating
from fedrec.bench.calibration import Fit, calibrate, fit, kind_of, main, stored
from fedrec.bench.counts import Counts, count
from fedrec.bench.estimate import compare, duration, foretell, known_estimate, size
from fedrec.config import Config, load_config, to_toml
from fedrec.errors import EngineError

COUNTS = Counts(
    clients=100,
    samples=5e4,
    rows=4e4,
    blocks=2,
    steps=12,
    block_samples=30_000,
    elements=60_000,
    personal=30_000,
    users=900,
    tested=940,
    items=1_600,
    block_cells=1_000_000,
    interactions=98_000,
    mapped=0,
    neighbours=0,
    valid_neighbours=0,
    test_neighbours=0,
    nodes=1,
    rounds=20,
    evaluations=4,
    checkpoints=20,
)
FIT = Fit(
    seconds={
        "round": [0.1, 1e-3, 1e-6, 5e-3, 2e-3, 1e-6, 1e-4, 1e-8, 1e-9],
        "evaluate": [0.0, 1e-3, 0.0, 1e-4],
        "checkpoint": [0.01, 1e-7],
        "end": [0.05, 1e-3, 1e-6, 1e-9],
    },
    bytes_up=[0.0, 132.0, 0.0, 0.0],
    bytes_down=[0.0, 0.0, 4.0, 0.0],
    base_mib=800.0,
    sample_bytes=1024.0,
    cell_bytes=8.0,
    start_s=4.0,
    compile_s=1.0,
)


@pytest.fixture
def cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FEDREC_CACHE", str(tmp_path))
    return tmp_path


def config(**changes: str | int | float) -> Config:
    keys = {"data.name": "zipf", "data.users": 80, "data.items": 90, "data.events_per_user": 10.0,
            "model.dim": 4}  # fmt: skip
    return load_config(None, {**keys, **{k.replace("__", "."): v for k, v in changes.items()}})


def test_an_estimate_by_hand() -> None:
    found = foretell(COUNTS, FIT, load=2.0)
    # 1; clients; samples; 2 blocks of 5 ms; 12 steps of 2 ms; elements
    assert found.round_s == pytest.approx(0.1 + 0.1 + 0.05 + 0.01 + 0.024 + 0.06)
    assert found.parts == pytest.approx(
        {"start": 4, "load": 2, "compile": 1, "rounds": 6.88, "evaluate": 3.6,
         "checkpoint": 0.38, "end": 0.05 + 0.94 + 0.09 + 0.94}
    )  # fmt: skip
    assert found.seconds == pytest.approx(19.88)
    assert found.bytes_up == 20 * 132 * 4e4
    assert found.bytes_down == 20 * 4 * 100 * 60_000
    # shared x 40, personal x 16, interactions x 100, samples of a block x 1024
    held = 2_400_000 + 480_000 + 9_800_000 + 30_720_000
    assert found.memory_mib == pytest.approx(800 + held / 2**20)
    assert found.line() == (
        "estimated: 20 s (0.344 s a round), 841 MiB of memory, clients send 100.7 MiB and "
        "receive 457.8 MiB"
    )


def test_a_secure_run_pays_for_pairs_and_their_masks() -> None:
    secure = replace(COUNTS, neighbours=30, valid_neighbours=40, test_neighbours=50)
    plain, found = foretell(COUNTS, FIT, 0), foretell(secure, FIT, 0)
    # 3,000 pairs; 6 million numbers encoded; 180 million numbers of masks
    assert found.round_s - plain.round_s == pytest.approx(0.3 + 0.06 + 0.18)
    assert found.parts["evaluate"] - plain.parts["evaluate"] == pytest.approx(4 * 900 * 40 * 1e-4)
    more = 940 * 50 * 1e-4 + 940 * 50 * 1_600 * 1e-9
    assert found.parts["end"] - plain.parts["end"] == pytest.approx(more)


def test_nothing_is_compiled_for_no_round() -> None:
    assert foretell(replace(COUNTS, rounds=0), FIT, 0).parts["compile"] == 0


def test_memory_is_for_training_or_for_ranking_whichever_is_more() -> None:
    told = foretell(replace(COUNTS, block_cells=10_000_000), FIT, 0).memory_mib
    more = 80_000_000 - 30_720_000
    assert told - foretell(COUNTS, FIT, 0).memory_mib == pytest.approx(more / 2**20)


def test_memory_of_samples_and_cells_by_hand() -> None:
    sizes = ((24, 10), (500, 20), (1048, 90), (30, 2058))
    runs = [replace(COUNTS, block_samples=s, block_cells=c) for s, c in sizes]
    # 2 MiB more for 1,024 samples more; 80 MiB more for 2,048 cells more
    assert calibration._memory(runs, [700.0, 701.0, 703.0, 781.0], 701.0) == (2048, 40_960)
    # nothing more for cells; too little to be told from what else grows
    assert calibration._memory(runs, [700.0, 701.0, 783.0, 783.0], 701.0) == (83_968, 0)
    assert calibration._memory(runs, [700.0, 701.0, 703.0, 721.0], 701.0) == (2048, 0)


def test_units() -> None:
    assert [duration(s) for s in (3.4, 119, 150, 9000)] == ["3 s", "119 s", "2 min", "2.5 h"]
    assert [size(b) for b in (12, 2048, 3 << 30, 5 << 40)] == [
        "12 B", "2.0 KiB", "3.0 GiB", "5.0 TiB"]  # fmt: skip


def test_a_fit_finds_coefficients_that_are_not_negative() -> None:
    rows = [[1, 10, 1e6], [1, 50, 1e6], [1, 10, 5e6], [1, 30, 2e6]]
    values = [0.2 + 0.01 * c for _, c, _ in rows]
    assert calibration._least_squares(rows, values) == pytest.approx([0.2, 0.01, 0], abs=1e-9)
    falling = calibration._least_squares([[1, 1], [1, 2]], [2.0, 1.0])
    assert min(falling) >= 0


def test_reality_is_held_against_an_estimate() -> None:
    found = foretell(COUNTS, FIT, 0)
    cost = {"total_s": 23.72, "round_s_median": 0.344, "peak_rss_mib": 820.0,
            "bytes_up_per_client": 52800, "bytes_down_per_client": 120_000}  # fmt: skip
    told = compare(found, {"systems": [{"cost": cost}]}, took=35.76)
    assert told["seconds"]["error"] == pytest.approx(-0.5)  # 17.88 s were foretold
    assert told["rounds_s"]["error"] == pytest.approx(-0.5)
    assert told["round_s"]["error"] == pytest.approx(0, abs=1e-9)
    assert told["bytes_up"]["error"] == pytest.approx(0)
    assert told["bytes_down"]["error"] == pytest.approx(1.0)


def test_a_kind_is_model_method_and_code_not_length_or_data(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kind = kind_of(config())
    assert kind == kind_of(config(train__rounds=7, data__users=500, run__seed=3))
    monkeypatch.setattr(calibration, "_code", lambda: "faster")
    assert kind_of(config()) != kind
    monkeypatch.undo()
    for key, value in (("model__dim", 8), ("train__method", "fedavg"), ("evaluate__sampled", 0)):
        assert kind_of(config(**{key: value})) != kind
    precise, mixed = (config(model__name="ncf", train__precision=p) for p in ("float32", "mixed"))
    assert kind_of(precise) != kind_of(mixed)


def test_small_runs_are_fitted_and_foretell_themselves(
    monkeypatch: pytest.MonkeyPatch, cached: Path
) -> None:
    points = ((20, 60, 10.0), (60, 60, 10.0), (20, 900, 10.0), (30, 200, 20.0))
    monkeypatch.setattr(calibration, "POINTS", points)
    found = fit(config())
    assert set(found.seconds) == set(calibration.TERMS)
    assert all(c >= 0 for term in found.seconds.values() for c in term)
    small = config(data__users=60, data__items=60)
    told = foretell(count(small), found, 0)
    assert 0 < told.round_s < 5
    # bytes are counted, not timed: 4 of an id and 16 of a row, up; the table, down
    assert told.bytes_up == pytest.approx(50 * count(small).rows * 20, rel=0.05)
    assert told.bytes_down == pytest.approx(50 * 60 * 60 * 16, rel=0.05)


def test_a_fit_is_kept_for_the_kind(monkeypatch: pytest.MonkeyPatch, cached: Path) -> None:
    ran = []

    class Done:
        returncode, stderr, stdout = 0, "", json.dumps(asdict(FIT)) + "\n"

    monkeypatch.setattr(calibration.subprocess, "run", lambda *a, **k: ran.append(a) or Done)
    assert stored(config()) is None
    told = calibrate(config())
    assert replace(told, start_s=4.0) == FIT  # 4 s in all are more than the process lived
    assert told.start_s == 0
    assert calibrate(config(train__rounds=3)) == stored(config()) == told
    assert len(ran) == 1
    assert calibrate(config(), anew=True) == told
    assert len(ran) == 2
    assert known_estimate(config()) is not None
    file = next((cached / "calibration").iterdir())
    file.write_text("{")
    assert stored(config()) is None


def test_a_failed_calibration_is_told(monkeypatch: pytest.MonkeyPatch, cached: Path) -> None:
    class Done:
        returncode, stderr, stdout = 2, "one\nno such layer\n", ""

    monkeypatch.setattr(calibration.subprocess, "run", lambda *a, **k: Done)
    with pytest.raises(EngineError, match=r"calibration failed \(2\):\none\nno such layer"):
        calibrate(config())


def test_a_short_run_of_an_unknown_kind_has_no_estimate(cached: Path) -> None:
    assert known_estimate(config()) is None


def test_the_process_prints_its_fit(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(calibration, "fit", lambda config: FIT)
    (tmp_path / "kind.toml").write_text(to_toml(config()))
    main([str(tmp_path / "kind.toml")])
    assert Fit(**json.loads(capsys.readouterr().out)) == FIT


def test_explicit_private_and_secure_kinds_have_small_populations() -> None:
    for keys in (
        {"data.feedback": "explicit", "model.loss": "squared"},
        {"privacy.mechanism": "central", "privacy.clip": 1.0, "privacy.epsilon": 4.0},
        {"secure.mode": "semi-honest"},
        {"clients.unit": "merchant", "data.name": "marketplace"},
    ):
        kind = load_config(None, keys)
        small = kind.with_(calibration._population(kind, 30, 60, 9.0))
        assert count(small).clients == 30, keys


def test_estimates_are_checked_by_real_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "estimate", lambda c, anew: foretell(count(c), FIT, 0.0))
    told: list[str] = []
    keys = {**{k: v for k, v in config().flat().items() if k.startswith(("data.", "model."))},
            "train.rounds": 2}  # fmt: skip
    found = check.check_estimates({"small": keys}, told.append)
    assert found["small"]["bytes_down"]["real"] == pytest.approx(2 * 80 * 90 * 4 * 4, rel=0.01)
    assert told[0].startswith("small: estimated ")


def test_a_run_that_fails_is_told() -> None:
    with pytest.raises(EngineError, match=r"(?s)the run to be estimated failed.*no\.csv"):
        check.run_apart(load_config(None, {"data.name": "file", "data.path": "no.csv"}))


def test_only_the_sizes_of_the_known_are_used() -> None:
    assert estimating._dot([1.0, 2.0], [3.0, 4.0]) == 11.0
    with pytest.raises(ValueError):
        estimating._dot([1.0], [1.0, 2.0])
