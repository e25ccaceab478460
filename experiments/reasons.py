"""Do shares to first order name the reasons that training anew without each item would name?

    python experiments/reasons.py [--json FILE]

The committed figures come from --json experiments/results/device/reasons.json.  Three models
of MovieLens-100K are trained for some rounds; for 60 users, with 8 to 60 of their latest
items as the history of a session, the ten best items are explained both ways: by influence
(`fedrec/serving/influence.py`), and by training the user's part anew without each of the ten
latest items.  "agreement" is Spearman's rank correlation of the two over these ten, "first" how
often both name the same item first, "among three" how often influence's first is one of the
three that training anew loses most without, and "faster" the ratio of medians of times.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

import fedrec
from fedrec.config import from_flat
from fedrec.data.load import load_dataset
from fedrec.machine import describe_machine
from fedrec.serving.load import LoadedRecommender
from fedrec.serving.trained import MOST, Trained

HERE = Path(__file__).parent
USERS, FEWEST, MOST_MET = 60, 8, 60
STEPS = {"train.rounds": 40, "evaluate.every": 40, "evaluate.bootstrap": 0}
CASES: dict[str, dict[str, Any]] = {
    "ncf": {},
    "mf": {"model.name": "mf", "model.dim": 32},
    "two-tower": {"model.name": "two-tower", "model.dim": 32},
}
Keys = dict[str, Any]


def train(case: str, directory: Path) -> LoadedRecommender:
    """Train a model for some rounds and load it as a device does."""
    keys = {"run.seed": 0, **STEPS, **CASES[case]}
    fedrec.run(fedrec.load_config(HERE / "ncf.toml", keys), out=directory)
    return fedrec.load_recommender(directory)


def histories(drawn: np.random.Generator) -> list[list[str]]:
    """Return the latest items of some users, in the order of time."""
    data = load_dataset(from_flat({"data.name": "ml-100k"}))
    rows, found = data.interactions, []
    when = cast("NDArray[np.float64]", rows.timestamp)
    for user in drawn.choice(len(data.users), USERS, replace=False):
        own = np.flatnonzero(rows.user == user)
        latest = own[np.argsort(when[own], kind="stable")][-int(drawn.integers(FEWEST, MOST_MET)) :]
        found.append([str(data.items.ids[at]) for at in rows.item[latest]])
    return found


def measure(case: str, directory: Path) -> Keys:
    """Explain the best items of some users both ways."""
    recommender = train(case, directory)
    agreed: list[float] = []
    first: list[bool] = []
    three: list[bool] = []
    times: dict[str, list[float]] = {"influence": [], "anew": []}
    for history in histories(np.random.default_rng(0)):
        session = recommender.session(history=[i for i in history if recommender.knows(i)])
        model, state, past = cast("Trained", session._adaptation), session._state, session._past
        items = np.array([recommender.items.place[r.item] for r in session.recommend(10)])
        for _ in range(2):  # the first of a size prepares what the second is timed with
            begin = time.perf_counter()
            told = model.shares(state, past, items).history[:, -MOST:]
            middle = time.perf_counter()
            lost = model.left_out(state, past, items)[:, -MOST:]
            end = time.perf_counter()
        times["influence"].append(middle - begin)
        times["anew"].append(end - middle)
        agreed += [spearmanr(a, b).statistic for a, b in zip(told, lost, strict=True)]
        best = told.argmax(1)
        first += list(best == lost.argmax(1))
        three += list(lost[np.arange(len(best)), best] >= np.sort(lost, 1)[:, -3])
    middle_of = {n: float(np.median(v)) for n, v in times.items()}
    return {
        "case": case,
        "agreement": round(float(np.nanmean(agreed)), 3),
        "first": round(float(np.mean(first)), 3),
        "among_three": round(float(np.mean(three)), 3),
        "influence_ms": round(1e3 * middle_of["influence"], 1),
        "anew_ms": round(1e3 * middle_of["anew"], 1),
        "faster": round(middle_of["anew"] / middle_of["influence"], 1),
    }


def main() -> None:
    """Measure the chosen cases, print them, and write JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--case", nargs="*", choices=CASES, default=list(CASES))
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args()
    rows = []
    for name in options.case:
        with tempfile.TemporaryDirectory() as place:
            rows.append(measure(name, Path(place)))
        print(json.dumps(rows[-1]), flush=True)
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        figures = {"cases": rows, "users": USERS, "machine": describe_machine()}
        options.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
