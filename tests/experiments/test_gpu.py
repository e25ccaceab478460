"""The script that holds a GPU against the processor; here the processor against itself."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import fedrec.training.node as node
from experiments import gpu
from experiments.gpu import Case
from experiments.tables_gpu import gpu_table

GOOD = {
    "trained_on": "CPU", "first_s": 2.0, "round_s_median": 0.5, "processor_s_median": 0.9,
    "halvings": 0,
}  # fmt: skip


def run_here(case: Case, file: Path) -> gpu.Row:
    return gpu.train(case, 1, file)


def fake(case: Case, file: Path, **more: Any) -> gpu.Row:
    """A training without training: a GPU errs by 1e-3, and is halved at 1,024 MiB and below."""
    error = 1e-3 if case.device == "gpu" and case.workload == "W2" else 0.0
    np.savez(file, table=np.array([3.0 + 5 * error, 4.0]))
    return {**GOOD, "halvings": 3 * (0 < case.memory_mib <= 1024), **more}


def test_the_processor_agrees_with_itself(capsys: pytest.CaptureFixture[str]) -> None:
    cases = [Case("W2", "cpu"), Case("W2", "auto"), Case("W2", "cpu", "mixed")]
    first, again, mixed = gpu.compare(cases, run_here)
    assert first["trained_on"] == again["trained_on"] == "CPU"
    assert first["round_s_median"] > 0
    assert again["difference"] < 1e-5
    assert 1e-4 < mixed["difference"] < gpu.LIMITS["mixed"]  # it rounds, but not much
    assert gpu.problems([first, again, mixed]) == []
    assert "W2 cpu mixed: " in capsys.readouterr().out


def test_halvings_are_counted_and_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    train_block = node.train_block

    def cramped(
        setup: Any, shared: Any, personal: Any, block: Any, number: int, samples: Any
    ) -> Any:
        if len(block) > 30:
            raise tf.errors.ResourceExhaustedError(None, None, "no memory left")
        return train_block(setup, shared, personal, block, number, samples=samples)

    def limit(mib: int) -> None:
        assert mib == 64
        monkeypatch.setattr(node, "train_block", cramped)

    monkeypatch.setattr(gpu, "limit_memory", limit)
    _, starved = gpu.compare([Case("W1", "cpu"), Case("W1", "cpu", memory_mib=64)], run_here)
    assert starved["halvings"] >= 3
    assert starved["difference"] < 1e-5


def test_a_difference_is_relative_to_all_parameters(tmp_path: Path) -> None:
    one, other = tmp_path / "a.npz", tmp_path / "b.npz"
    np.savez(one, t=np.array([3.0, 0.0], np.float32), w=np.array([4.0], np.float32))
    np.savez(other, t=np.array([3.0, 0.5], np.float32), w=np.array([4.0], np.float32))
    assert gpu.difference(one, other) == pytest.approx(0.1)
    np.savez(one, t=np.zeros(2), w=np.zeros(1))
    assert gpu.difference(one, other) == np.inf  # nothing was trained, which is never right


def test_a_gpu_that_errs_is_found() -> None:
    rows = gpu.compare(gpu.plan(("cpu", "gpu")), fake)
    assert len(rows) == 12
    wrong = gpu.problems(rows)
    assert [line.split(":")[0] for line in wrong] == ["W2 gpu float32", "W2 gpu float32 XLA"]
    assert "differs by 1.0e-03, allowed are 0.0001" in wrong[0]


def test_memory_is_taken_away_until_blocks_are_halved() -> None:
    (row,) = gpu.starve(fake)
    assert row["memory_mib"] == 1024
    assert gpu.problems([row]) == []
    assert "W3 gpu float32 1024 MiB: 0.500 s a round" in gpu.describe(row)
    assert "blocks halved 3 times" in gpu.describe(row)
    (roomy,) = gpu.starve(lambda case, file: fake(case, file, halvings=0))
    assert roomy["memory_mib"] == gpu.SMALL_MIB[-1]
    assert "memory never ran out" in gpu.problems([roomy])[0]


def test_a_training_that_fails_is_told(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    failed = gpu.train_apart(Case("W9", "cpu"), 1, tmp_path / "x.npz")
    assert "unknown workload 'W9'" in failed["failed"]
    rows = gpu.compare([Case("W9", "cpu")], lambda case, file: failed)
    assert "W9 cpu float32: failed" in gpu.problems(rows)[0]


@pytest.mark.parametrize(("gpus", "code"), [([], 0), (["Test 9000"], 1)])
def test_without_a_gpu_that_is_said_and_nothing_is_wrong(
    gpus: list[str],
    code: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(gpu, "find_gpus", lambda: gpus)
    monkeypatch.setattr(gpu, "train_apart", lambda case, rounds, file: fake(case, file))
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--json", str(tmp_path / "gpu.json")])
    assert gpu.main() == code
    out = capsys.readouterr().out
    assert out.startswith("1 GPU found: Test 9000" if gpus else "no GPU found")
    told = json.loads((tmp_path / "gpu.json").read_text())
    assert told["gpus"] == gpus
    assert {row["device"] for row in told["runs"]} == ({"cpu", "gpu"} if gpus else {"cpu"})


def test_this_machine_is_asked() -> None:
    assert len(gpu.find_gpus()) == len(tf.config.list_physical_devices("GPU"))


def test_the_table(tmp_path: Path) -> None:
    assert gpu_table(tmp_path) == "Not recorded."
    rows = gpu.compare([Case("W3", "cpu", xla=True), Case("W3", "gpu", memory_mib=512)], fake)
    failed = {**rows[0], "failed": "no"}
    machine = {"cores": 2, "processor": "Example CPU", "python": "3.11", "tensorflow": "2.21"}
    told = {"gpus": ["Test 9000"], "rounds": 3, "runs": [*rows, failed], "machine": machine}
    (tmp_path / "experiments/results/bench").mkdir(parents=True)
    (tmp_path / "experiments/results/bench/gpu.json").write_text(json.dumps(told))
    lines = gpu_table(tmp_path).splitlines()
    assert lines[2:4] == [
        "| W3 | cpu, XLA | float32 | 0.5 s | 0.9 s | 2 s |  |",
        "| W3 | gpu, 512 MiB, 3 halvings | float32 | 0.5 s | 0.9 s | 2 s | 0.0e+00 |",
    ]
    assert lines[-1].startswith("Medians of 3 rounds, on 2 cores of Example CPU")
    assert lines[-1].endswith("; Test 9000.")
