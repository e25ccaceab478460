"""Measure what a domain gains from the other domains of its users: alone against together.

    python experiments/cross_domain.py [--case NAME ...] [--json FILE]

The committed figures come from --json experiments/results/collab/domains.json.

Each case is experiments/cross_domain.toml with another domain: departments of Complete
Journey (same users, different items), stores of it (users and items overlap), and both on a
marketplace.  Beside the federated implicit ALS of that file stand EASE, alone and together, and
popularity, which is the same either way: a gain of a method that does not reach it is no gain of
the domain.  Ridges are chosen on validation NDCG@10, among the same three for both; of the test
figures those of the chosen one alone are read.  Seed 0.  Intervals are over users (Poisson
bootstrap), paired, p-values of NDCG@10 corrected over all cases and methods (Holm).
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix

import fedrec
from experiments.figures import write_figures
from fedrec.config import Config
from fedrec.evaluation.bootstrap import holm, paired
from fedrec.evaluation.summary import nest
from fedrec.evaluation.sums import EvaluationSums, means
from fedrec.systems import read_sums
from fedrec.training.baselines import fit_baseline
from fedrec.training.node import evaluate_scorer, prepare

FILE = Path(__file__).parent / "cross_domain.toml"
MARKET = {"data.name": "marketplace", "data.users": 1500, "data.items": 600, "data.merchants": 5}
CASES: dict[str, dict[str, Any]] = {
    **{name: {"domain.target": name} for name in ("PRODUCE", "DRUG GM", "MEAT-PCKGD", "DELI")},
    **{
        f"store {store}": {"domain.by": "merchant", "domain.target": store}
        for store in ("367", "343", "381")
    },
    "marketplace, toys": {**MARKET, "domain.by": "department", "domain.target": "toys"},
    "marketplace, shop-3": {**MARKET, "domain.by": "merchant", "domain.target": "shop-3"},
}
RIDGES = {"ials": (10.0, 30.0, 100.0), "ease": (100.0, 300.0, 1000.0)}
SEED = 0
METRICS = ("ndcg@10", "recall@20", "hr@10")
BASE: dict[str, Any] = {}


def trained(config: Config) -> tuple[dict[str, Any], EvaluationSums]:
    """Run one configuration; returns its system entry and the sums of its test."""
    with tempfile.TemporaryDirectory() as place:
        done = fedrec.run(config, out=Path(place) / "run")
        system = json.loads((Path(done.directory) / "system.json").read_text())
        return system, read_sums(Path(done.directory) / system["bootstrap"])


def fitted(name: str, config: Config) -> tuple[dict[str, Any], EvaluationSums]:
    """Fit a baseline; returns its validation as of a system entry, and the sums of its test."""
    setup = prepare(config)
    population = setup.population
    shape = (population.num_users, population.num_items)
    train = csr_matrix((population.labels, population.items, population.indptr), shape)
    scorer, users = fit_baseline(name, train, config, SEED), np.arange(population.num_users)
    valid = means(evaluate_scorer(setup, scorer, users, "valid", bootstrap=0))
    test = evaluate_scorer(setup, scorer, users, "test", bootstrap=config.evaluate.bootstrap)
    return {"metrics": {"valid": nest(valid)}}, test


def best(method: str, config: Config) -> tuple[float, EvaluationSums]:
    """Return the ridge with the best validation, and the sums of its test."""
    found = {}
    for ridge in RIDGES[method]:
        if method == "ials":
            system, sums = trained(config.with_({"train.ridge": ridge, "run.seed": SEED}))
        else:
            system, sums = fitted(method, config.with_({"baseline.ease_l2": ridge}))
        found[ridge] = (system["metrics"]["valid"]["full"]["ndcg@10"], sums)
    ridge = max(found, key=lambda ridge: found[ridge][0])
    return ridge, found[ridge][1]


def measure(name: str) -> dict[str, Any]:
    """Train a domain alone and together with all others."""
    start, sums = time.process_time(), dict[str, dict[str, EvaluationSums]]()
    ridges = dict[str, dict[str, float]]()
    for train in ("all", "target"):
        config = fedrec.load_config(FILE, {**BASE, **CASES[name], "domain.train": train})
        for method in RIDGES:
            ridge, found = best(method, config)
            sums.setdefault(method, {})[train] = found
            ridges.setdefault(method, {})[train] = ridge
    _, popular = fitted("popularity", config)
    methods = {method: compared(pair) | {"ridges": ridges[method]} for method, pair in sums.items()}
    return {
        "case": name,
        "keys": CASES[name],
        "users": int(popular.counts["full"]),
        "methods": methods,
        "popularity": shown(popular),
        "cpu_s": round(time.process_time() - start, 1),
    }


def shown(sums: EvaluationSums) -> dict[str, float]:
    """Return the metrics that are kept."""
    mean = means(sums)
    return {metric: round(mean[f"full.{metric}"], 4) for metric in METRICS}


def compared(sums: dict[str, EvaluationSums]) -> dict[str, Any]:
    """Return a method together and alone, and the paired gain."""
    gains = {}
    for metric in METRICS:
        pair = paired(sums["all"], sums["target"], f"full.{metric}")
        ends = {"difference": pair.difference, "low": pair.low, "high": pair.high}
        gains[metric] = {k: round(v, 5) for k, v in ends.items()} | {"p": pair.p_value}
    return {"together": shown(sums["all"]), "alone": shown(sums["target"]), "gain": gains}


def main() -> None:
    """Run the chosen cases, print them, and write JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--case", nargs="*", choices=CASES, default=list(CASES))
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for name in options.case:
        rows.append(measure(name))
        print(json.dumps(rows[-1]), flush=True)
        gains = [m["gain"]["ndcg@10"] for row in rows for m in row["methods"].values()]
        for gain, p in zip(gains, holm([gain["p"] for gain in gains]), strict=True):
            gain["p_adjusted"] = p
        if options.json:
            write_figures(options.json, {"cases": rows, "seed": SEED, "ridges": RIDGES})


if __name__ == "__main__":
    main()
