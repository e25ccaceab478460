"""Hold a GPU against the processor, and time both; without a GPU, the processor's own options.

    python experiments/gpu.py [--rounds N] [--json FILE]

The committed figures come from --json experiments/results/bench/gpu.json.  W1 to W3 of
`fedrec bench` are trained for some rounds with train.device = cpu and gpu, each in a process
of its own.  The change of the shared parameters must be the same to a relative difference of
1e-4: sums of float32 in another order, and no TensorFloat-32.  W2 is also trained with
train.precision = mixed, which rounds, so that 0.1 is allowed; W1 and W2 with XLA's
auto-clustering, which TensorFlow's own TF_XLA_FLAGS switches on.  On a GPU, W3 is trained
once more with little memory and blocks that do not mind it: they must be halved, and the
change stay the same.

Without a GPU that is said, the processor is timed alone, and the exit code is 0.  It is 1 if
a change differs or a run fails.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from fedrec.params import Shared

LIMITS = {"float32": 1e-4, "mixed": 0.1}
XLA = "--tf_xla_auto_jit=2 --tf_xla_cpu_global_jit"
SMALL_MIB = (4096, 2048, 1024, 512, 256)
Row = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """One training.

    Attributes:
        workload: W1 to W3.
        device: `train.device`.
        precision: `train.precision`.
        xla: whether XLA compiles what it can.
        memory_mib: memory of the GPU, with blocks that are not sized to fit; 0: all of it.
    """

    workload: str
    device: str
    precision: str = "float32"
    xla: bool = False
    memory_mib: int = 0


Run = Callable[[Case, Path], Row]


def plan(devices: Sequence[str]) -> list[Case]:
    """Return what is trained, the first device's plain trainings first."""
    cases = [Case(name, device) for device in devices for name in ("W1", "W2", "W3")]
    cases += [Case("W2", device, precision="mixed") for device in devices]
    return cases + [Case(name, device, xla=True) for device in devices for name in ("W1", "W2")]


class _Halvings(logging.Handler):
    """Counts how often a block did not fit."""

    count = 0

    def emit(self, record: logging.LogRecord) -> None:
        self.count += record.getMessage().startswith("out of memory")


def train(case: Case, rounds: int, file: Path) -> Row:
    """Train in this process; write the change of what is shared to `file`."""
    from fedrec.bench.measure import begin, keep_samples
    from fedrec.bench.workloads import find_workload
    from fedrec.bench.yardsticks import timed
    from fedrec.training.device import device_name

    halvings = _Halvings()
    logging.getLogger("fedrec.training").addHandler(halvings)
    if case.memory_mib:
        limit_memory(case.memory_mib)
    workload = find_workload(case.workload)
    keys = (("train.device", case.device), ("train.precision", case.precision))
    federation = begin(replace(workload, keys=(*workload.keys, *keys)), rounds + 1)
    keep_samples(federation.setup)
    before, seconds, work = _copies(federation.shared), [], []
    for _ in range(rounds + 1):
        busy = time.process_time()
        seconds.append(timed(federation.round))
        work.append(time.process_time() - busy)
    change = {n: v - before[n] for n, v in _copies(federation.shared).items()}
    np.savez(file, **change)  # type: ignore[arg-type]
    logging.getLogger("fedrec.training").removeHandler(halvings)
    return {
        "trained_on": device_name(federation.setup.config),
        "first_s": seconds[0],
        "round_s_median": statistics.median(seconds[1:]),
        "processor_s_median": statistics.median(work[1:]),
        "halvings": halvings.count,
    }


def _copies(shared: Shared) -> dict[str, Any]:
    tables = {f"table {n}": v.copy() for n, v in shared.tables.items()}
    return tables | {f"weight {n}": v.copy() for n, v in shared.weights.items()}


def limit_memory(mib: int) -> None:
    """Leave a GPU so much memory, and let blocks be as large as if there were plenty."""
    import tensorflow as tf

    import fedrec.training.node as node

    device = tf.config.list_physical_devices("GPU")[0]
    limited = [tf.config.LogicalDeviceConfiguration(memory_limit=mib)]
    tf.config.set_logical_device_configuration(device, limited)
    node.block_bytes = lambda config: 1 << 40


def train_apart(case: Case, rounds: int, file: Path) -> Row:
    """Train in a process of its own, in which no other device has been used."""
    told = json.dumps(asdict(case))
    words = [sys.executable, __file__, "--case", told, str(file), "--rounds", str(rounds)]
    environment = {**os.environ, **({"TF_XLA_FLAGS": XLA} if case.xla else {})}
    done = subprocess.run(words, capture_output=True, text=True, env=environment)
    if done.returncode or not done.stdout.strip():
        return {"failed": "\n".join(done.stderr.strip().splitlines()[-5:])}
    row: Row = json.loads(done.stdout.strip().splitlines()[-1])
    return row


