"""Unlike merchants: methods for very different sizes, and scales for prices of their own.

    python experiments/silo_methods.py [--of methods|prices] [--json FILE]

The committed figures come from --json experiments/results/silo_methods.json, and with --of prices
from --json experiments/results/price_scale.json.  Each system is experiments/silo_methods.toml, or
experiments/price_scale.toml, with the keys that are named.  Every setting is tried with seed 0,
validation NDCG@10 chooses one for each system, and that is trained with three seeds; tests differ
from the first system's by so much, with Holm's correction.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedrec.config import load_config
from fedrec.evaluation.bootstrap import compare_all
from fedrec.evaluation.sums import EvaluationSums, intervals, means, merge
from fedrec.machine import describe_machine
from fedrec.systems import read_sums, train_system

HERE = Path(__file__).resolve().parent
SEEDS = (0, 1, 2)
METRICS = ("full.ndcg@10", "full.hr@10")
BASE: dict[str, Any] = {}


@dataclass(frozen=True)
class Question:
    """What is asked, of whom.

    Attributes:
        file: the experiment.
        systems: name -> keys; the first is what the others are compared with.
        settings: keys of which each is tried with every system.
    """

    file: Path
    systems: dict[str, dict[str, Any]]
    settings: tuple[dict[str, Any], ...]


METHODS = Question(
    HERE / "silo_methods.toml",
    {
        "FedAvg": {},
        "FedProx": {"train.method": "fedprox", "train.prox_mu": 0.1},
        "SCAFFOLD": {"train.method": "scaffold"},
        "FedPer": {"model.local_layers": "head"},
    },
    ({"train.lr": 0.3}, {"train.lr": 1.0}),
)
PRICES = Question(
    HERE / "price_scale.toml",
    {
        "no scale": {},
        "a shared scale": {"model.scales": "log_price"},
        "own scales": {"model.scales": "log_price", "model.local_layers": "scale_*"},
    },
    tuple({"train.lr": rate, "train.personal_lr": rate} for rate in (0.003, 0.01, 0.03)),
)
QUESTIONS = {"methods": METHODS, "prices": PRICES}

Trained = tuple[dict[str, Any], EvaluationSums]


def train(file: Path, keys: dict[str, Any]) -> Trained:
    """Return what a run of an experiment leaves in system.json, and its test sums."""
    config = load_config(file, {**BASE, **keys})
    with tempfile.TemporaryDirectory() as place:
        train_system("federated", config, Path(place), "in-process", lambda event: None)
        left = json.loads((Path(place) / "system.json").read_text(encoding="utf-8"))
        return left, read_sums(Path(place) / "test_sums.npz")


def measure(asked: Question, name: str) -> tuple[dict[str, Any], EvaluationSums]:
    """Choose the setting of a system on validation, and test it with all seeds."""
    settings = [{**asked.systems[name], **keys} for keys in asked.settings]
    tried = [train(asked.file, {**keys, "run.seed": SEEDS[0]}) for keys in settings]
    valid = [left["metrics"]["valid"]["full"]["ndcg@10"] for left, _ in tried]
    best = max(range(len(valid)), key=valid.__getitem__)
    runs = [tried[best], *(train(asked.file, {**settings[best], "run.seed": s}) for s in SEEDS[1:])]
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
    parser.add_argument("--of", choices=QUESTIONS, default="methods", help="which question")
    options = parser.parse_args()
    asked = QUESTIONS[options.of]
    rows, sums = {}, {}
    for name in asked.systems:
        rows[name], sums[name] = measure(asked, name)
    first, *rest = asked.systems
    others = {name: sums[name] for name in rest}
    for metric in METRICS:
        for own, pair in compare_all(sums[first], others, metric).items():
            ends = [-pair.difference, -pair.high, -pair.low, pair.p_value]
            rows[own].setdefault("against_first", {})[metric] = ends
    if options.json:
        found = {"seeds": len(SEEDS), "systems": rows, "machine": describe_machine()}
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
