"""How much time is saved where what items bring into a score is worked out once an item?

    python experiments/still_speed.py [--json FILE]

The committed figures come from --json experiments/results/bench/still.json.

In phases of personal parameters alone, towers, DeepFM and NCF are trained over tables of what
items bring (`fedrec.training.still`); the one gradient of what is shared is summed over the
clients in terms of these tables, and pulled back once (`fedrec.training.pulled`).  A round of
the method's file in experiments/leaderboard, up to the sum of the updates, on every ninth block
of clients of both data sets, is timed with that and without it, in turns, after a turn of each
that compiles; the least of `TURNS` counts.  Both train the same samples.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from experiments.board.entries import read_entries
from fedrec.machine import describe_machine
from fedrec.training.aggregate import partial_sum, weight_exponent
from fedrec.training.node import (
    Setup,
    init_personal,
    init_shared,
    prepare,
    train_block,
    training_blocks,
)

METHODS = ("two_tower", "deepfm", "ncf")
DATA = ("ml-100k", "complete-journey")
TURNS, EVERY = 3, 9


def plain(model: Any) -> Any:
    """Return the same model of a class that has no such form."""

    class Plain(type(model)):  # type: ignore[misc]
        """The same."""

    return Plain(**{f.name: getattr(model, f.name) for f in fields(model)})


def seconds(setup: Setup) -> float:
    """Return the time of a round of some blocks, and of the sum of their updates."""
    shared = init_shared(setup)
    blocks = list(training_blocks(setup, np.arange(setup.population.num_clients)))[::EVERY]
    every = [(block, init_personal(setup, block)) for block in blocks]
    start = time.perf_counter()
    updates = (train_block(setup, shared, personal, block, 1)[0] for block, personal in every)
    partial_sum(updates, shared, weight_exponent(setup.config))
    return time.perf_counter() - start


def measure(method: str, data: str) -> dict[str, Any]:
    """Time a method with and without tables of what items bring."""
    (entry,) = [e for e in read_entries() if e.name == method and not e.leaky]
    setup = prepare(entry.config(data))
    without = replace(setup, model=plain(setup.model))
    found: dict[str, list[float]] = {"with": [], "without": []}
    for _ in range(TURNS + 1):
        found["with"].append(seconds(setup))
        found["without"].append(seconds(without))
    least = {name: round(min(values[1:]), 4) for name, values in found.items()}
    return {"method": method, "data": data, **least, "turns": TURNS}


def time_all(
    about: str, cases: Sequence[tuple[str, str]], measure: Callable[[str, str], dict[str, Any]]
) -> None:
    """Measure cases, print how many times as fast each is, and write JSON where it is asked for.

    Args:
        about: the script.
        cases: methods and data sets.
        measure: (method, data) -> figures, seconds "with" and "without" among them.
    """
    parser = argparse.ArgumentParser(description=about.split("\n")[0])
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args()
    rows = []
    for method, data in cases:
        rows.append(measure(method, data))
        times = rows[-1]["without"] / rows[-1]["with"]
        print(f"{data:17} {method:10} {times:.2f} times", flush=True)
    if options.json:
        figures = {"cases": rows, "machine": describe_machine()}
        options.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    time_all(__doc__ or "", [(method, data) for data in DATA for method in METHODS], measure)
