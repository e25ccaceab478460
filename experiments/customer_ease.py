"""What is left of EASE by merchants if a customer is protected, and if a whole merchant is?

    python experiments/customer_ease.py [--json FILE]

The committed figures come from --json experiments/results/customer_ease.json.

Ten grocery stores (experiments/merchants_ease.toml) and ten merchants of a generated marketplace,
each a client; one sum of pairs with central noise, for each epsilon of `EPSILONS` and each
unit of `CLIPS`.  Delta is customers ** -1.1 for both units, so that the same epsilon means the
same of either.  Norm and ridge are chosen by validation NDCG@10 with the noise of seed 0; then
three draws of the noise are tested.  The noise is that of privacy.draws = "seeded", to be
repeated.  The choice looks at validation and is in no epsilon.
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
from fedrec.privacy.calibrate import default_delta
from fedrec.systems import read_sums, train_system
from fedrec.training.node import prepare

FILE = Path(__file__).parent / "merchants_ease.toml"
CASES: dict[str, dict[str, Any]] = {
    "grocery stores": {"merchants.clusters": 0},
    "marketplace": {
        "merchants.clusters": 0,
        "data.name": "marketplace",
        "data.users": 4000,
        "data.items": 400,
        "data.merchants": 10,
        "merchants.largest": 0,
        "split.protocol": "leave-last-out",
        "split.days": 0.0,
    },
}
EPSILONS: tuple[float, ...] = (16.0, 4.0, 1.0)
CLIPS = {"customer": (2.0, 5.0, 15.0, 50.0), "client": (25.0, 100.0, 400.0)}
RIDGES = (1000.0, 3000.0)
SEEDS = (0, 1, 2)
METRICS = ("full.ndcg@10", "full.hr@10")


def configuration(
    case: str, unit: str, epsilon: float | None, clip: float, ridge: float, seed: int
) -> Config:
    """Return the configuration of one run."""
    keys = {"baseline.ease_l2": ridge, "run.seed": seed, "evaluate.bootstrap": 500, **CASES[case]}
    if epsilon is None:
        return load_config(FILE, keys)
    customers = prepare(load_config(FILE, CASES[case])).population.num_users
    keys |= {"privacy.mechanism": "central", "privacy.clip": clip, "privacy.epsilon": epsilon}
    keys |= {"privacy.draws": "seeded", "privacy.delta": default_delta(customers)}
    keys |= {"server.weighting": "equal"}
    if unit == "customer":
        keys |= {"privacy.unit": unit, "privacy.customers": customers}
    return load_config(FILE, keys)


def run(config: Config, system: str = "federated") -> tuple[dict[str, Any], Any]:
    """Train a system; return its system.json and the sums of its test."""
    with tempfile.TemporaryDirectory() as place:
        train_system(system, config, Path(place), "in-process", lambda event: None)
        left = json.loads((Path(place) / "system.json").read_text(encoding="utf-8"))
        return left, read_sums(Path(place) / "test_sums.npz")


def tested(runs: list[tuple[dict[str, Any], Any]]) -> dict[str, Any]:
    """Return the mean test figures of some runs, with intervals."""
    merged = merge([sums for _, sums in runs])
    ends = intervals(merged)
    return {
        "seeds": len(runs),
        "test": {m: means(merged)[m] for m in METRICS},
        "ci95": {m: list(ends[m]) for m in METRICS},
    }


def measure(case: str, unit: str, epsilon: float | None) -> dict[str, Any]:
    """Choose norm and ridge for a unit and an epsilon, and test them."""
    tried = []
    for clip, ridge in product(CLIPS[unit] if epsilon else (0.0,), RIDGES):
        config = configuration(case, unit, epsilon, clip, ridge, 0)
        valid = run(config.with_({"evaluate.bootstrap": 0}))[0]["metrics"]["valid"]["full"]
        tried.append({"clip": clip, "ease_l2": ridge, "valid": valid["ndcg@10"]})
    chosen = max(tried, key=lambda t: t["valid"])
    runs = [
        run(configuration(case, unit, epsilon, chosen["clip"], chosen["ease_l2"], seed))
        for seed in (SEEDS if epsilon else SEEDS[:1])
    ]
    privacy = runs[0][0]["privacy"]
    told = {"case": case, "unit": unit if epsilon else "none", "epsilon": epsilon}
    told |= {"spent": privacy["epsilon"], "delta": privacy["delta"]}
    told |= {"noise_multiplier": privacy.get("noise_multiplier")}
    return {**told, "chosen": chosen, "tried": tried, **tested(runs)}


def cases() -> dict[str, dict[str, Any]]:
    """Return the size of each case, and its most popular items as a yardstick."""
    found = {}
    for case in CASES:
        config = configuration(case, "none", None, 0.0, RIDGES[0], 0)
        population = prepare(config).population
        sizes = {"merchants": population.num_clients, "customers": population.num_users}
        sizes |= {"items": population.num_items, "interactions": len(population.items)}
        found[case] = {**sizes, "popularity": tested([run(config, "popularity")])}
    return found


def main() -> None:
    """Measure all cases, units and epsilons, print them, and write JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    asked = [("client", None), *product(CLIPS, EPSILONS)]
    known = cases()
    for case, (unit, epsilon) in product(CASES, asked):
        rows.append(measure(case, unit, epsilon))
        print(case, unit, epsilon, rows[-1]["chosen"], rows[-1]["test"], flush=True)
        if options.json:
            figures = {"cases": known, "rows": rows, "machine": describe_machine()}
            options.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
