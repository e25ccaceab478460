"""Closed form with ten thousand items: is the federated model still the centralised one?

    python experiments/closed_form.py [--case NAME ...] [--json FILE]

The committed figures come from --json experiments/results/bench/closed_form.json, which a
case is added to as soon as it is measured.

Users and items by Zipf's law.  Each case has a process of its own, in which the apps run:
clients send their pairs in so many blocks of rows, in clear or masked, the server solves,
and all users are ranked for.  Then the centralised model is fitted on the same interactions
in the same process.  "difference" is the largest difference of an element of the model over
the largest element of the centralised one; at most 1e-6 is promised.  Memory is the peak of
the process until the federated run ends, clients and server together.  Other work ran beside
it, so seconds are processor seconds, of one thread.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.large_population import record
from fedrec.config import Config, load_config
from fedrec.machine import describe_machine

LIMIT = 1e-6
"""Relative difference from the centralised model that is promised."""

BASE: dict[str, Any] = {
    "data.name": "zipf",
    "data.items": 10_000,
    "data.users": 20_000,
    "data.events_per_user": 30.0,
    "model.name": "item-item",
    "server.rows": "sum",
    "evaluate.sampled": 0,
    "evaluate.bootstrap": 0,
}
MASKED: dict[str, Any] = {
    "data.users": 12,
    "secure.mode": "semi-honest",
    "secure.bits": 2,
    "secure.clip": 1.5,
}


@dataclass(frozen=True)
class Case:
    """One setting.

    Attributes:
        method: "ease" or "item-knn".
        blocks: rounds that the sum is spread over.
        keys: on top of `BASE`.
    """

    method: str
    blocks: int = 1
    keys: dict[str, Any] = field(default_factory=dict)

    def config(self, place: Path) -> Config:
        """Return its configuration, which writes into `place`."""
        blocks = {"train.rounds": self.blocks, "evaluate.every": self.blocks}
        own = {"train.method": self.method, **blocks, "server.checkpoint_every": self.blocks}
        return load_config(None, {**BASE, **own, **self.keys, "run.out": str(place)})


CASES = {
    "EASE, 8 blocks": Case("ease", 8),
    "item-knn, 8 blocks": Case("item-knn", 8),
    "item-knn, masked, 16 blocks": Case("item-knn", 16, MASKED),
}


def centralised(config: Config) -> NDArray[np.float32]:
    """Return the model that is fitted on all interactions in one place."""
    from scipy.sparse import csr_matrix

    from fedrec.training.ease import ease_weights, gram_matrix
    from fedrec.training.gram import as_table
    from fedrec.training.neighbours import similarity
    from fedrec.training.node import prepare

    people, own = prepare(config).population, config.baseline
    shape = (people.num_users, people.num_items)
    train = csr_matrix((people.labels, people.items, people.indptr), shape)
    if config.train.method == "ease":
        return ease_weights(gram_matrix(train), own.ease_l2)
    return as_table(
        similarity(train.T.tocsr(), own.knn_k, own.knn_shrink, centred=False), own.knn_k
    )


def measure(name: str) -> dict[str, Any]:
    """Run a case and its centralised twin in this process."""
    from fedrec.engine.run_engine import execute
    from fedrec.storage import RunDirectory, read_arrays
    from fedrec.training.node import prepare

    with tempfile.TemporaryDirectory() as folder:
        config = CASES[name].config(Path(folder))
        people = prepare(config).population
        begin = time.process_time()
        execute(config)
        spent = time.process_time() - begin
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
        files = RunDirectory(Path(folder))
        lines = [json.loads(line) for line in files.rounds.read_text().splitlines()]
        ours = read_arrays(files.checkpoint)[0]["shared/table.item"]
    begin = time.process_time()
    twin = centralised(config)
    alone = time.process_time() - begin
    largest = float(np.abs(ours - twin).max() / np.abs(twin).max())
    return {
        "case": name,
        "users": people.num_users,
        "items": people.num_items,
        "interactions": int(people.indptr[-1]),
        "blocks": config.train.rounds,
        "secure": config.secure.mode,
        "difference": largest,
        "cpu_s": round(spent, 1),
        "centralised_cpu_s": round(alone, 1),
        "peak_rss_mib": peak,
        "bytes_up_per_client": round(sum(x["bytes_up"] for x in lines) / people.num_clients),
    }


def main() -> int:
    """Measure the chosen cases.

    Returns:
        0, or 1 if a model is not the centralised one.
    """
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--case", nargs="*", choices=CASES, default=list(CASES))
    parser.add_argument("--json", type=Path, help="add the figures to this file")
    parser.add_argument("--step", choices=CASES, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.step:
        print(json.dumps(measure(given.step)))
        return 0
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    far = []
    for name in given.case:
        command = [sys.executable, "-m", "experiments.closed_form", "--step", name]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        row = json.loads(done.stdout.splitlines()[-1])
        print(row, flush=True)
        far += [name] if row["difference"] > LIMIT else []
        if given.json:
            record(given.json, {name: row, "limit": LIMIT, "machine": describe_machine()})
    for name in far:
        print(f"{name}: the federated model is not the centralised one", file=sys.stderr)
    return int(bool(far))


if __name__ == "__main__":
    sys.exit(main())
