"""Measure how soon a device answers: observing an event, recommending, and saying why.

    python experiments/recommend_speed.py [--case NAME ...] [--json FILE]

The committed figures come from --json experiments/results/device/recommend_speed.json, a run
of all cases.  Models of 50,000 items with the sizes of their rows as in a run, exported and
loaded as `fedrec.load_recommender` does; their values are drawn, which changes no time.  The
weights of EASE are a dense square: 50,000 items would take 10 GB, so it is measured with
10,000 (0.4 GB), and item neighbours, which are sparse, with all.  A user has met 50 items
when measuring begins.  Times are medians (and 95th percentiles) of 30 events on one device;
where others use the machine, the time of the processor says more than the clock.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import fedrec
from fedrec.config import Config, from_flat
from fedrec.data.attributes import to_category, to_number, to_text
from fedrec.data.interactions import Catalogue, Dataset, Interactions
from fedrec.machine import describe_machine
from fedrec.models.build import build_model
from fedrec.models.export import export_model
from fedrec.models.recommender import Recommender, bound
from fedrec.params import Shared

ITEMS, MET, EVENTS = 50_000, 50, 30
Keys = dict[str, Any]
Times = list[tuple[float, float]]
"""Seconds that passed, and seconds that the processor was busy with it."""
SUMS: Keys = {"train.rounds": 1, "server.weighting": "equal", "server.rows": "sum"}
STEPS: Keys = {"train.method": "alternating", "train.optimizer": "adam"}

CASES: dict[str, Keys] = {
    "mf, closed form": {"adapt": "closed-form", **STEPS},
    "mf, local steps": {"adapt": "steps", **STEPS},
    "ease": {"items": 10_000, "model.name": "item-item", "train.method": "ease", **SUMS},
    "item-knn": {"model.name": "item-item", "train.method": "item-knn", **SUMS},
    "gru4rec": {"model.name": "gru4rec", "model.loss": "softmax", "train.method": "fedavg"},
    "sasrec": {"model.name": "sasrec", "model.loss": "softmax", "train.method": "fedavg"},
    "two-tower": {"model.name": "two-tower", "train.method": "fedavg"},
    "deepfm": {"model.name": "deepfm", "train.method": "fedavg"},
    "ncf": {"model.name": "ncf", "train.method": "fedavg"},
}


def catalogue(number: int, drawn: np.random.Generator) -> Catalogue:
    """Return items with a title, a category, a brand and a price."""
    kinds, brands = drawn.integers(40, size=number), drawn.integers(90, size=number)
    attributes = {
        "title": to_text([f"product no. {n}" for n in range(number)]),
        "category": to_category([f"kind {n}" for n in kinds]),
        "brand": to_category([f"brand {n}" for n in brands]),
        "price": to_number(np.round(drawn.lognormal(3.0, 1.0, number), 2)),
    }
    return Catalogue(np.array([f"item-{n}" for n in range(number)], dtype=object), attributes)


def values_of(
    config: Config, model: Recommender, dataset: Dataset, drawn: np.random.Generator
) -> Shared:
    """Return parameters of the sizes that a run leaves."""
    start, size = model.init_shared(dataset.items, 0), len(dataset.items)
    if config.train.method == "ease":
        return Shared({"item": drawn.standard_normal((size, size), np.float32)})
    if config.train.method == "item-knn":
        k = config.baseline.knn_k
        numbers = drawn.integers(size, size=(size, k)).astype(np.float32)
        return Shared({"item": np.concatenate([numbers, drawn.random((size, k), np.float32)], 1)})
    return start


def measure(name: str, keys: Keys, directory: Path) -> Keys:
    """Export, load and time one model."""
    number, adapt = keys.get("items", ITEMS), keys.get("adapt", "auto")
    drawn = np.random.default_rng(0)
    config = from_flat({n: v for n, v in keys.items() if "." in n})
    users = Catalogue(np.array(["u", "v"], dtype=object), {"age": to_number([30.0, 40.0])})
    rows = Interactions(np.zeros(1, np.int32), np.zeros(1, np.int32))
    dataset = Dataset("drawn", rows, catalogue(number, drawn), users)
    model = bound(build_model(config), dataset.items, dataset.users)
    shared = values_of(config, model, dataset, drawn)
    export_model(directory / "model", config, dataset, shared, {}, None, model)
    size = sum(f.stat().st_size for f in (directory / "model").iterdir())
    begin = time.perf_counter()
    recommender = fedrec.load_recommender(directory, adapt=adapt)
    loaded = time.perf_counter() - begin
    ids = recommender.items.ids[drawn.permutation(number)[: MET + EVENTS]]
    session = recommender.session(history=ids[:MET])
    session.recommend(10, explain=True)  # the first call prepares what the others share
    times: dict[str, Times] = {"observe": [], "recommend": [], "explain": []}
    for item in ids[MET:]:
        _timed(times["observe"], lambda item=item: session.observe(item))
        _timed(times["recommend"], lambda: session.recommend(10))
        _timed(times["explain"], lambda: session.recommend(10, explain=True))
    return {
        "case": name,
        "items": number,
        "how": session.how,
        "megabytes": round(size / 1e6, 1),
        "load_s": round(loaded, 2),
        **{f"{n}_ms": _summary(v) for n, v in times.items()},
    }


def _timed(times: Times, call: Callable[[], Any]) -> None:
    begin, busy = time.perf_counter(), time.process_time()
    call()
    times.append((time.perf_counter() - begin, time.process_time() - busy))


def _summary(times: Times) -> Keys:
    passed, busy = zip(*times, strict=True)
    return {
        "median": round(1e3 * statistics.median(passed), 3),
        "p95": round(1e3 * float(np.percentile(passed, 95)), 3),
        "processor": round(1e3 * statistics.median(busy), 3),
    }


def main() -> None:
    """Measure the chosen cases, print them, and write JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--case", nargs="*", choices=CASES, default=list(CASES))
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args()
    import tensorflow  # noqa: F401  (its import is no part of loading a model)

    load, rows = os.getloadavg()[0], []
    for name in options.case:
        with tempfile.TemporaryDirectory() as place:
            rows.append(measure(name, CASES[name], Path(place)))
        print(json.dumps(rows[-1]), flush=True)
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        figures = {"met": MET, "events": EVENTS, "cases": rows, "load": round(load, 1)}
        figures["machine"] = describe_machine()
        options.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
