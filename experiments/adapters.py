"""Do low-rank adapters beat a frozen table, once their learning rates are chosen?

    python experiments/adapters.py [--json FILE]

The committed figures come from --json experiments/results/adapters.json.

As in efficient.py a model is trained on every second user of ML-100K for 50 rounds, and a run
of 20 rounds with all users begins with it.  There all ways share the learning rates of the
quickstart, which were chosen for training in full.  Here each way has its own: all of `SPACES`
with seed 0, by validation NDCG@10; then three seeds are run with the best and tested.
Differences from the frozen table are paired over users, with Holm's correction.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from itertools import product
from pathlib import Path
from typing import Any

from experiments.efficient import FILE, LATER, pretrain
from fedrec.config import load_config
from fedrec.evaluation.bootstrap import compare_all
from fedrec.evaluation.sums import EvaluationSums, intervals, means, merge
from fedrec.machine import describe_machine
from fedrec.systems import read_sums, train_system

Keys = dict[str, Any]

ROWS: Keys = {"server.table_lr": (0.05, 0.01, 0.002)}
BOTH: Keys = {"server.table_lr": (0.05, 0.01), "server.weight_lr": (0.01, 0.001)}
WAYS: dict[str, tuple[Keys, Keys]] = {
    "frozen": ({"model.freeze": True}, {}),
    "adapters of rank 2": ({"model.adapter_rank": 2}, BOTH),
    "adapters of rank 8": ({"model.adapter_rank": 8}, BOTH),
    "in full": ({}, ROWS),
}
"""Way -> its keys, and what is searched; the first is what the others are compared with."""

SEEDS = (0, 1, 2)
METRICS = ("full.ndcg@10", "full.hr@10")


def run(keys: Keys) -> tuple[Keys, EvaluationSums]:
    """Run the federated system; return its system.json and the sums of its test."""
    config = load_config(FILE, {**LATER, "evaluate.sampled": 0, **keys})
    config = config.with_({"server.checkpoint_every": config.train.rounds})
    with tempfile.TemporaryDirectory() as place:
        train_system("federated", config, Path(place), "in-process", lambda event: None)
        left = json.loads((Path(place) / "system.json").read_text(encoding="utf-8"))
        return left, read_sums(Path(place) / "test_sums.npz")


def search(way: str, earlier: str) -> list[Keys]:
    """Return the settings of a way with their validation NDCG@10."""
    own, space = WAYS[way]
    tried = []
    for values in product(*space.values()):
        settings = dict(zip(space, values, strict=True))
        keys = {**own, **settings, "model.pretrained": earlier, "evaluate.bootstrap": 0}
        left, _ = run(keys)
        tried.append({"settings": settings, "valid": left["metrics"]["valid"]["full"]["ndcg@10"]})
        print(f"{way}: {tried[-1]}", flush=True)
    return tried


def measure(way: str, earlier: str) -> tuple[Keys, EvaluationSums]:
    """Choose the settings of a way, and test them with every seed."""
    tried = search(way, earlier)
    chosen = max(tried, key=lambda t: t["valid"])["settings"]
    keys = {**WAYS[way][0], **chosen, "model.pretrained": earlier}
    runs = [run({**keys, "run.seed": seed}) for seed in SEEDS]
    sums = merge([tested for _, tested in runs])
    ends = intervals(sums)
    told = {
        "way": way,
        "settings": chosen,
        "tried": tried,
        "selected_round": [left["selected_round"] for left, _ in runs],
        "bytes_up_per_client": runs[0][0]["cost"]["bytes_up_per_client"],
        "test": {m: means(sums)[m] for m in METRICS},
        "ci95": {m: list(ends[m]) for m in METRICS},
    }
    print(way, told["test"], flush=True)
    return told, sums


def main() -> None:
    """Measure all ways, print them, and write JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args()
    rows, sums = [], {}
    with tempfile.TemporaryDirectory() as place:
        earlier = str(pretrain(Path(place)))
        for way in WAYS:
            told, sums[way] = measure(way, earlier)
            rows.append(told)
    first, *others = WAYS
    for metric in METRICS:
        for way, pair in compare_all(sums[first], {w: sums[w] for w in others}, metric).items():
            row = next(r for r in rows if r["way"] == way)
            ends = [-pair.difference, -pair.high, -pair.low, pair.p_value]
            row.setdefault("against_frozen", {})[metric] = ends
    if options.json:
        figures = {"ways": rows, "seeds": len(SEEDS), "machine": describe_machine()}
        options.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
