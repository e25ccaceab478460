"""Measure what attacks do to real runs under every defence.

    python experiments/robust.py [--json FILE] [--engine in-process]

Every run is that of experiments/robust.toml with one attack and one defence: the Flower
apps train, clients attack, clients or server defend.  Measured on the test part of the last
round, on honest users: ER@10, the share to whom the attacked item is recommended, and
NDCG@10.  Runs that stand in FILE already, with the same configuration, are kept.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import fedrec
from fedrec.config import Config, integers
from fedrec.config_attacks import NEEDS_SINGLE, OWN
from fedrec.machine import describe_machine
from fedrec.output import write_atomically
from fedrec.robust.attacks import make_plot
from fedrec.training.node import load_population

HERE = Path(__file__).resolve().parent
ATTACKS = ("off", "promote", "replace")
DEFENCES = ("off", *OWN, *NEEDS_SINGLE)
NORMS = {"norm-bound": 8.0, "row-clip": 0.3}
"""Near the median norm of honest updates, and twice that of their rows, in round 20; both
come from the training data of a calm run, `fedrec.audit.rounds.train_updates`."""

Run = dict[str, Any]


def cells(base: Config) -> list[Config]:
    """Return the configuration of every run, the calm ones first."""
    target = make_plot(base, load_population(base), "promote").target
    return [
        base.with_(
            {
                "robust.attack": attack,
                "robust.defence": defence,
                "robust.norm": NORMS.get(defence, 0.0),
                "robust.target": target,
                "run.seed": seed,
            }
        )
        for seed in integers(base, "compare.seeds")
        for attack in ATTACKS
        for defence in DEFENCES
    ]


def measure(config: Config, engine: str) -> Run:
    """Train one run and return its figures."""
    with tempfile.TemporaryDirectory() as place:
        start = time.perf_counter()
        done = fedrec.run(config, engine=engine, out=Path(place) / "run")
        seconds = time.perf_counter() - start
    (system,) = done.result.systems
    found, k = system.metrics["test"], 10
    return {
        "attack": config.robust.attack,
        "defence": config.robust.defence,
        "seed": config.run.seed,
        "config_hash": config.config_hash(),
        "malicious": system.robust.get("malicious", 0),
        "exposure": found["robust"][f"exposure@{k}"],
        "exposure_interval": system.ci95[f"test.robust.exposure@{k}"],
        "accuracy": found["honest"][f"ndcg@{k}"],
        "accuracy_interval": system.ci95[f"test.honest.ndcg@{k}"],
        "k": k,
        "bytes_up_per_client": system.cost["bytes_up_per_client"],
        "seconds": round(seconds, 1),
    }


def known(file: Path | None) -> dict[str, Run]:
    """Return the runs of an earlier call, by the hash of their configuration."""
    if file is None or not file.is_file():
        return {}
    runs = json.loads(file.read_text(encoding="utf-8"))["runs"]
    return {run["config_hash"]: run for run in runs}


def main() -> None:
    """Run all cells, print the figures, and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    parser.add_argument("--engine", default="in-process", help="in-process, ray or superlink")
    options = parser.parse_args()
    base = fedrec.load_config(HERE / "robust.toml")
    before, runs = known(options.json), list[Run]()
    for config in cells(base):
        run = before.get(config.config_hash()) or measure(config, options.engine)
        runs.append(run)
        print(
            f"seed {run['seed']}, attack {run['attack']}, defence {run['defence']}: "
            f"ER@10 {run['exposure']:.3f}, NDCG@10 {run['accuracy']:.4f}, {run['seconds']:.0f} s",
            flush=True,
        )
        if options.json is not None:
            figures = {
                "engine": options.engine,
                "config": base.flat(),
                "norms": NORMS,
                "runs": runs + [r for h, r in before.items() if h not in _hashes(runs)],
                "machine": describe_machine(),
            }
            write_atomically(options.json, json.dumps(figures, indent=1) + "\n")


def _hashes(runs: list[Run]) -> set[str]:
    return {run["config_hash"] for run in runs}


if __name__ == "__main__":
    main()