def difference(one: Path, other: Path) -> float:
    """Return the relative difference of two changes, over all parameters together."""
    with np.load(one) as a, np.load(other) as b:
        apart = sum(float(np.square(a[n] - b[n], dtype=np.float64).sum()) for n in a.files)
        whole = sum(float(np.square(a[n], dtype=np.float64).sum()) for n in a.files)
    return float(np.sqrt(apart / whole)) if whole else np.inf  # nothing was trained


def compare(cases: Iterable[Case], run: Run) -> list[Row]:
    """Train all cases, and hold each against the first of its workload."""
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="fedrec-gpu-") as folder:
        first: dict[str, Path] = {}
        for number, case in enumerate(cases):
            file = Path(folder) / f"{number}.npz"
            row = {**asdict(case), **run(case, file)}
            if "failed" not in row:
                if case.workload in first:
                    row["difference"] = difference(first[case.workload], file)
                first.setdefault(case.workload, file)
            rows.append(row)
            print(describe(row), flush=True)
    return rows


def starve(run: Run) -> list[Row]:
    """Train W3 on the processor and on a GPU with less and less memory, until blocks are halved."""
    tried: list[Row] = []
    for mib in SMALL_MIB:
        pair = compare([Case("W3", "cpu"), Case("W3", "gpu", memory_mib=mib)], run)
        tried = pair[1:]
        if "failed" in tried[0] or tried[0]["halvings"]:
            break
    return tried


def describe(row: Row) -> str:
    """Return a line about a training."""
    words = [row["workload"], row["device"], row["precision"]]
    words += ["XLA"] * row["xla"]
    words += [f"{row['memory_mib']} MiB"] * bool(row["memory_mib"])
    name = " ".join(words)
    if "failed" in row:
        return f"{name}: failed: {row['failed']}"
    told = (
        f"{name}: {row['round_s_median']:.3f} s a round ({row['processor_s_median']:.3f} s of the "
        f"processor), the first {row['first_s']:.1f} s"
    )
    if row["halvings"]:
        told += f", blocks halved {row['halvings']} times"
    return told + (f", differs by {row['difference']:.1e}" if "difference" in row else "")


def problems(rows: Iterable[Row]) -> list[str]:
    """Return what is wrong: failures, changes that differ, and memory that never ran out."""
    found = []
    for row in rows:
        if "failed" in row:
            found.append(describe(row))
        elif row.get("difference", 0.0) > LIMITS[row["precision"]]:
            found.append(f"{describe(row)}, allowed are {LIMITS[row['precision']]:g}")
        elif row["memory_mib"] and not row["halvings"]:
            found.append(f"{describe(row)}: memory never ran out, so halving was not checked")
    return found


def find_gpus() -> list[str]:
    """Return the GPUs that TensorFlow sees, asked in a process of its own."""
    look = "import json, fedrec.training.device as d; print(json.dumps(d.list_gpus()))"
    quiet = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run([sys.executable, "-c", look], capture_output=True, check=True, env=quiet)
    gpus: list[str] = json.loads(done.stdout.decode().strip().splitlines()[-1])
    return gpus


def main() -> int:
    """Compare, print, write JSON; 1 if something is wrong."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=7, help="timed rounds")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    parser.add_argument("--case", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.case:
        case, file = Case(**json.loads(given.case[0])), Path(given.case[1])
        print(json.dumps(train(case, given.rounds, file)))
        return 0
    from fedrec.machine import describe_machine

    def run(case: Case, file: Path) -> Row:
        return train_apart(case, given.rounds, file)

    gpus = find_gpus()
    if gpus:
        print(f"{len(gpus)} GPU found: {', '.join(gpus)}")
    else:
        print("no GPU found: the processor is timed alone, and nothing is said about a GPU")
    rows = compare(plan(("cpu", "gpu") if gpus else ("cpu",)), run)
    rows += starve(run) if gpus else []
    wrong = problems(rows)
    for line in wrong:
        print(f"wrong: {line}", file=sys.stderr)
    if given.json:
        told = {"gpus": gpus, "rounds": given.rounds, "limits": LIMITS, "runs": rows}
        text = json.dumps({**told, "machine": describe_machine()}, indent=1)
        given.json.write_text(text + "\n", encoding="utf-8")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
