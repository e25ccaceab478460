"""Measure what a model of another platform is worth where federated training begins.

    python experiments/transfer.py [--case NAME ...] [--seeds 0 1 2] [--json FILE]

The committed figures come from --json experiments/results/device/transfer.json, a run of all
cases and seeds.  MovieLens-100K is cut into two platforms of disjoint users: those who came
first (the older half, by their first rating), and those who came later.  On the older
platform the quickstart's model is trained for 50 rounds; the newer platform begins with it
(`model.pretrained`, items matched by their identifiers).  Its systems: from scratch; in full
(everything is trained on); low rank (the table is frozen, adapters of rank 4 are trained);
frozen (personal vectors alone are trained).  Each is tested after 1, 5, 20 and 50 rounds,
full ranking.  "half of the items": the older platform sells every second item only; rows of
the others begin fresh.  Intervals are bootstrap intervals over users (of the first seed).
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import fedrec
from fedrec.data.interactions import Dataset
from fedrec.machine import describe_machine
from fedrec.models.export import load_model
from fedrec.models.pretrained import matched
from fedrec.training.node import prepare

FILE = Path(__file__).parent / "quickstart.toml"
ROUNDS = (1, 5, 20, 50)
METRICS = ("hr@10", "ndcg@10")
Keys = dict[str, Any]
WAYS: dict[str, Keys] = {
    "in full": {},
    "low rank": {"model.adapter_rank": 4},
    "frozen": {"model.freeze": True},
}
OVERLAPS = {"all items": 1, "half of the items": 2}
SCRATCH = "from scratch"


def cases() -> dict[str, tuple[int, Keys]]:
    """Return the name of each case: every how-manieth item was sold before (0: none), keys."""
    found: dict[str, tuple[int, Keys]] = {SCRATCH: (0, {})}
    for overlap, step in OVERLAPS.items():
        for way, keys in WAYS.items():
            found[f"{overlap}, {way}"] = (step, keys)
    return found


def older_users(dataset: Dataset) -> NDArray[np.bool_]:
    """Return which users are of the older half, by their first interaction, bool [U]."""
    data = dataset.interactions
    if data.timestamp is None:
        raise SystemExit("the data have no times")
    first = np.full(dataset.num_users, np.inf)
    np.minimum.at(first, data.user, data.timestamp)
    order = np.argsort(first, kind="stable")
    older = np.zeros(dataset.num_users, bool)
    older[order[: dataset.num_users // 2]] = True
    return older


def platform(dataset: Dataset, kept: NDArray[np.bool_], file: Path) -> Path:
    """Write some interactions (bool [N]) to a file of their own."""
    data = dataset.interactions
    assert data.timestamp is not None  # noqa: S101  (`older_users` has looked)
    rows = zip(data.user[kept], data.item[kept], data.timestamp[kept], strict=True)
    lines = (
        f"{dataset.users.ids[user]},{dataset.items.ids[item]},{time:.0f}\n"
        for user, item, time in rows
    )
    file.write_text("user,item,time\n" + "".join(lines))
    return file


def own(file: Path) -> Keys:
    """Return the keys of a platform's data."""
    return {"data.name": "file", "data.path": str(file), "data.time_column": "time"}


def pretrain(file: Path, out: Path) -> Path:
    """Train on the older platform, and return the directory of its model."""
    keys = {**own(file), "train.rounds": ROUNDS[-1], "evaluate.every": ROUNDS[-1]}
    done = fedrec.run(fedrec.load_config(FILE, {**keys, "evaluate.bootstrap": 0}), out=out)
    return Path(done.directory) / "model"


def measure(keys: Keys, out: Path, seeds: Sequence[int]) -> list[Keys]:
    """Run one case for each number of rounds, with each seed."""
    found = []
    for rounds in ROUNDS:
        runs = []
        for seed in seeds:
            now = {"train.rounds": rounds, "evaluate.every": rounds, "run.seed": seed}
            config = fedrec.load_config(FILE, {**keys, **now})
            directory = Path(fedrec.run(config, out=out / f"{rounds} {seed}").directory)
            runs.append(json.loads((directory / "system.json").read_text()))
        scores = {m: [round(r["metrics"]["test"]["full"][m], 4) for r in runs] for m in METRICS}
        found.append(
            {
                "rounds": rounds,
                "accuracy": scores,
                "ci95": {
                    m: [round(x, 4) for x in runs[0]["ci95"][f"test.full.{m}"]] for m in METRICS
                },
                "bytes_up": runs[0]["cost"]["bytes_up_per_client"],
            }
        )
    return found


def known_items(keys: Keys, earlier: Path) -> tuple[int, int]:
    """Return how many items of a run an earlier model knows, and how many there are."""
    items = prepare(fedrec.load_config(FILE, keys)).population.split.dataset.items
    return len(matched(items.ids, load_model(earlier).item_ids)[0]), len(items)


def main() -> None:
    """Run the chosen cases, print them, and write JSON."""
    every = cases()
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--case", nargs="*", choices=every, default=list(every))
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 2])
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args()
    dataset = prepare(fedrec.load_config(FILE)).population.split.dataset
    older, data, rows = older_users(dataset), dataset.interactions, []
    with tempfile.TemporaryDirectory() as place:
        directory, models = Path(place), dict[int, Path]()
        newer = own(platform(dataset, ~older[data.user], directory / "newer.csv"))
        for name in options.case:
            step, keys = every[name]
            if step and step not in models:
                sold = older[data.user] & (data.item % step == 0)
                file = platform(dataset, sold, directory / f"older {step}.csv")
                models[step] = pretrain(file, directory / f"earlier {step}")
            begin = {"model.pretrained": str(models[step])} if step else {}
            found = measure({**newer, **keys, **begin}, directory / name, options.seeds)
            known = known_items(newer, models[step]) if step else (0, 0)
            rows.append({"case": name, "known_items": known, "curve": found})
            told = (f"{statistics.mean(p['accuracy']['ndcg@10']):.4f}" for p in found)
            print(f"{name:32} {'  '.join(told)}  knows {known[0]} of {known[1]}", flush=True)
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        figures = {"rounds": ROUNDS, "seeds": options.seeds, "cases": rows}
        figures["machine"] = describe_machine()
        options.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
