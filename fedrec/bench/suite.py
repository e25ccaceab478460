"""The benchmark as a whole: every workload in a process of its own, and what Flower adds."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fedrec.bench.workloads import Workload, find_workload
from fedrec.config import Scalar
from fedrec.engine.run_engine import execute
from fedrec.errors import EngineError
from fedrec.machine import describe_machine
from fedrec.output import write_atomically
from fedrec.storage import RunDirectory

CATALOGUE = (1_000, 10_000, 100_000, 1_000_000)
CLIENTS = (100, 300, 1_000, 3_000)
THREADS = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS",
           "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")  # fmt: skip
"""Variables of the environment that limit TensorFlow's threads, and NumPy's."""
Tell = Callable[[str, dict[str, Any]], None]
_TAIL_LINES = 12


def measure_apart(name: str, rounds: int) -> dict[str, Any]:
    """Measure one workload in a process of its own, so that its peak memory is its own.

    Args:
        name: W1 to W5, ``items=N`` or ``clients=N``.
        rounds: timed rounds.

    Returns:
        As `fedrec.bench.measure.measure`.

    Raises:
        EngineError: if the process fails, with the end of what it said.
    """
    command = [sys.executable, "-m", "fedrec.bench.measure", name, "--rounds", str(rounds)]
    quiet = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(command, capture_output=True, text=True, env=quiet)
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        tail = "\n".join(done.stderr.strip().splitlines()[-_TAIL_LINES:])
        raise EngineError(f"the measurement of {name} failed ({done.returncode}):\n{tail}")
    figures: dict[str, Any] = json.loads(lines[-1])
    return figures


def bench_workloads(names: Iterable[str], rounds: int, tell: Tell) -> dict[str, Any]:
    """Measure workloads one after the other.

    Args:
        names: W1 to W5.
        rounds: timed rounds of each.
        tell: called with the name and the figures of each.

    Returns:
        Name -> figures; W1 with `flower`, its rounds by the in-process engine.
    """
    found = {}
    for name in names:
        found[name] = measure_apart(name, rounds)
        if name == "W1":
            found[name]["flower"] = rounds_on_engine(find_workload(name), rounds)
        tell(name, found[name])
    return found


def bench_curves(rounds: int, tell: Tell) -> dict[str, Any]:
    """Measure how seconds a round grow with the catalogue, and with the clients.

    Returns:
        "items" and "clients": size -> figures.
    """
    curves: dict[str, Any] = {"items": {}, "clients": {}}
    for kind, sizes in (("items", CATALOGUE), ("clients", CLIENTS)):
        for size in sizes:
            figures = measure_apart(f"{kind}={size}", rounds)
            curves[kind][str(size)] = figures
            tell(f"{size:,} {kind}", figures)
    return curves


def bench_sharding(
    workload: Workload, runs: Iterable[tuple[str, int, int]], rounds: int, tell: Tell
) -> list[dict[str, Any]]:
    """Run one population over several nodes on several engines.

    Args:
        workload: whose clients are spread.
        runs: engine, number of nodes, and threads of a node, 0 for those of all cores.
        rounds: timed rounds of each.
        tell: called with a name and the figures of each.

    Returns:
        One dict a run, in order.
    """
    found = []
    for engine, nodes, threads in runs:
        figures = {"engine": engine, "nodes": nodes, "threads": threads}
        with limited_threads(threads):
            figures |= rounds_on_engine(workload, rounds, engine=engine, nodes=nodes)
        found.append(figures)
        told = f"{engine}, {nodes} node{'s' if nodes > 1 else ''}"
        tell(f"{told}, {threads} thread each" if threads else told, figures)
    return found


@contextmanager
def limited_threads(count: int) -> Iterator[None]:
    """Limit the threads of processes that are started within: those of Flower's nodes.

    This process has its TensorFlow already, and stays as it is.

    Args:
        count: threads of a process; 0: no limit.
    """
    before = {name: os.environ.get(name) for name in THREADS}
    os.environ.update(dict.fromkeys(THREADS, str(count)) if count else {})
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def rounds_on_engine(
    workload: Workload, rounds: int, *, engine: str = "in-process", nodes: int = 1
) -> dict[str, Any]:
    """Train a workload as `fedrec run` does, and read how long its rounds took.

    Args:
        workload: which; negatives are drawn anew in every round.
        rounds: timed rounds, between a first one that compiles and a last one that validates.
        engine: "in-process", "ray" or "superlink".
        nodes: Flower nodes.

    Returns:
        `round_s_median`; `phases`: seconds of the server's phases; `node_bytes_down` and
        `node_bytes_up`: bytes of messages to and from all nodes in a round.
    """
    with tempfile.TemporaryDirectory(prefix="fedrec-bench-") as folder:
        total = rounds + 2
        keys: dict[str, Scalar] = {
            "run.out": folder,
            "train.rounds": total,
            "evaluate.every": total,
            "evaluate.bootstrap": 0,
            "evaluate.sampled": 0,
            "server.checkpoint_every": total,
            "engine.nodes": nodes,
        }
        execute(workload.config.with_(keys), engine=engine)
        text = RunDirectory(Path(folder)).rounds.read_text(encoding="utf-8")
    lines = [json.loads(line) for line in text.splitlines()][1:-1]

    def median(values: Iterable[float]) -> float:
        return statistics.median(values)

    phases = {name: median(line["phases"][name] for line in lines) for name in lines[0]["phases"]}
    return {
        "round_s_median": median(line["seconds"] for line in lines),
        "phases": phases,
        "node_bytes_down": int(median(line["node_bytes_down"] for line in lines)),
        "node_bytes_up": int(median(line["node_bytes_up"] for line in lines)),
    }


def save_figures(figures: dict[str, Any], file: Path) -> None:
    """Write figures as JSON, with the machine they were taken on."""
    content = {**figures, "machine": describe_machine()}
    write_atomically(file, json.dumps(content, indent=1) + "\n")
