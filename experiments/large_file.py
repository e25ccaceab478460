"""Train on an own file that memory does not hold: what lies where, and what memory would take.

    python experiments/large_file.py [--users N] [--interactions N] [--json FILE]

The committed figures come from --json experiments/results/bench/large_population.json, of
which this is the key "file"; large_population.py measures generated users.

A parquet file is drawn a piece at a time: 30,000,000 rows in the order of time, users
uniform, items by Zipf's law.  Each step has a process of its own.  "lay out" reads, cleans,
sorts and splits the file into mapped files; "disk" finds them in the cache and trains one
round of 1,000 clients; "memory" reads the file as a whole and does the same.  Both rounds
must give the same update.  The same with a small file shows what program and libraries take.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from experiments.large_population import Watch, bytes_in, record
from fedrec.config import Config, load_config
from fedrec.machine import describe_machine
from fedrec.rng import NO_CLIENT, Purpose, generator

BASE = (2_000, 160_000)
"""Users and interactions of the small file."""

ITEMS = 50_000
CLIENTS = 1_000
PIECE = 1 << 20
STEPS = ("generate", "lay out", "disk", "memory")


def settings(place: Path, store: str) -> Config:
    """Return the configuration of a step, whose files all lie in `place`."""
    return load_config(
        None,
        {
            "data.name": "file",
            "data.path": str(place / "rows.parquet"),
            "data.time_column": "when",
            "data.store": store,
            "data.cache": str(place / "cache"),
            "model.dim": 16,
            "train.method": "fedavg",
        },
    )


def generate(path: Path, users: int, interactions: int) -> None:
    """Write a file of rows, a piece at a time."""
    import pyarrow as pa
    from pyarrow import parquet

    chance = np.cumsum(1.0 / np.arange(1, ITEMS + 1))
    kinds = pa.schema([("user", pa.int32()), ("item", pa.int32()), ("when", pa.int64())])
    with parquet.ParquetWriter(path, kinds) as file:
        for first in range(0, interactions, PIECE):
            rows = min(PIECE, interactions - first)
            draw = generator(0, first, NO_CLIENT, Purpose.SYNTHETIC)
            user = draw.integers(users, size=rows, dtype=np.int32)
            item = np.searchsorted(chance, draw.random(rows) * chance[-1]).astype(np.int32)
            when = 1_600_000_000 + np.arange(first, first + rows)
            file.write_table(pa.table([user, item, when], schema=kinds))


def train(config: Config, update: Path) -> dict[str, float]:
    """Train one round, write the change of the item table; return seconds and interactions."""
    from fedrec.training.node import init_personal, init_shared, prepare, train_node

    begin = time.monotonic()
    setup = prepare(config)
    loaded = time.monotonic()
    everyone = setup.population.num_clients
    draw = generator(config.run.seed, 1, NO_CLIENT, Purpose.SAMPLING)
    clients = np.sort(draw.choice(everyone, min(CLIENTS, everyone), replace=False))
    shared, personal = init_shared(setup), init_personal(setup, clients)
    total, _ = train_node(setup, shared, personal, clients, 1)
    np.save(update, total.tables["item"].dense(setup.population.num_items))
    return {
        "interactions": len(setup.population.split.dataset.interactions),
        "load_s": round(loaded - begin, 1),
        "round_s": round(time.monotonic() - loaded, 1),
    }


def step(name: str, users: int, interactions: int, place: Path) -> dict[str, Any]:
    """Do one step in this process."""
    watch = Watch()
    watch.start()
    begin = time.monotonic()
    found: dict[str, Any] = {}
    if name == "generate":
        generate(place / "rows.parquet", users, interactions)
    elif name == "lay out":
        from fedrec.data.populations import load_population

        load_population(settings(place, "disk"))
    else:
        found |= train(settings(place, name), place / f"{name}.npy")
    found["seconds"] = round(time.monotonic() - begin, 1)
    peak = watch.stop()
    return found | {"anonymous_mib": peak["RssAnon"], "mapped_mib": peak["RssFile"]}


def measure(users: int, interactions: int) -> dict[str, Any]:
    """Do all steps on one file, each in a child process."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        found: dict[str, Any] = {"users": users, "rows": interactions}
        for name in STEPS:
            told = [name, str(users), str(interactions), folder]
            command = [sys.executable, __file__, "--step", *told]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            found[name] = json.loads(done.stdout.splitlines()[-1])
        found["file_mib"] = bytes_in(place, "rows.parquet")
        found["population_mib"] = bytes_in(place / "cache", "file/population-*/*")
        mapped, read = (np.load(place / f"{name}.npy") for name in ("disk", "memory"))
    found["difference"] = float(np.linalg.norm(mapped - read) / np.linalg.norm(read))
    return found


def main() -> None:
    """Measure, and print a line for each file."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--users", type=int, default=500_000)
    parser.add_argument("--interactions", type=int, default=30_000_000)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--step", nargs=4, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.step:
        name, users, interactions, place = given.step
        print(json.dumps(step(name, int(users), int(interactions), Path(place))))
        return
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    rows = [measure(*size) for size in (BASE, (given.users, given.interactions))]
    print("rows of the file: anonymous (mapped) memory and time of each step")
    for row in rows:
        told = "; ".join(
            f"{n} {row[n]['anonymous_mib']:,} ({row[n]['mapped_mib']:,}) MiB, {row[n]['seconds']} s"
            for n in STEPS
        )
        print(f"{row['rows']:,}: {told}; updates differ by {row['difference']:.1e}")
    if given.json:
        record(given.json, {"file": {"machine": describe_machine(), "rows": rows}})


if __name__ == "__main__":
    main()
