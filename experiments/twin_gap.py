"""Why is a federated recommender below its centralised twin, where it is?

    python experiments/twin_gap.py [--gap NAME ...] [--seeds N ...] [--json FILE]

The committed figures come from --json experiments/results/tuning/twin_gap.json.  For each
method that the leaderboard once showed more than 3% below its twin, the same model is
trained with one thing changed at a time: the model's settings that the twin had found, the
number of steps of the server, what the server weighs, and the twin with as few steps as the
server takes.  Every case names all keys that it sets, on top of the method's file.  Figures
are validation NDCG@10 (full ranking) at the round that it selects; the test part is not
read.  What helped is in the method's file now, and what came of it is on the leaderboard.
A case that the file holds already, with the same configuration, is not run again.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments.board.entries import Entry, read_entries
from experiments.board.search import trial_config
from experiments.twin_gap_baskets import BASKETS
from experiments.twin_gap_cases import FILMS, Case, Gap
from experiments.twin_gap_journey import JOURNEY
from fedrec.config import Config
from fedrec.data.batches import draw_samples
from fedrec.machine import describe_machine
from fedrec.output import write_atomically
from fedrec.systems import train_system
from fedrec.training.central import central_method, one_client
from fedrec.training.node import prepare

METRIC = "ndcg@10"
GAPS: tuple[Gap, ...] = (*FILMS, *JOURNEY, *BASKETS)


def steps(system: str, config: Config) -> int:
    """Return how many steps an optimiser of the shared parameters takes in the whole training.

    Args:
        system: "federated": one step a round; "centralised": one for each batch.
        config: of the training.
    """
    if system == "federated":
        return config.train.rounds
    setup = prepare(config)
    spec = central_method(setup).sampling
    pooled = draw_samples(one_client(setup.population), np.array([0]), config.run.seed, 1, spec)
    return config.central.epochs * math.ceil(len(pooled.client) / config.central.batch)


def measure(entry: Entry, data: str, case: Case, seeds: Sequence[int]) -> dict[str, Any]:
    """Train a case with every seed, and return its validation metrics and its length.

    Args:
        entry: the method.
        data: the data set.
        case: what is changed.
        seeds: of the training.
    """
    values, rounds, start = [], [], time.perf_counter()
    for seed in seeds:
        config = trial_config(entry, data, case.keys).with_({"run.seed": seed})
        with tempfile.TemporaryDirectory() as place:
            train_system(case.system, config, Path(place), "in-process", lambda event: None)
            left = json.loads((Path(place) / "system.json").read_text(encoding="utf-8"))
        values.append(round(float(left["metrics"]["valid"]["full"][METRIC]), 5))
        rounds.append(left["selected_round"])
    config = trial_config(entry, data, case.keys)
    return {
        "case": case.name,
        "system": case.system,
        "keys": case.keys,
        "config_hash": config.config_hash(),
        "seeds": list(seeds),
        "values": values,
        "selected_rounds": rounds,
        "steps": steps(case.system, config),
        "seconds": round(time.perf_counter() - start, 1),
    }


def compare(
    gap: Gap, seeds: Sequence[int], known: Sequence[dict[str, Any]]
) -> Iterator[dict[str, Any]]:
    """Yield the figures of each case; those that were measured before are kept.

    Args:
        gap: method, data and cases.
        seeds: of the training.
        known: cases that an earlier start has measured.
    """
    (entry,) = [e for e in read_entries() if e.name == gap.method and not e.leaky]
    marked = {(c["config_hash"], c["system"], *c["seeds"]): c for c in known}
    for case in gap.cases:
        mark = trial_config(entry, gap.data, case.keys).config_hash()
        row = marked.get((mark, case.system, *seeds)) or measure(entry, gap.data, case, seeds)
        shown = " ".join(f"{value:.4f}" for value in row["values"])
        print(f"{gap.method:10} {case.name:52} {row['steps']:6,} steps  {shown}", flush=True)
        yield {**row, "case": case.name}


def main(arguments: list[str] | None = None) -> None:
    """Compare the chosen methods, print figures, and write JSON after each case."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    names = [gap.name for gap in GAPS]
    parser.add_argument("--gap", nargs="*", choices=names, default=names)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args(arguments)
    told: dict[str, list[dict[str, Any]]] = {}
    if options.json and options.json.is_file():
        told = json.loads(options.json.read_text(encoding="utf-8"))["gaps"]
    for gap in (g for g in GAPS if g.name in options.gap):
        known, told[gap.name] = told.get(gap.name, []), []
        for row in compare(gap, options.seeds, known):
            told[gap.name].append(row)
            if options.json:  # what is not measured anew yet is kept
                rest = [c for c in known if c["case"] not in {r["case"] for r in told[gap.name]}]
                gaps = {**told, gap.name: [*told[gap.name], *rest]}
                figures = {"gaps": gaps, "machine": describe_machine()}
                write_atomically(options.json, json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
