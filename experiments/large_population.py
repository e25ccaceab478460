"""Train and test on a population that memory does not hold: what lies where.

    python experiments/large_population.py [--users N] [--json FILE]

The committed figures come from --json experiments/results/bench/large_population.json.

A population of N users (5,000,000) is drawn and written to mapped files, then trained on
for three rounds and tested on all users, each step in a process of its own.  A thread
reads how much of the process is anonymous memory, which only swapping could free, every
10 ms; pages of mapped files are counted apart, since the system drops them when it needs
the memory.  The same with 20,000 users shows what program and libraries take.
large_file.py does the like with an own file.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from fedrec.machine import describe_machine

BASE_USERS = 20_000
STEPS = ("write", "run")


def settings(users: int, place: Path) -> dict[str, str | int | float | bool]:
    """Return the configuration of a run, whose files all lie in `place`."""
    return {
        "run.out": str(place / f"run-{users}"),
        "data.name": "zipf",
        "data.users": users,
        "data.items": 500,
        "data.events_per_user": 20.0,
        "data.store": "disk",
        "data.cache": str(place / "cache"),
        "clients.sampling": "fixed",
        "clients.per_round": 10_000,
        "model.dim": 16,
        "train.personal_store": "disk",
        "train.method": "fedavg",
        "train.rounds": 3,
        "evaluate.every": 3,
        "evaluate.clients": 10_000,
        "evaluate.sampled": 0,
        "evaluate.bootstrap": 0,
    }


class Watch(threading.Thread):
    """Reads what the process holds, until it is stopped."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peak = {"RssAnon": 0, "RssFile": 0}
        self._over = threading.Event()

    def run(self) -> None:
        """Look every 10 ms."""
        while not self._over.wait(0.01):
            for line in Path("/proc/self/status").read_text().splitlines():
                name, _, value = line.partition(":")
                if name in self.peak:
                    self.peak[name] = max(self.peak[name], int(value.split()[0]))

    def stop(self) -> dict[str, int]:
        """Return the peaks in MiB."""
        self._over.set()
        self.join()
        return {name: value >> 10 for name, value in self.peak.items()}


def step(name: str, users: int, place: Path) -> dict[str, Any]:
    """Write a population, or train and test on it, in this process."""
    from fedrec.config import load_config
    from fedrec.data.populations import load_population
    from fedrec.engine.run_engine import execute

    watch = Watch()
    watch.start()
    begin = time.monotonic()
    config = load_config(None, settings(users, place))
    population = load_population(config)
    found: dict[str, Any] = {"interactions": len(population.split.dataset.interactions)}
    if name == "run":
        execute(config)
    found["seconds"] = round(time.monotonic() - begin, 1)
    peak = watch.stop()
    return found | {"anonymous_mib": peak["RssAnon"], "mapped_mib": peak["RssFile"]}


def bytes_in(folder: Path, pattern: str) -> int:
    """Return the disk space of the files of a pattern, in MiB."""
    return sum(f.stat().st_blocks * 512 for f in folder.glob(pattern) if f.is_file()) >> 20


def measure(users: int) -> dict[str, Any]:
    """Do all steps on one population, each in a child process."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        found: dict[str, Any] = {"users": users}
        for name in STEPS:
            command = [sys.executable, __file__, "--step", name, str(users), folder]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            found[name] = json.loads(done.stdout.splitlines()[-1])
        found["population_mib"] = bytes_in(place / "cache", "zipf/*/*")
        found["personal_mib"] = bytes_in(place / f"run-{users}", "**/mapped/*/*")
    return found


def record(path: Path, figures: dict[str, Any]) -> None:
    """Put figures into a JSON file, whose other keys stay as they are."""
    path.parent.mkdir(parents=True, exist_ok=True)
    others = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    path.write_text(json.dumps(others | figures, indent=1) + "\n", encoding="utf-8")


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--users", type=int, default=5_000_000)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--step", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.step:
        name, users, place = given.step
        print(json.dumps(step(name, int(users), Path(place))))
        return
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    rows = [measure(users) for users in (BASE_USERS, given.users)]
    print("users, interactions: population; anonymous (mapped) memory and time of each step")
    for row in rows:
        told = "; ".join(
            f"{n} {row[n]['anonymous_mib']:,} ({row[n]['mapped_mib']:,}) MiB, {row[n]['seconds']} s"
            for n in STEPS
        )
        size = f"{row['users']:,}, {row['run']['interactions']:,}: {row['population_mib']:,} MiB"
        print(f"{size}; {told}")
    if given.json:
        record(given.json, {"machine": describe_machine(), "rows": rows})


if __name__ == "__main__":
    main()
