"""Do sessions on a device recommend as well as the clients of the run did?

    python experiments/sessions.py [--case NAME ...] [--json FILE]

The committed figures come from --json experiments/results/device/sessions.json, a run of all
cases.  A system is trained on MovieLens-100K (seed 0) and tested as always.  Then its
exported model alone is loaded, each user's training items are the history of a session
(`fedrec.load_recommender(...).session(history=...)`), and the session's scores are tested on
the same held-out items, full ranking.  Clients of the run had 50 rounds to train their
vectors; a session has the history and some milliseconds.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import fedrec
from fedrec.evaluation.summary import summarise
from fedrec.machine import describe_machine
from fedrec.training.node import Setup, evaluate_scorer, prepare

HERE = Path(__file__).parent
METRICS = ("hr@10", "ndcg@10")
CASES: dict[str, tuple[str, str]] = {
    "mf, local steps": ("quickstart", "steps"),
    "mf, closed form": ("quickstart", "closed-form"),
    "ials": ("ials", "auto"),
    "ease": ("ease", "auto"),
    "item-knn": ("item_knn", "auto"),
}
"""Name -> experiment file, how sessions adapt."""


def session_figures(setup: Setup, directory: Path, adapt: str) -> dict[str, Any]:
    """Return the test figures of sessions over a finished run, and their median time."""
    recommender = fedrec.load_recommender(directory, adapt=adapt)
    population, ids = setup.population, recommender.items.ids
    users, seconds = population.test.users, []

    def score(wanted: NDArray[np.int64]) -> NDArray[np.float32]:
        rows = []
        for user in wanted:
            met = population.items[population.indptr[user] : population.indptr[user + 1]]
            begin = time.perf_counter()
            rows.append(recommender.session(history=ids[met]).scores())
            seconds.append(time.perf_counter() - begin)
        return np.stack(rows)

    bootstrap = setup.config.evaluate.bootstrap
    sums = evaluate_scorer(setup, score, users, "test", bootstrap=bootstrap)
    metrics, ci95 = summarise(setup.config, population, sums, "test")
    return {
        "accuracy": {m: round(metrics["full"][m], 4) for m in METRICS},
        "ci95": {m: [round(x, 4) for x in ci95[f"test.full.{m}"]] for m in METRICS},
        "session_ms": round(1e3 * float(np.median(seconds)), 3),
    }


def measure(name: str, directory: Path, **keys: Any) -> dict[str, Any]:
    """Train one case's system, unless it is there already, and test its sessions."""
    file, adapt = CASES[name]
    config = fedrec.load_config(HERE / f"{file}.toml", {"run.seed": 0, **keys})
    out = directory / file
    if not (out / "system.json").is_file():
        fedrec.run(config, out=out)
    system = json.loads((out / "system.json").read_text())
    return {
        "case": name,
        "run": {
            "accuracy": {m: round(system["metrics"]["test"]["full"][m], 4) for m in METRICS},
            "ci95": {m: [round(x, 4) for x in system["ci95"][f"test.full.{m}"]] for m in METRICS},
        },
        **session_figures(prepare(config), out, adapt),
    }


def main() -> None:
    """Run the chosen cases, print them, and write JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--case", nargs="*", choices=CASES, default=list(CASES))
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as place:
        for name in options.case:
            rows.append(measure(name, Path(place)))
            print(json.dumps(rows[-1]), flush=True)
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        figures = {"cases": rows, "machine": describe_machine()}
        options.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
