"""Check that every engine computes the same federation.

    python experiments/engines.py [--json FILE]

The same apps train three rounds on ML-100K in one process with one node and with
seven, on Flower's Ray simulation and on a SuperLink with SuperNodes; and on 50
generated users with one client a node.  Compared is the total change of the shared
parameters, relative to that of the single node:
||change - reference|| / ||reference||.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

import fedrec
from fedrec.machine import describe_machine
from fedrec.models.export import load_model
from fedrec.training.node import init_shared, prepare

LIMIT = 1e-5
BASE = {"train.rounds": 3, "evaluate.every": 3, "evaluate.bootstrap": 0}
SMALL = {"data.name": "marketplace", "data.users": 50, "data.items": 100, "data.merchants": 2}
RUNS: dict[str, tuple[dict[str, Any], str, int]] = {
    "ml-100k, in-process, 1 node": ({}, "in-process", 1),
    "ml-100k, in-process, 7 nodes": ({}, "in-process", 7),
    "ml-100k, ray, 2 nodes": ({}, "ray", 2),
    "ml-100k, superlink, 2 nodes": ({}, "superlink", 2),
    "50 users, in-process, 1 node": (SMALL, "in-process", 1),
    "50 users, in-process, 7 nodes": (SMALL, "in-process", 7),
    "50 users, in-process, one client a node": (SMALL, "in-process", 50),
}


def change(overrides: dict[str, Any], engine: str, nodes: int) -> tuple[np.ndarray, float]:
    """Return the flat change of the shared parameters over the run, and its seconds."""
    config = fedrec.load_config(None, {**BASE, **overrides, "engine.nodes": nodes})
    with tempfile.TemporaryDirectory() as place:
        start = time.perf_counter()
        done = fedrec.run(config, engine=engine, out=Path(place) / "run")
        seconds = time.perf_counter() - start
        final = load_model(done.directory / "model").shared
    first = init_shared(prepare(config))
    parts = [final.tables[n] - first.tables[n] for n in sorted(first.tables)]
    parts += [final.weights[n] - first.weights[n] for n in sorted(first.weights)]
    return np.concatenate([part.ravel().astype(np.float64) for part in parts]), seconds


def main() -> None:
    """Run all engines, print the differences, and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args()
    reference: dict[str, np.ndarray] = {}
    rows = []
    for name, (overrides, engine, nodes) in RUNS.items():
        moved, seconds = change(overrides, engine, nodes)
        base = reference.setdefault(name.split(",")[0], moved)
        difference = float(np.linalg.norm(moved - base) / np.linalg.norm(base))
        rows.append(
            {
                "run": name,
                "engine": engine,
                "nodes": nodes,
                "seconds": seconds,
                "change_norm": float(np.linalg.norm(moved)),
                "difference": difference,
            }
        )
        verdict = "ok" if difference <= LIMIT else "OVER"
        print(
            f"{name:42} {difference:9.1e}   limit {LIMIT:g}   {verdict}   {seconds:6.1f} s",
            flush=True,
        )
    figures = {
        "limit": LIMIT,
        "rounds": BASE["train.rounds"],
        "runs": rows,
        "machine": describe_machine(),
    }
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
