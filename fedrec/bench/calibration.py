"""Short runs of the real thing, so that longer ones can be foretold on this machine.

A kind of run is its model, method, server, privacy and protocol.  Some small populations
are trained as `fedrec run` would, and the seconds of their rounds, evaluations and
checkpoints are fitted by sums of counts with coefficients that are not negative.

``python -m fedrec.bench.calibration FILE`` reads a configuration (TOML) and prints the fit.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fedrec import __version__
from fedrec.bench.counts import Counts, count, features
from fedrec.config import Config, Scalar, load_config, to_toml
from fedrec.data.directory import cache_directory
from fedrec.errors import EngineError
from fedrec.machine import describe_machine, peak_memory_mib
from fedrec.output import write_atomically
from fedrec.storage import RunDirectory

TERMS = ("round", "evaluate", "checkpoint", "end")
POINTS = ((60, 400, 20.0), (400, 400, 20.0), (200, 2_000, 120.0), (60, 20_000, 20.0))
"""Users, items and interactions of a user of the populations that are trained."""
SECURE_POINTS = ((20, 100, 10.0), (60, 100, 10.0), (40, 800, 30.0), (20, 2_000, 10.0))
ROUNDS = 5


@dataclass(frozen=True)
class Fit:
    """What a kind of run costs on this machine.

    Attributes:
        seconds: term -> one coefficient for each of its counts (see `counts.features`).
        bytes_up: of all clients in a round, for each of the counts of "bytes".
        bytes_down: likewise.
        base_mib: memory of a process that has trained and evaluated something small.
        start_s: what the first run of a process takes beyond the same run again: imports
            and compilation.
    """

    seconds: dict[str, list[float]]
    bytes_up: list[float]
    bytes_down: list[float]
    base_mib: float
    start_s: float


def kind_of(config: Config) -> str:
    """Return the key of a kind of run on this machine with this version."""
    machine = describe_machine()
    sections = ("model", "train", "server", "privacy", "secure", "robust", "engine")
    keys = {k: v for k, v in config.flat().items() if k.split(".")[0] in sections}
    for name in ("train.rounds", "server.checkpoint_every", "server.min_clients"):
        keys.pop(name)
    keys["evaluate"] = f"{config.evaluate.sampled} {config.evaluate.bootstrap} {config.evaluate.k}"
    keys["unit"], keys["feedback"] = config.clients.unit, config.data.feedback
    text = json.dumps([__version__, machine, keys], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def stored(config: Config) -> Fit | None:
    """Return the fit of a kind of run if it was calibrated before, or None."""
    file = _file(config)
    try:
        return Fit(**json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def calibrate(config: Config) -> Fit:
    """Return the fit of a kind of run; calibrate in a process of its own if there is none.

    Args:
        config: of the run to be foretold.

    Raises:
        EngineError: if the small runs fail.
        OutputError: if the cache cannot be written.
    """
    found = stored(config)
    if found is not None:
        return found
    with tempfile.TemporaryDirectory(prefix="fedrec-calibration-") as folder:
        file = Path(folder) / "kind.toml"
        file.write_text(to_toml(config), encoding="utf-8")
        command = [sys.executable, "-m", "fedrec.bench.calibration", str(file)]
        quiet = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
        done = subprocess.run(command, capture_output=True, text=True, env=quiet)
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        tail = "\n".join(done.stderr.strip().splitlines()[-8:])
        raise EngineError(f"the calibration failed ({done.returncode}):\n{tail}")
    fit = Fit(**json.loads(lines[-1]))
    write_atomically(_file(config), json.dumps(asdict(fit)) + "\n")
    return fit


def _file(config: Config) -> Path:
    return cache_directory(config.data.cache) / "calibration" / f"{kind_of(config)}.json"


def fit(config: Config) -> Fit:
    """Train the small populations in this process and fit their seconds."""
    begun = time.perf_counter()
    points = SECURE_POINTS if config.secure.mode != "off" else POINTS
    _train(config, *points[0])
    cold = time.perf_counter() - begun
    measured = [_train(config, *point) for point in points]
    counted = [counts for counts, _ in measured]

    def fitted(term: str, figure: str) -> list[float]:
        rows = [features(counts, term) for counts in counted]
        return _least_squares(rows, [line[figure] for _, line in measured])

    seconds = {term: fitted(term, term) for term in TERMS}
    up, down = fitted("bytes", "bytes_up"), fitted("bytes", "bytes_down")
    return Fit(seconds, up, down, peak_memory_mib(), max(0.0, cold - measured[0][1]["whole"]))


def _train(
    config: Config, users: int, items: int, events: float
) -> tuple[Counts, dict[str, float]]:
    """Train one small population; return its counts and seconds."""
    from fedrec.engine.run_engine import execute

    with tempfile.TemporaryDirectory(prefix="fedrec-calibration-") as folder:
        small = config.with_(
            {
                **_population(config, users, items, events),
                "run.out": folder,
                "train.rounds": ROUNDS,
                "evaluate.every": 2,
                "server.checkpoint_every": 2,
            }
        )
        begun = time.perf_counter()
        execute(small)
        whole = time.perf_counter() - begun
        text = RunDirectory(Path(folder)).rounds.read_text(encoding="utf-8")
    return count(small), _medians([json.loads(line) for line in text.splitlines()], whole)


def _population(config: Config, users: int, items: int, events: float) -> dict[str, Scalar]:
    """Return the keys of a small generated population of user clients."""
    keys: dict[str, Scalar] = {
        "data.name": "zipf",
        "data.users": users,
        "data.items": items,
        "data.events_per_user": events,
        "data.feedback": "implicit",
        "data.min_rating": 0.0,
        "data.path": "",
        "data.user_core": 0,
        "data.item_core": 0,
        "data.max_events_per_day": 0,
        "split.protocol": "leave-last-out",
        "clients.unit": "user",
        "clients.sampling": "all",
        "clients.availability": 1.0,
        "clients.dropout": 0.0,
        "server.min_nodes": 1,
        "server.min_clients": 3 if config.privacy.mechanism == "distributed" else 1,
        "engine.nodes": 1,
        "evaluate.group": "",
        "evaluate.clients": 0,
        "secure.registry": "",
        "evaluate.select": "",
        "privacy.epsilon": 0.0,
    }
    if config.privacy.mechanism != "off":
        keys["privacy.noise_multiplier"] = config.privacy.noise_multiplier or 1.0
        keys["privacy.draws"] = "seeded"
        keys["privacy.delta"] = 0.0
    if config.data.feedback == "explicit":
        keys |= {"model.loss": "logistic", "train.negatives": 1}
    return keys


def _medians(lines: Sequence[Mapping[str, Any]], whole: float) -> dict[str, float]:
    def rest(line: Mapping[str, Any]) -> float:
        phases = line["phases"]
        return float(line["seconds"] - phases["evaluate"] - phases["checkpoint"])

    later = lines[1:]
    evaluations = [line["phases"]["evaluate"] for line in later if line["valid"]]
    saved = [s for line in later if (s := line["phases"]["checkpoint"]) > 0]
    return {
        "round": statistics.median(rest(line) for line in later),
        "evaluate": min(evaluations),  # others compile
        "checkpoint": statistics.median(saved),
        "end": max(1e-3, whole - sum(line["seconds"] for line in lines)),
        "whole": whole,
        "bytes_up": lines[-1]["bytes_up"],
        "bytes_down": lines[-1]["bytes_down"],
    }


def _least_squares(rows: Sequence[Sequence[float]], values: Sequence[float]) -> list[float]:
    """Fit values as sums of counts, by relative errors, with coefficients of at least 0."""
    from scipy.optimize import nnls

    target = np.maximum(np.asarray(values, float), 1e-9)
    matrix = np.asarray(rows, float) / target[:, None]
    scale = np.maximum(np.abs(matrix).max(axis=0), 1e-300)  # counts differ by many powers of ten
    found, _ = nnls(matrix / scale, np.ones(len(target)))
    return [float(value) for value in found / scale]


def main(arguments: Sequence[str] | None = None) -> None:
    """Calibrate a kind of run and print its fit as one line of JSON."""
    parser = argparse.ArgumentParser(prog="python -m fedrec.bench.calibration")
    parser.add_argument("file", type=Path, help="a configuration (TOML)")
    print(json.dumps(asdict(fit(load_config(parser.parse_args(arguments).file)))))


if __name__ == "__main__":
    main()
