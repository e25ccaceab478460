"""Measure what the row modes of secure aggregation and compression cost and save.

    python experiments/secure_rows.py [--case NAME ...] [--json FILE]

The committed figures come from --json experiments/results/secure/rows.json, a run of all
cases.  Each is experiments/secure.toml (ML-100K, 100 users a round, 50 rounds) with the
keys that are named, evaluated once, after the last round, so that all stand on the same
number of rounds.  Bytes are those of one client in one round, mean over rounds; seconds
those of a round without evaluation by the clock, median, and of the processor for the
whole run.  Singletons are measured in the first round: rows of
the sum with one contributor, as a share of its touched rows; clients that have such a
row; and interactions of theirs that lie on one.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import fedrec
from fedrec.machine import describe_machine

FILE = Path(__file__).parent / "secure.toml"
BASE: dict[str, Any] = {"evaluate.every": 50, "evaluate.clients": 100, "evaluate.bootstrap": 0}
CASES: dict[str, dict[str, Any]] = {
    "in clear": {"secure.mode": "off"},
    "in clear, 8 bits": {"secure.mode": "off", "compress.bits": 8},
    "in clear, rank 8": {"secure.mode": "off", "compress.rank": 8},
    "in clear, 50 largest rows": {"secure.mode": "off", "compress.rows": 50},
    "dense, 20 bits": {},
    "dense, 8 bits": {"secure.bits": 8},
    "union": {"secure.rows": "union"},
    "union, 50 largest rows": {"secure.rows": "union", "compress.rows": 50},
    "threshold 5": {"secure.rows": "threshold"},
    "threshold 5, 50 largest rows": {"secure.rows": "threshold", "compress.rows": 50},
    "low rank 4": {"secure.rows": "low-rank", "secure.rank": 4},
    "low rank 8": {"secure.rows": "low-rank", "secure.rank": 8},
    "low rank 16": {"secure.rows": "low-rank", "secure.rank": 16},
}


def measure(name: str) -> dict[str, Any]:
    """Run one case."""
    config = fedrec.load_config(FILE, {**BASE, **CASES[name]})
    with tempfile.TemporaryDirectory() as place:
        start, cpu = time.perf_counter(), time.process_time()
        done = fedrec.run(config, out=Path(place) / "run")
        seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
        lines = (done.directory / "rounds.jsonl").read_text().splitlines()
        system = json.loads((done.directory / "system.json").read_text())
    rounds = [json.loads(line) for line in lines]
    chosen = config.clients.per_round
    clipped = [line["secure"]["clipped"] or 0 for line in rounds if "secure" in line]
    return {
        "case": name,
        "keys": CASES[name],
        "accuracy": {
            metric: round(system["metrics"]["test"]["full"][metric], 4)
            for metric in ("hr@10", "ndcg@10")
        },
        "bytes_up": round(statistics.mean(line["bytes_up"] for line in rounds) / chosen),
        "bytes_down": round(statistics.mean(line["bytes_down"] for line in rounds) / chosen),
        "round_s": round(statistics.median(_training(line) for line in rounds), 3),
        "cpu_s": round(cpu, 1),
        "seconds": round(seconds, 1),
        "clipped_elements": sum(clipped),
        "skipped": sum(line["skipped"] is not None for line in rounds),
        "exposure": system["privacy"].get("exposure"),
    }


def _training(line: dict[str, Any]) -> float:
    return float(sum(line["phases"][phase] for phase in ("sample", "train", "aggregate")))


def save(file: Path, row: dict[str, Any]) -> None:
    """Put one case into a file of figures, in place of an older one of the same name."""
    file.parent.mkdir(parents=True, exist_ok=True)
    known = json.loads(file.read_text())["cases"] if file.exists() else []
    rows = {one["case"]: one for one in [*known, row]}
    cases = [rows[name] for name in CASES if name in rows]
    figures = {"base": BASE, "cases": cases, "machine": describe_machine()}
    file.write_text(json.dumps(figures, indent=1) + "\n")


def main() -> None:
    """Run the chosen cases, print them, and write JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--case", nargs="*", choices=CASES, default=list(CASES))
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args()
    for name in options.case:
        row = measure(name)
        told = row["exposure"] or {}
        print(
            f"{name:30} HR@10 {row['accuracy']['hr@10']:.4f}  NDCG@10 "
            f"{row['accuracy']['ndcg@10']:.4f}  up {row['bytes_up']:9,}  down "
            f"{row['bytes_down']:9,}  round {row['round_s']:.2f} s  singletons "
            f"{told.get('rows', float('nan')):.1%} of rows",
            flush=True,
        )
        if options.json:
            save(options.json, row)


if __name__ == "__main__":
    main()
