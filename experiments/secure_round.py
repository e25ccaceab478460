"""Measure what secure aggregation adds to a round, and to an evaluation, one core.

    python experiments/secure_round.py [--case NAME ...] [--json FILE]

The committed figures come from --json experiments/results/secure/round.json.

The apps train three rounds in one process, once in plain and once with secure.mode =
semi-honest, every client a party of its own; the first round, which compiles, is left
out.  Then the model is validated and tested in the same two ways, and the figures of
the secure test are compared with those of a plain evaluation of the same model.  Gates
are of processor seconds, which other work on the machine disturbs less than the clock.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from flwr.serverapp import Grid

from clients.app import app as client_app
from fedrec.config import Config, load_config
from fedrec.engine.in_process import InProcessGrid
from fedrec.evaluation.sums import EvaluationSums, means
from fedrec.machine import describe_machine
from fedrec.training.node import evaluate_node, prepare
from fedrec.wire import pack_shared, stored_state
from server.strategy import FedRecStrategy

ROUNDS = 3
REPLICATES = 1000
SECURE = {"secure.mode": "semi-honest"}
BASE: dict[str, Any] = {
    "data.name": "ml-100k",
    "server.rows": "sum",
    "train.rounds": 10 * ROUNDS,  # the last one, which validates, is never reached
    "evaluate.every": 10 * ROUNDS,
    "evaluate.bootstrap": REPLICATES,
    "server.checkpoint_every": 10 * ROUNDS,
}


@dataclass(frozen=True)
class Case:
    """One setting.

    Attributes:
        what: in words.
        keys: beyond those of all cases.
        gate: processor seconds that a secure round may cost more than a plain one.
        test: whether the model is tested as well, over all clients.
    """

    what: str
    keys: dict[str, Any] = field(default_factory=dict)
    gate: float = 25.0
    test: bool = True


CASES = {
    "100": Case(
        "ML-100K, 100 of 943 users",
        {"clients.sampling": "fixed", "clients.per_round": 100},
        2.0,
    ),
    "943": Case("ML-100K, all 943 users"),
    "1000": Case(
        "marketplace, 1,000 of 5,000 users, 2,000 items",
        {
            "data.name": "marketplace",
            "data.users": 5000,
            "data.items": 2000,
            "clients.sampling": "fixed",
            "clients.per_round": 1000,
            "evaluate.clients": 1000,
        },
        test=False,
    ),
}


class Watch:
    """Processor seconds, and seconds by the clock."""

    def __init__(self) -> None:
        self._cpu, self._clock = time.process_time(), time.perf_counter()

    def stop(self) -> dict[str, float]:
        """Return both since the start."""
        cpu, clock = time.process_time() - self._cpu, time.perf_counter() - self._clock
        return {"cpu_s": round(cpu, 3), "clock_s": round(clock, 3)}


class Timed(FedRecStrategy):
    """A run that can be stopped after its rounds, and evaluated at will."""

    def rounds(self, grid: Grid) -> list[dict[str, float]]:
        """Train all rounds; return what each cost, without evaluation and checkpoint."""
        self._begin(grid)
        spent = []
        for number in range(1, ROUNDS + 1):
            watch = Watch()
            self._run_round(grid, number)
            spent.append(watch.stop())
        return spent

    def evaluated(self, grid: Grid, part: str) -> tuple[EvaluationSums, dict[str, float]]:
        """Evaluate the model as it is."""
        watch, number = Watch(), self._state.round_number
        arrays = pack_shared(self._state.shared)
        replicates = REPLICATES if part == "test" else 0
        sums = self._evaluate(grid, number, arrays, part, replicates)
        return sums or EvaluationSums(), watch.stop()

    def plainly(self, grid: InProcessGrid) -> EvaluationSums:
        """Evaluate the same model without any protocol, as its single node would in plain."""
        state = stored_state(grid.node_state(1), "current")
        personal = None if state is None else state.personal
        everyone = np.arange(self._setup.population.num_clients)
        if personal is None:
            raise SystemExit("the node has lost its personal parameters")
        return evaluate_node(
            self._setup, self._state.shared, personal, everyone, "test", bootstrap=REPLICATES
        )


def start(config: Config) -> tuple[Timed, InProcessGrid]:
    """Return a run and its node."""
    return Timed(config, prepare(config)), InProcessGrid(client_app, config, 1)


def measure(name: str) -> dict[str, Any]:
    """Run one case in plain and securely."""
    case, figures = CASES[name], {}
    for mode, keys in (("plain", {}), ("secure", SECURE)):
        with tempfile.TemporaryDirectory() as place:
            config = load_config(None, {**BASE, **case.keys, **keys, "run.out": place})
            run, grid = start(config)
            spent = run.rounds(grid)
            figures[mode] = {
                key: round(float(np.mean([s[key] for s in spent[1:]])), 3) for key in spent[0]
            }
            run.evaluated(grid, "valid")  # compiles
            figures[f"{mode}_valid"] = run.evaluated(grid, "valid")[1]
            if case.test:
                sums, figures[f"{mode}_test"] = run.evaluated(grid, "test")
            if case.test and mode == "secure":
                mine, theirs = means(sums), means(run.plainly(grid))
                figures["largest_difference"] = max(abs(mine[n] - theirs[n]) for n in theirs)
    if case.test:
        figures["paired_test"] = paired(case)
    more = figures["secure"]["cpu_s"] - figures["plain"]["cpu_s"]
    return {"case": name, **asdict(case), **figures, "more_cpu_s": round(more, 3)}


def paired(case: Case) -> dict[str, float]:
    """Return what a test costs whose bootstrap sums travel too (secure.intervals)."""
    with tempfile.TemporaryDirectory() as place:
        keys = {**BASE, **case.keys, **SECURE, "secure.intervals": "bootstrap"}
        run, grid = start(load_config(None, {**keys, "train.rounds": 0, "run.out": place}))
        run._begin(grid)
        run.evaluated(grid, "valid")
        return run.evaluated(grid, "test")[1]


def show(figures: dict[str, Any]) -> None:
    """Print one case."""
    met = "met" if figures["more_cpu_s"] <= figures["gate"] else "missed"
    print(
        f"{figures['what']}\n"
        f"  a round     plain {figures['plain']['cpu_s']:.2f} s, secure "
        f"{figures['secure']['cpu_s']:.2f} s: {figures['more_cpu_s']:.2f} s more (gate "
        f"{figures['gate']:g}: {met}); by the clock {figures['plain']['clock_s']:.2f} and "
        f"{figures['secure']['clock_s']:.2f} s"
    )
    for part in ("valid", "test"):
        if f"plain_{part}" in figures:
            plain, secure = figures[f"plain_{part}"], figures[f"secure_{part}"]
            print(f"  {part:<11} plain {plain['cpu_s']:.2f} s, secure {secure['cpu_s']:.2f} s")
    if "paired_test" in figures:
        print(f"  test with bootstrap sums in the ring {figures['paired_test']['cpu_s']:.2f} s")
        print(f"  largest difference of a test metric {figures['largest_difference']:.1e}")
    sys.stdout.flush()


def main() -> None:
    """Run the chosen cases, each in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--case", nargs="*", choices=CASES, default=list(CASES))
    parser.add_argument("--json", type=Path)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        print(json.dumps(measure(given.child)))
        return
    root = Path(__file__).resolve().parents[1]
    one_core = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    one_core |= {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"}
    one_core["PYTHONPATH"] = str(root)
    results = []
    for name in given.case:
        command = [sys.executable, __file__, "--child", name]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=one_core)
        results.append(json.loads(done.stdout.splitlines()[-1]))
        show(results[-1])
    if given.json:
        given.json.parent.mkdir(parents=True, exist_ok=True)
        content = {"machine": describe_machine(), "cases": results}
        given.json.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
