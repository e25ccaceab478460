"""What all peer runners share: the exported workload, and how they answer.  NumPy only.

Each runner is called as ``python RUNNER.py WORKLOAD.npz ANSWER.npz ROUNDS`` by the
interpreter of its own environment, where fedrec is not installed.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

Arrays = dict[str, Any]


@dataclass
class Work:
    """An exported workload (see `fedrec.bench.export`).

    Attributes:
        arrays: as exported.
        hyper: its hyper-parameters.
        rounds: how many to train, the first for warming up.
    """

    arrays: Arrays
    hyper: dict[str, Any]
    rounds: int

    def samples(self, client: int) -> tuple[Any, Any]:
        """Return items int32 [n] and labels float32 [n] of a client, in training order."""
        first, last = self.arrays["sample_indptr"][client : client + 2]
        return self.arrays["sample_item"][first:last], self.arrays["sample_label"][first:last]

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the dense layers, from the input to the output; none for "mf"."""
        kernels = [n for n in self.arrays if n.startswith("weights/") and n.endswith("/kernel")]
        return tuple(n.removeprefix("weights/").removesuffix("/kernel") for n in kernels)


def read_file(file: str, rounds: int) -> Work:
    """Return an exported workload."""
    with np.load(file) as saved:
        arrays = {name: saved[name] for name in saved.files}
    hyper = json.loads(str(arrays.pop("hyper")))
    return Work(arrays, hyper, rounds)


def read_work() -> tuple[Work, Path]:
    """Return the workload and the place of the answer, from the command line."""
    return read_file(sys.argv[1], int(sys.argv[3])), Path(sys.argv[2])


def time_rounds(work: Work, run: Callable[[int], Any]) -> tuple[list[float], Any]:
    """Train round after round.

    Args:
        work: the workload.
        run: trains a round, counted from 0, and returns its mean update.

    Returns:
        Seconds of each round, and what the first returned.
    """
    seconds, first = [], None
    for number in range(work.rounds):
        start = time.perf_counter()
        update = run(number % len(work.arrays["chosen"]))
        seconds.append(time.perf_counter() - start)
        if number == 0:
            first = {name: np.array(value) for name, value in update.items()}
    return seconds, first


def answer(file: Path, seconds: list[float], update: Arrays, versions: dict[str, str]) -> None:
    """Write what was measured.

    Args:
        file: where to.
        seconds: of each round.
        update: "table" [I, d] and "weights/NAME": the mean update of the first round.
        versions: package -> version.
    """
    told = {"seconds": np.array(seconds), "versions": np.array(json.dumps(versions))}
    np.savez(file, **told, **update)
