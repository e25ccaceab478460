"""Measure what another party's attributes add to purchases, above all where these are few.

    python experiments/vertical.py [--case NAME ...] [--json FILE]

The committed figures come from --json experiments/results/collab/vertical.json.

Half of the customers of whom attributes are known are made cold-ish: of their training
interactions the latest 3 are left.  Three systems train alike on what remains: purchases alone,
with the attributes, and with a placebo (the attributes of somebody else, shuffled).  The epoch
is selected on validation NDCG@10 of all users; intervals are over users (Poisson bootstrap),
paired, mean of the seeds.  "read" is what the purchase party can tell of an attribute from the
answers it gets, if it knows that attribute of a tenth of the common customers: the share it
gets right (multinomial ridge), beside always saying the commonest value.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import fedrec
from experiments.figures import write_figures
from fedrec.collab.vertical import (
    AttributeParty,
    attribute_party,
    common_people,
    vertical_epochs,
)
from fedrec.data.interactions import Catalogue
from fedrec.data.population import Population
from fedrec.evaluation.bootstrap import paired
from fedrec.evaluation.leak_guard import one_user_each
from fedrec.evaluation.selection import selection_metric
from fedrec.evaluation.sums import EvaluationSums, means, merge
from fedrec.models.offset import Offset
from fedrec.training.central import central_epochs
from fedrec.training.node import Setup, evaluate_scorer, prepare

Floats, Ints = NDArray[np.float64], NDArray[np.int64]

FILE = Path(__file__).parent / "vertical.toml"
MARKET = {
    "data.name": "marketplace",
    "data.users": 1500,
    "data.items": 400,
    "vertical.attributes": "age gender region",
}
CASES: dict[str, dict[str, Any]] = {"complete-journey": {}, "marketplace": MARKET}
LEFT = 3
METRICS = ("ndcg@10", "recall@20")
BASE: dict[str, Any] = {}
"""More keys, for tests."""


@dataclass(frozen=True, eq=False)
class Case:
    """Customers of both parties.

    Attributes:
        setup: the purchase party's, with common customers alone.
        party: the attribute party, in the order of `people`.
        people: int64 [n], local users in the common order.
        cold: int64, local users of whom `LEFT` training interactions are left.
        profile: attributes in the order of `people`.
    """

    setup: Setup
    party: AttributeParty
    people: Ints
    cold: Ints
    profile: Catalogue


def prepared(name: str, seed: int) -> Case:
    """Match the customers, keep the common ones, and make half of them cold-ish."""
    config = fedrec.load_config(FILE, {**CASES[name], **BASE, "run.seed": seed})
    setup = prepare(config)
    profile = setup.population.split.dataset.users
    common = common_people(profile, config.vertical.basis)
    members = np.sort(common)
    order = np.random.default_rng(seed).permutation(len(members))
    cold = np.sort(order[: len(members) // 2])
    population = thinned(one_user_each(setup.population, members), cold)
    party = attribute_party(profile.take(common), config.vertical)
    people = np.searchsorted(members, common)
    kept = replace(setup, population=population)
    return Case(kept, party, people, cold, profile.take(common))


def thinned(population: Population, cold: Ints) -> Population:
    """Return the population with the latest `LEFT` training interactions of cold users."""
    start = population.indptr[:-1].copy()
    start[cold] = np.maximum(start[cold], population.indptr[cold + 1] - LEFT)
    left = population.indptr[1:] - start
    ends = np.cumsum(left)
    at = np.arange(int(ends[-1])) + np.repeat(start - (ends - left), left)
    indptr = np.concatenate([[0], ends])
    items, labels = population.items[at], population.labels[at]
    return replace(population, indptr=indptr, items=items, labels=labels)


def trained(case: Case, party: AttributeParty | None) -> tuple[dict[str, Any], Floats | None]:
    """Train one system; returns test sums of cold-ish and other users, and the last answers."""
    answers: list[Floats] = []
    if party is None:
        epochs = central_epochs(replace(case.setup, model=Offset(case.setup.model)))
    else:
        epochs = vertical_epochs(case.setup, party, case.people, answers.append)
    metric = selection_metric(case.setup.config)
    best = max((means(e.evaluate("valid", 0))[metric], -e.number, e) for e in epochs)[2]
    replicates = case.setup.config.evaluate.bootstrap
    rest = np.setdiff1d(np.arange(case.setup.population.num_users), case.cold)
    found = {
        "epoch": best.number,
        "cold-ish": evaluate_scorer(
            case.setup, best.scorer, case.cold, "test", bootstrap=replicates
        ),
        "others": evaluate_scorer(case.setup, best.scorer, rest, "test", bootstrap=replicates),
    }
    return found, answers[-1] if answers else None


def read(case: Case, answers: Floats, seed: int) -> dict[str, dict[str, float]]:
    """Return how well the purchase party reads attributes out of the answers."""
    known = np.zeros(len(answers), bool)
    known[np.random.default_rng(seed).permutation(len(answers))[: len(answers) // 10]] = True
    x = np.concatenate([answers / max(answers.std(), 1e-12), np.ones((len(answers), 1))], 1)
    found = {}
    for name, one in case.profile.attributes.items():
        if one.kind != "category" or name not in case.setup.config.vertical.attributes.split():
            continue
        told = known & (one.values >= 0)
        hidden = ~known & (one.values >= 0)
        labels = np.eye(len(one.vocabulary))[one.values[told]]
        gram = x[told].T @ x[told] + 1e-3 * np.eye(x.shape[1])
        guess = (x[hidden] @ np.linalg.solve(gram, x[told].T @ labels)).argmax(1)
        common = np.bincount(one.values[hidden]).max() / hidden.sum()
        right = (guess == one.values[hidden]).mean()
        found[name] = {"right": round(float(right), 4), "commonest": round(float(common), 4)}
    return found


def measure(name: str, seeds: tuple[int, ...]) -> dict[str, Any]:
    """Run one case with some seeds."""
    start = time.process_time()
    sums: dict[str, dict[str, list[EvaluationSums]]] = {}
    epochs: dict[str, list[int]] = {}
    reading: dict[str, Any] = {}
    for seed in seeds:
        case = prepared(name, seed)
        mixed = np.random.default_rng(100 + seed).permutation(len(case.people))
        placebo = replace(case.party, features=case.party.features[mixed])
        for system, party in (("alone", None), ("with", case.party), ("placebo", placebo)):
            found, answers = trained(case, party)
            epochs.setdefault(system, []).append(found["epoch"])
            for group in ("cold-ish", "others"):
                sums.setdefault(group, {}).setdefault(system, []).append(found[group])
            if system == "with" and answers is not None and not reading:
                reading = read(case, answers, seed)
    groups = {group: compared(by_system) for group, by_system in sums.items()}
    return {
        "case": name,
        "seeds": list(seeds),
        "customers": len(case.people),
        "columns": case.party.features.shape[1],
        "epochs": epochs,
        "groups": groups,
        "read": reading,
        "cpu_s": round(time.process_time() - start, 1),
    }


def compared(by_system: dict[str, list[EvaluationSums]]) -> dict[str, Any]:
    """Return figures of each system, and its paired difference from purchases alone."""
    merged = {system: merge(parts) for system, parts in by_system.items()}
    found: dict[str, Any] = {}
    for system, total in merged.items():
        mean = means(total)
        found[system] = {m: round(mean[f"full.{m}"], 4) for m in METRICS}
        if system == "alone":
            continue
        for metric in METRICS:
            pair = paired(total, merged["alone"], f"full.{metric}")
            ends = (pair.difference, pair.low, pair.high)
            found[system][f"{metric} gain"] = [round(v, 5) for v in ends]
    return found


def main() -> None:
    """Run the chosen cases, print them, and write JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--case", nargs="*", choices=CASES, default=list(CASES))
    parser.add_argument("--seed", nargs="*", type=int, default=[0, 1, 2])
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args()
    rows = []
    for name in options.case:
        rows.append(measure(name, tuple(options.seed)))
        print(json.dumps(rows[-1]), flush=True)
        if options.json:
            write_figures(options.json, {"cases": rows, "left": LEFT})


if __name__ == "__main__":
    main()
