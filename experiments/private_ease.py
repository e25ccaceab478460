"""What does differential privacy leave of EASE, which takes its noise once?

    python experiments/private_ease.py [--json FILE]

The committed figures come from --json experiments/results/private_ease.json.

experiments/ease.toml (ML-100K, one round, all clients) with central noise on the one sum of
pairs, for each epsilon of `EPSILONS` at delta = clients ** -1.1.  Norm and ridge are chosen by
validation NDCG@10 with the noise of seed 0, from all of `CLIPS` and `RIDGES`, without noise
the ridge alone; then three seeds of noise are run and tested.  The noise is that of
privacy.draws = "seeded", to be repeated.  The choice looks at validation and is in no epsilon.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from itertools import product
from pathlib import Path
from typing import Any

from fedrec.config import Config, load_config
from fedrec.evaluation.sums import intervals, means, merge
from fedrec.machine import describe_machine
from fedrec.systems import read_sums, train_system

FILE = Path(__file__).parent / "ease.toml"
EPSILONS: tuple[float | None, ...] = (None, 16.0, 8.0)
CLIPS = (7.0, 21.0, 60.0)
RIDGES = (100.0, 300.0, 1000.0)
SEEDS = (0, 1, 2)
METRICS = ("full.ndcg@10", "full.hr@10")


def configuration(epsilon: float | None, clip: float, ridge: float, seed: int) -> Config:
    """Return the configuration of one run."""
    keys: dict[str, Any] = {"baseline.ease_l2": ridge, "run.seed": seed, "evaluate.sampled": 0}
    if epsilon is not None:
        keys |= {"privacy.mechanism": "central", "privacy.clip": clip, "privacy.epsilon": epsilon}
        keys |= {"privacy.draws": "seeded"}
    return load_config(FILE, keys)


def run(config: Config) -> tuple[dict[str, Any], Any]:
    """Run the federated system; return its system.json and the sums of its test."""
    with tempfile.TemporaryDirectory() as place:
        train_system("federated", config, Path(place), "in-process", lambda event: None)
        left = json.loads((Path(place) / "system.json").read_text(encoding="utf-8"))
        return left, read_sums(Path(place) / "test_sums.npz")


def measure(epsilon: float | None) -> dict[str, Any]:
    """Choose norm and ridge for an epsilon, and test them."""
    tried = []
    for clip, ridge in product(CLIPS if epsilon else CLIPS[:1], RIDGES):
        config = configuration(epsilon, clip, ridge, 0).with_({"evaluate.bootstrap": 0})
        valid = run(config)[0]["metrics"]["valid"]["full"]["ndcg@10"]
        tried.append({"clip": clip if epsilon else None, "ease_l2": ridge, "valid": valid})
        print(f"epsilon {epsilon}: {tried[-1]}", flush=True)
    chosen = max(tried, key=lambda t: t["valid"])
    seeds = SEEDS if epsilon else SEEDS[:1]
    left, sums = [], []
    for seed in seeds:
        config = configuration(epsilon, chosen["clip"] or 0.0, chosen["ease_l2"], seed)
        one, tested = run(config)
        left.append(one)
        sums.append(tested)
    merged = merge(sums)
    ends = intervals(merged)
    privacy = left[0]["privacy"]
    return {
        "epsilon": epsilon,
        "spent": privacy["epsilon"],
        "delta": privacy["delta"],
        "chosen": chosen,
        "tried": tried,
        "seeds": len(seeds),
        "test": {m: means(merged)[m] for m in METRICS},
        "ci95": {m: list(ends[m]) for m in METRICS},
    }


def main() -> None:
    """Measure all epsilons, print them, and write JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args()
    rows = []
    for epsilon in EPSILONS:
        rows.append(measure(epsilon))
        print(epsilon, rows[-1]["test"], flush=True)
        if options.json:
            figures = {"rows": rows, "machine": describe_machine()}
            options.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
