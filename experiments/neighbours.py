"""Choose the hyper-parameters of EASE and of the neighbours on validation.

    python experiments/neighbours.py
    python experiments/neighbours.py --json experiments/results/tuning/neighbours.json

Every value of a grid is fitted on the training part and ranked on validation; the test
part is not looked at.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import numpy as np
from scipy.sparse import csr_matrix

from fedrec.config import Config
from fedrec.evaluation.sums import means
from fedrec.training.baselines import fit_baseline
from fedrec.training.node import Setup, evaluate_scorer, prepare

METRIC = "full.ndcg@10"
NEIGHBOURS = (10, 20, 50, 100, 200, 400)
SHRINKAGES = (0.0, 10.0, 50.0, 200.0)
RIDGES = (50.0, 100.0, 200.0, 300.0, 500.0, 1000.0)

Keys = dict[str, float | int]


def grid() -> Iterator[tuple[str, Keys]]:
    """Yield a baseline and the keys of its section, for all that is tried."""
    for ridge in RIDGES:
        yield "ease", {"baseline.ease_l2": ridge}
    for k, shrink in product(NEIGHBOURS, SHRINKAGES):
        yield "item-knn", {"baseline.knn_k": k, "baseline.knn_shrink": shrink}
        own: Keys = {"baseline.user_knn_k": k, "baseline.user_knn_shrink": shrink}
        yield "user-knn-cosine", own
        yield "user-knn-pearson", own


def validate(setup: Setup, name: str, config: Config) -> float:
    """Return the validation metric of a baseline."""
    population = setup.population
    shape = (population.num_users, population.num_items)
    train = csr_matrix((population.labels, population.items, population.indptr), shape)
    scorer = fit_baseline(name, train, config, 0)
    users = np.arange(population.num_users)
    return means(evaluate_scorer(setup, scorer, users, "valid", bootstrap=0))[METRIC]


def main() -> None:
    """Try the whole grid, and show the best of each baseline."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="where to write all figures")
    asked = parser.parse_args()
    base = Config().with_({"evaluate.sampled": 0})
    setup, found = prepare(base), []
    for name, keys in grid():
        value = validate(setup, name, base.with_(keys))
        found.append({"baseline": name, **keys, METRIC: value})
    best = {}
    for line in found:
        before = best.get(line["baseline"])
        if before is None or line[METRIC] > before[METRIC]:
            best[line["baseline"]] = line
    for line in best.values():
        print(json.dumps(line))
    if asked.json:
        told = {"data": base.data.name, "part": "valid", "best": best, "tried": found}
        asked.json.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
