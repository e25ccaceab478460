"""FedAvg, FedProx, SCAFFOLD and FedPer among merchants of very different sizes.

    python experiments/silo_methods.py [--json FILE]

The committed figures come from --json experiments/results/silo_methods.json.  Each system is
experiments/silo_methods.toml with the keys that are named.  Every learning rate is tried with
seed 0, validation NDCG@10 chooses one for each system, and that is trained with three seeds;
tests differ from FedAvg's by so much, with Holm's correction.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from fedrec.config import load_config
from fedrec.evaluation.bootstrap import compare_all
from fedrec.evaluation.sums import EvaluationSums, intervals, means, merge
from fedrec.machine import describe_machine
from fedrec.systems import read_sums, train_system

FILE = Path(__file__).with_name("silo_methods.toml")
SEEDS = (0, 1, 2)
METRICS = ("full.ndcg@10", "full.hr@10")
FIRST = "FedAvg"
BASE: dict[str, Any] = {}

RATES = (0.3, 1.0)
SYSTEMS: dict[str, tuple[dict[str, Any], ...]] = {
    FIRST: ({},),
    "FedProx": ({"train.method": "fedprox", "train.prox_mu": 0.1},),
    "SCAFFOLD": ({"train.method": "scaffold"},),
    "FedPer": ({"model.local_layers": "head"},),
}
"""System -> its settings, each tried with every rate."""

Trained = tuple[dict[str, Any], EvaluationSums]


def train(keys: dict[str, Any]) -> Trained:
    """Return what a run leaves in system.json, and its test sums."""
    config = load_config(FILE, {**BASE, **keys})
    with tempfile.TemporaryDirectory() as place:
        train_system("federated", config, Path(place), "in-process", lambda event: None)
        left = json.loads((Path(place) / "system.json").read_text(encoding="utf-8"))
        return left, read_sums(Path(place) / "test_sums.npz")


def measure(name: str) -> tuple[dict[str, Any], EvaluationSums]:
    """Choose the rate of a system on validation, and test it with all seeds."""
    settings = [{**keys, "train.lr": rate} for keys in SYSTEMS[name] for rate in RATES]
    tried = [train({**keys, "run.seed": SEEDS[0]}) for keys in settings]
    valid = [left["metrics"]["valid"]["full"]["ndcg@10"] for left, _ in tried]
    best = max(range(len(valid)), key=valid.__getitem__)
    runs = [tried[best], *(train({**settings[best], "run.seed": s}) for s in SEEDS[1:])]
    sums = merge([tested for _, tested in runs])
    ends, mean = intervals(sums), means(sums)
    row = {
        "keys": settings[best],
        "tried": [{"keys": k, "valid": v} for k, v in zip(settings, valid, strict=True)],
        "valid": [left["metrics"]["valid"]["full"]["ndcg@10"] for left, _ in runs],
        "selected_rounds": [left["selected_round"] for left, _ in runs],
        "test": {m: mean[m] for m in METRICS},
        "ci95": {m: list(ends[m]) for m in METRICS},
        "bytes_up_per_client": runs[0][0]["cost"]["bytes_up_per_client"],
    }
    print(f"{name}: {row}", flush=True)
    return row, sums


def main() -> None:
    """Measure all systems, and write JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args()
    rows, sums = {}, {}
    for name in SYSTEMS:
        rows[name], sums[name] = measure(name)
    others = {n: s for n, s in sums.items() if n != FIRST}
    for metric in METRICS:
        for own, pair in compare_all(sums[FIRST], others, metric).items():
            ends = [-pair.difference, -pair.high, -pair.low, pair.p_value]
            rows[own].setdefault("against_first", {})[metric] = ends
    if options.json:
        found = {"seeds": len(SEEDS), "systems": rows, "machine": describe_machine()}
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
