"""Measure what a rounded download and low-rank adapters save, and cost in accuracy.

    python experiments/efficient.py [--case NAME ...] [--json FILE]

The committed figures come from --json experiments/results/efficient.json, a run of all cases.

First the quickstart (ML-100K, all 943 users in each of 50 rounds) with tables that are sent
in 32, 8 and 4 bits, seeds 0 to 2.  Then a model of the same settings is trained for 50
rounds on every second user alone, and a run of 20 rounds with all users begins with it: in
full, with adapters of rank 2, 4 and 8, and with a frozen table, where personal vectors alone
are trained; each with a download of 32 and of 8 bits.  What the earlier run held out, the
later one holds out too: each user's latest interaction.  Bytes are those of one client in
one round.  A frozen table is sent in every round and counted; "fixed" is its part of the
download, which a client that keeps it would save.  Intervals are bootstrap intervals over
users (of seed 0).
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from pathlib import Path
from typing import Any

import fedrec
from fedrec.config import Config
from fedrec.machine import describe_machine
from fedrec.models.export import load_model
from fedrec.params import Shared
from fedrec.training.download import download_bytes
from fedrec.training.node import prepare

FILE = Path(__file__).parent / "quickstart.toml"
METRICS = ("hr@10", "ndcg@10")
Keys = dict[str, Any]

WAYS: dict[str, Keys] = {
    "in full": {},
    "adapters of rank 8": {"model.adapter_rank": 8},
    "adapters of rank 4": {"model.adapter_rank": 4},
    "adapters of rank 2": {"model.adapter_rank": 2},
    "frozen": {"model.freeze": True},
}
LATER: Keys = {"train.rounds": 20}


def cases() -> dict[str, Keys]:
    """Return the name of each case and its keys."""
    found: dict[str, Keys] = {
        f"quickstart, {bits} bits": {"compress.download_bits": bits} for bits in (32, 8, 4)
    }
    for way, keys in WAYS.items():
        for bits in (32, 8):
            found[f"pre-trained, {way}, {bits} bits"] = {
                **LATER, **keys, "compress.download_bits": bits
            }  # fmt: skip
    return found


def half(directory: Path) -> Path:
    """Write the interactions of every second user to a file of their own."""
    dataset = prepare(fedrec.load_config(FILE)).population.split.dataset
    data, file = dataset.interactions, directory / "half.csv"
    if data.timestamp is None:
        raise SystemExit("the data have no times")
    rows = zip(data.user, data.item, data.timestamp, strict=True)
    lines = (
        f"{dataset.users.ids[user]},{dataset.items.ids[item]},{time:.0f}\n"
        for user, item, time in rows
        if user % 2
    )
    file.write_text("user,item,time\n" + "".join(lines))
    return file


def pretrain(directory: Path, **keys: Any) -> Path:
    """Train on every second user, and return the directory of the model."""
    own = {"data.name": "file", "data.path": str(half(directory)), "data.time_column": "time"}
    config = fedrec.load_config(FILE, {**own, "evaluate.bootstrap": 0, **keys})
    done = fedrec.run(config, out=directory / "earlier")
    return Path(done.directory) / "model"


def measure(name: str, keys: Keys, directory: Path, seeds: tuple[int, ...]) -> Keys:
    """Run one case with each seed."""
    runs = [
        _run(fedrec.load_config(FILE, {**keys, "run.seed": seed}), directory / f"{name} {seed}")
        for seed in seeds
    ]
    first = runs[0]
    return {
        "case": name,
        "keys": {n: v for n, v in keys.items() if n != "model.pretrained"},
        "seeds": list(seeds),
        "accuracy": {m: [run["accuracy"][m] for run in runs] for m in METRICS},
        "ci95": first["ci95"],
        **{n: first[n] for n in ("bytes_up", "bytes_down", "bytes_fixed", "selected_round")},
    }


def _run(config: Config, out: Path) -> Keys:
    done = fedrec.run(config, out=out)
    directory = Path(done.directory)
    system = json.loads((directory / "system.json").read_text())
    lines = [json.loads(line) for line in (directory / "rounds.jsonl").read_text().splitlines()]
    fixed = Shared({}, {}, load_model(directory / "model").shared.fixed)
    return {
        "accuracy": {m: round(system["metrics"]["test"]["full"][m], 4) for m in METRICS},
        "ci95": {m: [round(x, 4) for x in system["ci95"][f"test.full.{m}"]] for m in METRICS},
        "bytes_up": round(statistics.mean(line["bytes_up"] / line["clients"] for line in lines)),
        "bytes_down": round(
            statistics.mean(line["bytes_down"] / line["clients"] for line in lines)
        ),
        "bytes_fixed": download_bytes(fixed, config.compress.download_bits),
        "selected_round": system["selected_round"],
    }


def main() -> None:
    """Run the chosen cases, print them, and write JSON."""
    every = cases()
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--case", nargs="*", choices=every, default=list(every))
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as place:
        directory, earlier = Path(place), ""
        if any(name.startswith("pre-trained") for name in options.case):
            earlier = str(pretrain(directory))
        for name in options.case:
            later = name.startswith("pre-trained")
            keys = every[name] | ({"model.pretrained": earlier} if later else {})
            row = measure(name, keys, directory, (0,) if later else (0, 1, 2))
            rows.append(row)
            told = "  ".join(f"{m} {statistics.mean(row['accuracy'][m]):.4f}" for m in METRICS)
            print(f"{name:42} {told}  up {row['bytes_up']:7,}  down {row['bytes_down']:7,} of "
                  f"which fixed {row['bytes_fixed']:7,}", flush=True)  # fmt: skip
    if options.json:
        figures = {"cases": rows, "machine": describe_machine()}
        options.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
