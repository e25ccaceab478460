"""Measure weights against popularity bias, floors under exposure, and fair weights of clients.

    python experiments/fair.py [--case NAME ...] [--json FILE]

The committed figures come from --json experiments/results/fair.json, a run of all cases.
With --case the others are kept as the file has them.
Each is experiments/fair.toml with the keys that are named, seed 0; the round is selected by
validation NDCG@10 in every case.  "unbiased" is NDCG@10 of users who count by the inverse
propensity of their held-out item (evaluate.propensity = 0.5).  "worst" and "gap" are NDCG@10
of the worst served quarter of age and its distance from the best; "tail" is the share of the
exposure in lists that items of the last third of interactions get, a third if in proportion;
"disparity" is half the sum of the differences between shares of exposure and of interactions.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import fedrec
from fedrec.machine import describe_machine

FILE = Path(__file__).parent / "fair.toml"
BASE: dict[str, Any] = {}
EVERY: dict[str, Any] = {"evaluate.every": 1}
"""A floor under exposure moves after each validation, so there is one in each round."""

CASES: dict[str, dict[str, Any]] = {
    "plain": {},
    "propensity 0.25": {"train.propensity": 0.25},
    "propensity 0.5": {"train.propensity": 0.5},
    "propensity 1": {"train.propensity": 1.0},
    "exposure 0.5": {"server.exposure": 0.5, **EVERY},
    "exposure 0.8": {"server.exposure": 0.8, **EVERY},
    "fairness 1": {"server.fairness": 1.0},
    "fairness 3": {"server.fairness": 3.0},
    "propensity 0.5, fairness 1": {"train.propensity": 0.5, "server.fairness": 1.0},
}
FIGURES = {
    "worst": "age-worst@10",
    "gap": "age-gap@10",
    "disparity": "popularity-disparity@10",
    "gini": "gini@10",
    "coverage": "coverage@10",
}


def measure(name: str) -> dict[str, Any]:
    """Run one case."""
    config = fedrec.load_config(FILE, {**BASE, **CASES[name]})
    with tempfile.TemporaryDirectory() as place:
        done = fedrec.run(config, out=Path(place) / "run")
        system = json.loads((Path(done.directory) / "system.json").read_text())
    test = system["metrics"]["test"]
    found = {"ndcg": test["full"]["ndcg@10"], "hr": test["full"]["hr@10"]}
    found |= {short: test["beyond"].get(key) for short, key in FIGURES.items()}
    found["unbiased"] = test["unbiased"]["ndcg@10"]
    found["tail"] = test["exposure"]["popularity=tail@10"]
    return {
        "case": name,
        "keys": CASES[name],
        "selected_round": system["selected_round"],
        "ci95": system["ci95"].get("test.full.ndcg@10"),
        **{n: None if v is None else round(v, 4) for n, v in found.items()},
    }


def main() -> None:
    """Run the chosen cases, print them, and write JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--case", nargs="*", choices=CASES, default=list(CASES))
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args()
    known = {}
    if options.json and options.json.is_file():
        known = {row["case"]: row for row in json.loads(options.json.read_text())["cases"]}
    for name in options.case:
        known[name] = measure(name)
        told = ("ndcg", "unbiased", "hr", "tail", *FIGURES)
        print(f"{name:28} {'  '.join(f'{n} {known[name][n]}' for n in told)}", flush=True)
    if options.json:
        rows = [known[name] for name in CASES if name in known]
        figures = {"cases": rows, "machine": describe_machine()}
        options.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
