"""Do a graph of items and a contrast of views help? Three seeds, paired over users.

    python experiments/regularisers.py [--set NAME ...] [--json FILE]

The committed figures come from --json experiments/results/regularisers.json, which a set is
added to as soon as it is measured.

Each set is an experiment file with some strengths of one key, all else as the file says.
Nothing is chosen: every strength is validated and tested, and its test differs from that of
strength 0 by so much, with Holm's correction over the set.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from experiments.large_population import record
from fedrec.config import load_config
from fedrec.evaluation.bootstrap import compare_all
from fedrec.evaluation.sums import intervals, means, merge
from fedrec.machine import describe_machine
from fedrec.systems import read_sums, train_system

HERE = Path(__file__).parent
SEEDS = (0, 1, 2)
METRICS = ("full.ndcg@10", "full.hr@10")
NONE = 0.0


@dataclass(frozen=True)
class Set:
    """Strengths of one key.

    Attributes:
        file: experiment file.
        key: that is varied.
        strengths: its values, 0 first.
        keys: on top of the file.
    """

    file: str
    key: str
    strengths: tuple[float, ...]
    keys: dict[str, Any] = field(default_factory=dict)


MARKET: dict[str, Any] = {"data.name": "marketplace", "data.users": 800, "data.items": 300}
SETS = {
    "graph of genres, MF, ML-100K": Set("item_graph", "server.graph_l2", (NONE, 1.0, 10.0, 30.0)),
    "contrast, GRU4Rec, marketplace": Set(
        "gru4rec", "model.contrast", (NONE, 0.1), {**MARKET, "train.rounds": 30}
    ),
}


def measure(name: str) -> dict[str, Any]:
    """Run a set with all its strengths and seeds."""
    chosen, rows, sums = SETS[name], {}, {}
    for strength in chosen.strengths:
        valid, tested = [], []
        for seed in SEEDS:
            keys = {**chosen.keys, chosen.key: strength, "run.seed": seed, "evaluate.sampled": 0}
            config = load_config(HERE / f"{chosen.file}.toml", keys)
            with tempfile.TemporaryDirectory() as place:
                train_system("federated", config, Path(place), "in-process", lambda event: None)
                left = json.loads((Path(place) / "system.json").read_text(encoding="utf-8"))
                tested.append(read_sums(Path(place) / "test_sums.npz"))
            valid.append(left["metrics"]["valid"]["full"]["ndcg@10"])
        sums[f"{strength:g}"] = merge(tested)
        ends, mean = intervals(sums[f"{strength:g}"]), means(sums[f"{strength:g}"])
        rows[f"{strength:g}"] = {
            "valid": valid,
            "test": {m: mean[m] for m in METRICS},
            "ci95": {m: list(ends[m]) for m in METRICS},
        }
        print(f"{name}, {strength:g}: {rows[f'{strength:g}']}", flush=True)
    first, *others = rows
    for metric in METRICS:
        for own, pair in compare_all(sums[first], {n: sums[n] for n in others}, metric).items():
            ends4 = [-pair.difference, -pair.high, -pair.low, pair.p_value]
            rows[own].setdefault("against_none", {})[metric] = ends4
    return {"key": chosen.key, "file": chosen.file, "seeds": len(SEEDS), "strengths": rows}


def main() -> None:
    """Measure the chosen sets, and write JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--set", nargs="*", choices=SETS, default=list(SETS))
    parser.add_argument("--json", type=Path, help="add the figures to this file")
    options = parser.parse_args()
    for name in options.set:
        found = measure(name)
        if options.json:
            record(options.json, {name: found, "machine": describe_machine()})


if __name__ == "__main__":
    main()
