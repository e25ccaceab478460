"""How should merchants of very different sizes count in the federated mean?

    python experiments/merchant_weights.py [--seed N ...] [--json FILE]

The committed figures come from --json experiments/results/tuning/merchant_weights.json.

Matrix factorisation with the settings of experiments/merchants.toml, on a generated marketplace
of thirty merchants, of whom the biggest has about twenty times the rows of the smallest.  A
merchant's weight is its training samples to the power 0 (all alike), a half, or 1
(`server.weight_power`), all else being equal.  NDCG@10 among what a merchant sells, of the round
that validation selects: over all customers, over those of the five biggest merchants, and over
those of the fifteen smallest.  Nothing is chosen: each power is told beside power 0, with
intervals over people (bootstrap, mean of the seeds), Holm's correction over all of these.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from experiments.large_population import record
from fedrec.config import Config, load_config
from fedrec.machine import describe_machine
from fedrec.merchants.chosen import Candidate, choose
from fedrec.merchants.gains import corrected
from fedrec.merchants.outcome import Outcome
from fedrec.merchants.ranked import PRIMARY, Field, field_of
from fedrec.merchants.summary import Measured, measured
from fedrec.merchants.trained import federated_scorer, run_federated
from fedrec.run import read_system
from fedrec.storage import RunDirectory
from fedrec.training.node import prepare

FILE = Path(__file__).parent / "merchants.toml"
POWERS = (0.0, 0.5, 1.0)
BASE: dict[str, Any] = {
    "data.name": "marketplace",
    "data.users": 2000,
    "data.items": 300,
    "data.merchants": 30,
    "data.events_per_user": 24.0,
    "merchants.largest": 0,
    "server.weighting": "samples",
}
BIG, SMALL = 5, 15


def outcome(config: Config, field: Field) -> Outcome:
    """Train with one power and seed, and rank with the round that validation selects."""
    with tempfile.TemporaryDirectory() as place:
        run_federated(config, Path(place), "in-process", lambda event: None)
        system = read_system(Path(place))
        scorer = federated_scorer(field.setup, RunDirectory(Path(place)), system)
    found = choose(field, [Candidate(str(system.selected_round), scorer)], "together")
    return Outcome(found.ranks, found.labels, found.place, found.valid, 0.0)


def groups_of(field: Field) -> dict[str, np.ndarray]:
    """Return which tested customers are of which merchants, bool [E], by training rows."""
    order = np.argsort(-field.setup.population.samples_of_client, kind="stable")
    shops = field.tested()
    return {
        "all": np.ones(len(shops), bool),
        f"{BIG} biggest": np.isin(shops, order[:BIG]),
        f"{SMALL} smallest": np.isin(shops, order[-SMALL:]),
    }


def figures(told: Measured, found: list[dict[str, Outcome]]) -> dict[str, Any]:
    """Return validation, test and gains over power 0 of every power, by group of merchants."""
    groups, names = groups_of(told.field), [f"{power:g}" for power in POWERS]
    pairs = [(name, group) for name in names[1:] for group in groups]
    gains = [told.gain(PRIMARY, name, names[0], groups[group]) for name, group in pairs]
    tested = corrected([one for one in gains if one is not None])
    over = dict(zip(pairs, tested, strict=True))
    rows = {
        name: {
            "valid": float(np.mean([seed[name].valid for seed in found])),
            "rounds": [seed[name].labels[0] for seed in found],
            "test": {g: told.means(some)[name][PRIMARY] for g, some in groups.items()},
            "over_equal": {g: over[name, g].to_json() for g in groups if (name, g) in over},
        }
        for name in names
    }
    sizes = np.sort(told.field.setup.population.samples_of_client)
    customers = {group: int(some.sum()) for group, some in groups.items()}
    return {"powers": rows, "customers": customers, "sizes": [int(n) for n in sizes[::-1]]}


def main() -> None:
    """Train with every power and seed, print the figures, and write JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--seed", nargs="*", type=int, default=[0, 1, 2])
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args()
    found: list[dict[str, Outcome]] = []
    for seed in options.seed:
        made = {}
        for power in POWERS:
            keys = {**BASE, "server.weight_power": power, "run.seed": seed}
            config = load_config(FILE, keys)
            field = field_of(prepare(config))
            made[f"{power:g}"] = outcome(config, field)
            print(f"seed {seed}, power {power:g}: valid {made[f'{power:g}'].valid:.4f}", flush=True)
        found.append(made)
    told = measured(field, found, config.evaluate.bootstrap)
    content = {**figures(told, found), "seeds": options.seed}
    print(json.dumps(content, indent=1))
    if options.json:
        record(options.json, {**content, "machine": describe_machine()})


if __name__ == "__main__":
    main()
