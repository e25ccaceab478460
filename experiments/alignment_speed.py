"""Measure private matching of two lists, both parties on one core, and check that it is exact.

    python experiments/alignment_speed.py [--size N] [--library NAME ...] [--json FILE]

The committed figures come from --json experiments/results/align/speed.json.

Each library runs in a process of its own, all messages with their bytes included; half of
each list is common.  Gates are of processor seconds, which other work on the machine
disturbs less than the clock; both are printed.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from datetime import date
from pathlib import Path
from typing import Any

from fedrec import __version__
from fedrec.align.agreement import new_agreement
from fedrec.align.ids import Ids, make_ids
from fedrec.align.openmined import simulate_openmined
from fedrec.align.simulate import simulate
from fedrec.errors import MissingExtraError
from fedrec.machine import describe_machine

SIZE, SECONDS, MEMORY_MIB = 100_000, 90.0, 1024.0
LIBRARIES = ("fedrec", "openmined")
NAMES = ("north", "south")


def lists(size: int) -> dict[str, Ids]:
    """Return two lists of `size` article numbers, half of them common."""
    ranges = (range(size), range(size // 2, size // 2 + size))
    numbers = ([f"{4_000_000_000_000 + 7 * n:013d}" for n in some] for some in ranges)
    return {name: make_ids(some) for name, some in zip(NAMES, numbers, strict=True)}


def measure(library: str, size: int) -> dict[str, Any]:
    """Match two lists in this process.

    Returns:
        processor and clock seconds, peak memory, how many are common, and whether both
        parties found exactly the common ones.
    """
    own = lists(size)
    agreement = new_agreement("match", NAMES, minimum=2)
    cpu, wall = time.process_time(), time.perf_counter()
    if library == "fedrec":
        found, _ = simulate(agreement, own)
    else:
        found = simulate_openmined(agreement, own)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    common = set(own["north"].keys) & set(own["south"].keys)
    exact = all(
        {key for key, held in zip(o.ids.keys, o.shared, strict=True) if held} == common
        for o in found.values()
        if o.shared is not None
    )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {
        "cpu_s": round(cpu, 2),
        "wall_s": round(wall, 2),
        "peak_rss_mib": round(peak, 1),
        "common": found["north"].num_rows,
        "exact": exact and found["north"].num_rows == len(common),
    }


def measure_apart(library: str, size: int) -> dict[str, Any]:
    """Run `measure` in a process of its own, on one core."""
    words = [sys.executable, __file__, "--child", library, "--size", str(size)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def one_core() -> None:
    """Keep this process on one core, where the system can."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


def main() -> None:
    """Measure, print, judge, and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=SIZE)
    parser.add_argument("--library", nargs="*", default=LIBRARIES, choices=LIBRARIES)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--child", choices=LIBRARIES)
    options = parser.parse_args()
    if options.child:
        one_core()
        print(json.dumps(measure(options.child, options.size)))
        return
    figures: dict[str, Any] = {}
    for library in options.library:
        try:
            if library == "openmined":
                simulate_openmined(new_agreement("match", NAMES, minimum=2), lists(4))
        except MissingExtraError as error:
            print(f"{library}: skipped, {error}")
            continue
        figures[library] = found = measure_apart(library, options.size)
        print(f"{library}: {found}", flush=True)
        if not found["exact"]:
            raise SystemExit(f"{library}: the intersection is not exact")
    own = figures.get("fedrec")
    met = own and own["cpu_s"] < SECONDS and own["peak_rss_mib"] < MEMORY_MIB
    if options.json:
        content = {
            "size": options.size,
            "limit": {"cpu_s": SECONDS, "peak_rss_mib": MEMORY_MIB},
            "met": bool(met),
            "libraries": figures,
            "load_average": round(os.getloadavg()[0], 1),
            "machine": describe_machine(),
            "fedrec": __version__,
            "date": date.today().isoformat(),
        }
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
