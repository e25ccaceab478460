"""Measure the speed figures that fedrec promises, each in a process of its own.

    python experiments/speed.py [--json FILE]

Workloads: one FedAvg round over all clients (MF, d = 32, logistic loss, 4 negatives
drawn anew, batch 256, 1 epoch) on ML-100K and on a synthetic set of ML-1M's size;
full-ranking evaluation of the latter's users with the sampled protocol and 1,000
bootstrap replicates; the start of the command line.  Rounds are timed as a run has
them, sampling included; the first one holds the compilation.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

FEDAVG = {
    "train.method": "fedavg",
    "train.optimizer": "sgd",
    "train.lr": 0.1,
    "train.personal_lr": 0.1,
    "train.batch": 256,
    "train.epochs": 1,
    "train.negatives": 4,
    "train.reduction": "mean",
    "train.l2": 0.0,
    "model.dim": 32,
}
ML_1M_SIZE = {
    "data.name": "marketplace",
    "data.users": 6040,
    "data.items": 3706,
    "data.events_per_user": 340.0,
}
WORKLOADS: dict[str, dict[str, Any]] = {"ml-100k": {}, "ml-1m-size": ML_1M_SIZE}
LIMITS = {
    "ml-100k.round_s_median": 0.6,
    "ml-100k.compile_s": 15.0,
    "ml-1m-size.round_s_median": 8.0,
    "ml-1m-size.peak_rss_mib": 4096.0,
    "ml-1m-size.evaluate_s_median": 3.0,
    "start.help_s_median": 0.7,
    "start.data_list_s_median": 0.7,
}


def measure(workload: str, rounds: int) -> dict[str, float]:
    """Time rounds and evaluations of one workload in this process."""
    import numpy as np

    from fedrec.config import load_config
    from fedrec.machine import peak_memory_mib
    from fedrec.training.node import (
        evaluate_node,
        init_personal,
        init_shared,
        prepare,
        train_node,
    )

    setup = prepare(load_config(None, {**FEDAVG, **WORKLOADS[workload]}))
    clients = np.arange(setup.population.num_clients)
    shared, personal = init_shared(setup), init_personal(setup, clients)
    seconds, evaluations = [], []
    for number in range(1, rounds + 2):
        start = time.perf_counter()
        total, personal = train_node(setup, shared, personal, clients, number)
        seconds.append(time.perf_counter() - start)
    for _ in range(4):
        start = time.perf_counter()
        evaluate_node(setup, shared, personal, clients, "test", bootstrap=1000)
        evaluations.append(time.perf_counter() - start)
    median, ranking = statistics.median(seconds[1:]), statistics.median(evaluations[1:])
    return {
        "clients": len(clients),
        "items": setup.population.num_items,
        "interactions": len(setup.population.split.dataset.interactions),
        "samples": total.metrics["samples"],
        "round_s_median": median,
        "round_s_max": max(seconds[1:]),
        "compile_s": (seconds[0] - median) + (evaluations[0] - ranking),
        "clients_per_s": len(clients) / median,
        "samples_per_s": total.metrics["samples"] / median,
        "evaluate_s_median": ranking,
        "peak_rss_mib": peak_memory_mib(),
    }


def measure_start() -> dict[str, float]:
    """Time the start of the command line."""

    def median(*words: str) -> float:
        seconds = []
        for _ in range(5):
            start = time.perf_counter()
            command = [sys.executable, "-m", "fedrec.cli", *words]
            subprocess.run(command, check=True, capture_output=True)
            seconds.append(time.perf_counter() - start)
        return statistics.median(seconds)

    return {"help_s_median": median("--help"), "data_list_s_median": median("data", "list")}


def main() -> None:
    """Run all workloads, print them beside their limits, and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    parser.add_argument("--rounds", type=int, default=7, help="timed rounds of each workload")
    parser.add_argument("--only", choices=[*WORKLOADS], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only:
        print(json.dumps(measure(options.only, options.rounds)))
        return
    from fedrec.machine import describe_machine

    figures: dict[str, Any] = {}
    for name in WORKLOADS:
        command = [sys.executable, __file__, "--only", name, "--rounds", str(options.rounds)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        figures[name] = json.loads(done.stdout.strip().splitlines()[-1])
    figures["start"] = measure_start()
    for key, limit in LIMITS.items():
        workload, figure = key.rsplit(".", 1)
        value = figures[workload][figure]
        print(f"{key:35} {value:10.3f}   limit {limit:g}   {'ok' if value <= limit else 'OVER'}")
    figures["machine"] = describe_machine()
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
