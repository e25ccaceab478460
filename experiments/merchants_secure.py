"""Measure rounds of 50 merchants, in plain and under secure aggregation, one core.

    python experiments/merchants_secure.py [--mode MODE ...] [--json FILE]

The committed figures come from --json experiments/results/secure/merchants.json.

The apps train merchants_secure.toml on the in-process engine, every merchant a party of its
own; the first round, which compiles, is left out.  The gate is of seconds by the clock; other
work on the machine lengthens these, so processor seconds stand beside them.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from experiments.secure_round import start
from fedrec.config import load_config
from fedrec.machine import describe_machine
from fedrec.secure.graph import choose
from fedrec.storage import RunDirectory

FILE = Path(__file__).with_suffix(".toml")
MODES = ("off", "semi-honest", "malicious-server")
GATE_S = 15.0


def measure(mode: str) -> dict[str, Any]:
    """Train some rounds in one mode.

    Args:
        mode: value of secure.mode.

    Raises:
        SystemExit: if a round did not sum the updates of all merchants.
    """
    with tempfile.TemporaryDirectory() as place:
        keys = {"train.rounds": 100, "evaluate.every": 100, "server.checkpoint_every": 100}
        config = load_config(FILE, {**keys, "secure.mode": mode, "run.out": place})
        run, grid = start(config)
        spent = run.rounds(grid)[1:]
        lines = [json.loads(line) for line in RunDirectory(Path(place)).rounds.open()][1:]
        shape = run._state.shared.tables["item"].shape
    merchants = config.data.merchants
    if any(line["clients"] != merchants for line in lines):
        raise SystemExit(f"a round lacks merchants: {lines}")
    graph = choose(merchants, mode) if mode != "off" else None
    stages = [line["secure"]["seconds"] for line in lines if mode != "off"]
    return {
        "mode": mode,
        "merchants": merchants,
        "items": shape[0],
        "dim": shape[1],
        "neighbours": graph and graph.neighbours,
        "threshold": graph and graph.threshold,
        "rounds": len(spent),
        "clock_s": [s["clock_s"] for s in spent],
        "cpu_s": [s["cpu_s"] for s in spent],
        "stages_s": {
            name: round(statistics.median(s[name] for s in stages), 3)
            for name in (stages or [{}])[0]
        },
        "bytes_up_per_merchant": round(lines[-1]["bytes_up"] / merchants),
        "bytes_down_per_merchant": round(lines[-1]["bytes_down"] / merchants),
        "peak_rss_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }


def show(case: dict[str, Any]) -> None:
    """Print one case."""
    clock, cpu = statistics.median(case["clock_s"]), statistics.median(case["cpu_s"])
    met = "met" if clock < GATE_S else "missed"
    stages = "  ".join(f"{name} {s:.2f}" for name, s in case["stages_s"].items())
    print(
        f"{case['mode']}: {case['merchants']} merchants, {case['items']:,} x {case['dim']}\n"
        f"  a round {clock:.2f} s by the clock (gate {GATE_S:g}: {met}), {cpu:.2f} s of a "
        f"processor; {stages}\n  {case['bytes_up_per_merchant'] / 2**20:.2f} MiB up a merchant; "
        f"peak {case['peak_rss_mib']} MiB",
        flush=True,
    )


def main() -> None:
    """Run the modes, each in a process of its own."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--mode", nargs="*", choices=MODES, default=list(MODES))
    parser.add_argument("--json", type=Path)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        print(json.dumps(measure(given.child)))
        return
    one_core = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    one_core |= {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"}
    one_core["PYTHONPATH"] = str(Path(__file__).resolve().parents[1])
    cases = []
    for mode in given.mode:
        command = [sys.executable, __file__, "--child", mode]
        environment = {**os.environ, **one_core}
        done = subprocess.run(
            command, check=True, stdout=subprocess.PIPE, text=True, env=environment
        )
        cases.append(json.loads(done.stdout.splitlines()[-1]))
        show(cases[-1])
    if given.json:
        given.json.parent.mkdir(parents=True, exist_ok=True)
        content = {"gate_s": GATE_S, "machine": describe_machine(), "cases": cases}
        given.json.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
