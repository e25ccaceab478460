"""The benchmark as a whole, with small stand-ins for its workloads."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from fedrec.bench import suite
from fedrec.bench.show import print_sharding, print_workloads
from fedrec.bench.stopwatch import PHASES
from fedrec.bench.workloads import Workload
from fedrec.errors import EngineError

SMALL = Workload(
    "small",
    "a small one",
    (
        ("data.name", "zipf"),
        ("data.users", 40),
        ("data.items", 60),
        ("data.events_per_user", 8.0),
        ("model.dim", 4),
    ),
)


def figures(seconds: float = 0.5) -> dict:
    """Invented figures of one workload."""
    return {
        "round_s_median": seconds,
        "clients_per_s": 200.0,
        "samples_per_s": 1e5,
        "compile_s": 1.0,
        "peak_rss_mib": 800.0,
        "ratio_to_centralised": 1.1,
        "ratio_to_floor": 9.0,
        "phases": dict.fromkeys(PHASES, 0.01),
        "about": "a workload",
        "round_drawn_s_median": 0.6,
    }


def test_a_population_is_spread_over_nodes_and_its_bytes_are_counted() -> None:
    told = []
    runs = suite.bench_sharding(
        SMALL, (("in-process", 1, 0), ("in-process", 2, 1)), 2, lambda name, f: told.append(name)
    )
    one, two = runs
    assert told == ["in-process, 1 node", "in-process, 2 nodes, 1 thread each"]
    assert (one["threads"], two["threads"]) == (0, 1)
    assert one["round_s_median"] > 0
    assert two["node_bytes_down"] > 1.8 * one["node_bytes_down"]
    assert one["node_bytes_up"] < two["node_bytes_up"]
    assert set(one["phases"]) == {"sample", "train", "aggregate", "evaluate", "checkpoint"}
    assert one["phases"]["evaluate"] == 0
    console = Console(width=100, record=True)
    print_sharding(runs, console)
    assert "in-process" in console.export_text()


def test_threads_of_processes_are_limited_within_and_free_after(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("TF_NUM_INTRAOP_THREADS", raising=False)
    with suite.limited_threads(1):
        assert [os.environ[name] for name in suite.THREADS] == ["1"] * 4
    with suite.limited_threads(0):
        assert os.environ["OMP_NUM_THREADS"] == "7"
    assert os.environ["OMP_NUM_THREADS"] == "7"
    assert "TF_NUM_INTRAOP_THREADS" not in os.environ


def test_tensorflow_minds_the_limit() -> None:
    code = (
        "import os, time, tensorflow as tf; x = tf.random.normal((1500, 1500)); tf.matmul(x, x); "
        "wall, used = time.perf_counter(), time.process_time(); "
        "[tf.matmul(x, x) for _ in range(20)]; tf.matmul(x, x).numpy(); "
        "print((time.process_time() - used) / (time.perf_counter() - wall))"
    )
    with suite.limited_threads(1):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert float(done.stdout) < 1.3  # processors at work


def test_w1_is_also_run_through_flower(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suite, "measure_apart", lambda name, rounds: figures())
    monkeypatch.setattr(suite, "rounds_on_engine", lambda workload, rounds: {"round_s_median": 0.7})
    found = suite.bench_workloads(["W1", "W3"], 3, lambda name, f: None)
    assert found["W1"]["flower"] == {"round_s_median": 0.7}
    assert "flower" not in found["W3"]
    console = Console(width=100, record=True)
    print_workloads(found, console)
    text = console.export_text()
    assert "0.700 s through Flower's messages" in text
    assert "W3: a workload\n" in text


def test_curves_go_over_items_and_clients(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(suite, "measure_apart", lambda name, n: asked.append(name) or figures())
    curves = suite.bench_curves(3, lambda name, f: None)
    assert asked[:2] == ["items=1000", "items=10000"]
    assert list(curves["clients"]) == [str(n) for n in suite.CLIENTS]


def test_a_workload_runs_in_a_process_of_its_own() -> None:
    with pytest.raises(EngineError, match=r"the measurement of W9 failed \(1\):[\s\S]*unknown"):
        suite.measure_apart("W9", 1)


def test_figures_are_written_with_the_machine(tmp_path: Path) -> None:
    suite.save_figures({"W1": figures()}, tmp_path / "new" / "bench.json")
    saved = json.loads((tmp_path / "new" / "bench.json").read_text())
    assert saved["W1"] == figures()
    assert saved["machine"]["cores"] >= 1
