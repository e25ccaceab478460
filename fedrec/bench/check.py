"""Estimates held against reality: runs of several kinds, each in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from fedrec.bench.estimate import compare, estimate
from fedrec.bench.workloads import WORKLOADS
from fedrec.config import Config, Scalar, load_config, to_toml
from fedrec.errors import EngineError

_W1, _W3 = dict(WORKLOADS["W1"].config.flat()), dict(WORKLOADS["W3"].config.flat())
_SECURE: dict[str, Scalar] = {
    "data.user_core": 100,
    "secure.mode": "semi-honest",
    "evaluate.clients": 200,
}
_FEWER: dict[str, Scalar] = {"data.users": 4_000, "evaluate.clients": 1_000}
RUNS: dict[str, dict[str, Scalar]] = {
    "MF, alternating, all clients of ML-100K": {"train.rounds": 10},
    "W1, 40 rounds": {**_W1, "train.rounds": 40},
    "NCF, all clients of ML-100K": {"model.name": "ncf", "train.rounds": 2},
    "W1, secure aggregation, users with 100 ratings": {**_W1, **_SECURE, "train.rounds": 4},
    "W3 of 4,000 users, 10 rounds": {**_W3, **_FEWER, "train.rounds": 10},
}
"""Name -> configuration keys."""


def check_estimates(
    runs: Mapping[str, Mapping[str, Scalar]], tell: Callable[[str], None]
) -> dict[str, Any]:
    """Estimate runs, calibrating their kinds anew, run them, and compare.

    Args:
        runs: name -> configuration keys.
        tell: called with a line for each.

    Returns:
        Name -> as `estimate.compare`.
    """
    found = {}
    for name, keys in runs.items():
        config = load_config(None, keys)
        foretold = estimate(config, anew=True)
        begun = time.perf_counter()
        result = run_apart(config)
        found[name] = compare(foretold, result, time.perf_counter() - begun)
        said, memory = found[name]["seconds"], found[name]["memory_mib"]
        tell(
            f"{name}: estimated {said['foretold']:.1f} s, took {said['real']:.1f} s "
            f"({said['error']:+.0%}); {memory['foretold']:,.0f} MiB, was "
            f"{memory['real']:,.0f} MiB ({memory['error']:+.0%})"
        )
    return found


def run_apart(config: Config) -> dict[str, Any]:
    """Run a configuration in a process of its own and return its result.json.

    Raises:
        EngineError: if the run fails.
    """
    with tempfile.TemporaryDirectory(prefix="fedrec-check-") as folder:
        file, out = Path(folder) / "run.toml", Path(folder) / "out"
        file.write_text(to_toml(config), encoding="utf-8")
        command = [sys.executable, "-m", "fedrec", "run", str(file), "--out", str(out)]
        done = subprocess.run(
            [*command, "--no-estimate"], capture_output=True, text=True, env=os.environ.copy()
        )
        if done.returncode:
            raise EngineError(f"the run to be estimated failed:\n{done.stderr[-800:]}")
        result: dict[str, Any] = json.loads((out / "result.json").read_text(encoding="utf-8"))
    return result
