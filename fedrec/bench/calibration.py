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
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

import fedrec
from fedrec import __version__
from fedrec.bench.counts import Counts, count, features
from fedrec.config import Config, Scalar, load_config, to_toml
from fedrec.data.directory import cache_directory
from fedrec.errors import EngineError
from fedrec.machine import describe_machine, peak_memory_mib
from fedrec.output import write_atomically
from fedrec.storage import RunDirectory

CODE = ("bench", "data", "evaluation", "models", "privacy", "robust", "secure", "training")
"""Rooms of the library that a kind of run spends its time in."""
TERMS = ("round", "evaluate", "checkpoint", "end")
POINTS = (
    (60, 400, 20.0),
    (400, 400, 20.0),
    (150, 600, 60.0),
    (30, 1_000, 300.0),
    (100, 2_000, 120.0),
    (60, 20_000, 20.0),
)
"""Users, items and interactions of a user of the populations that are trained: samples of a
block grow until the last but one, and the last has the most to rank at once."""
SECURE_POINTS = (
    (20, 100, 10.0),
    (60, 100, 10.0),
    (120, 60, 10.0),
    (100, 300, 20.0),
    (50, 800, 60.0),
    (30, 1_500, 30.0),
)
ROUNDS, SECURE_ROUNDS = 4, 2
MIB = 2**20
_CLEAR_MIB = 64.0


@dataclass(frozen=True)
class Fit:
    """What a kind of run costs on this machine.

    Attributes:
        seconds: term -> one coefficient for each of its counts (see `counts.features`).
        bytes_up: of all clients in a round, for each of the counts of "bytes".
        bytes_down: likewise.
        base_mib: memory of a process that has trained and evaluated something small.
        sample_bytes: of memory, for each sample of the largest block of clients.
        cell_bytes: of memory, for each user and item of the largest block that is ranked.
        start_s: from the start of a process to a run: imports.
        compile_s: what the rounds of the first run of a process take beyond those of the
            same run again.
    """

    seconds: dict[str, list[float]]
    bytes_up: list[float]
    bytes_down: list[float]
    base_mib: float
    sample_bytes: float
    cell_bytes: float
    start_s: float
    compile_s: float


def kind_of(config: Config) -> str:
    """Return the key of a kind of run on this machine with this version."""
    machine = describe_machine()
    sections = ("model", "train", "server", "privacy", "secure", "robust", "engine")
    keys = {k: v for k, v in config.flat().items() if k.split(".")[0] in sections}
    for name in ("train.rounds", "server.checkpoint_every", "server.min_clients"):
        keys.pop(name)
    keys["evaluate"] = f"{config.evaluate.sampled} {config.evaluate.bootstrap} {config.evaluate.k}"
    keys["unit"], keys["feedback"] = config.clients.unit, config.data.feedback
    text = json.dumps([__version__, _code(), machine, keys], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@lru_cache(maxsize=1)
def _code() -> str:
    """Return a fingerprint of the code whose speed is calibrated."""
    root = Path(fedrec.__file__).parent
    files = [f for room in CODE for f in sorted((root / room).glob("*.py"))]
    return hashlib.sha256(b"".join(f.read_bytes() for f in files)).hexdigest()[:16]


def stored(config: Config) -> Fit | None:
    """Return the fit of a kind of run if it was calibrated before, or None."""
    file = _file(config)
    try:
        return Fit(**json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def calibrate(config: Config, *, anew: bool = False) -> Fit:
    """Return the fit of a kind of run; calibrate in a process of its own if there is none.

    Args:
        config: of the run to be foretold.
        anew: calibrate even if there is one.

    Raises:
        EngineError: if the small runs fail.
        OutputError: if the cache cannot be written.
    """
    found = None if anew else stored(config)
    if found is not None:
        return found
    with tempfile.TemporaryDirectory(prefix="fedrec-calibration-") as folder:
        file = Path(folder) / "kind.toml"
        file.write_text(to_toml(config), encoding="utf-8")
        command = [sys.executable, "-m", "fedrec.bench.calibration", str(file)]
        quiet = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
        begun = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, env=quiet)
        whole = time.perf_counter() - begun
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        tail = "\n".join(done.stderr.strip().splitlines()[-8:])
        raise EngineError(f"the calibration failed ({done.returncode}):\n{tail}")
    inside = Fit(**json.loads(lines[-1]))
    fit = replace(inside, start_s=max(0.0, whole - inside.start_s))
    write_atomically(_file(config), json.dumps(asdict(fit)) + "\n")
    return fit


def _file(config: Config) -> Path:
    return cache_directory(config.data.cache) / "calibration" / f"{kind_of(config)}.json"


def fit(config: Config) -> Fit:
    """Train the small populations in this process and fit what they took.

    Returns:
        The fit; its `start_s` is what all this took: the caller, who knows how long the
        process lived, takes it off.
    """
    begun = time.perf_counter()
    points = SECURE_POINTS if config.secure.mode != "off" else POINTS
    _, cold = _train(config, *points[0])
    base = peak_memory_mib()
    measured, peaks = [], []
    for point in points:
        measured.append(_train(config, *point))
        peaks.append(peak_memory_mib())
    counted = [counts for counts, _ in measured]

    figures = [line for _, line in measured]

    def fitted(term: str, values: Sequence[float]) -> list[float]:
        return _least_squares([features(counts, term) for counts in counted], values)

    seconds = {term: fitted(term, [f[term] for f in figures]) for term in TERMS[:-1]}
    tests = [np.dot(seconds["evaluate"], features(counts, "test")) for counts in counted]
    seconds["end"] = fitted(
        "end", [max(1e-3, f["end"] - test) for f, test in zip(figures, tests, strict=True)]
    )
    sample_bytes, cell_bytes = _memory(counted, peaks, base)
    return Fit(
        seconds=seconds,
        bytes_up=fitted("bytes", [f["bytes_up"] for f in figures]),
        bytes_down=fitted("bytes", [f["bytes_down"] for f in figures]),
        base_mib=base,
        sample_bytes=sample_bytes,
        cell_bytes=cell_bytes,
        start_s=time.perf_counter() - begun,
        compile_s=max(0.0, cold["rounds"] - measured[0][1]["rounds"]),
    )


def _memory(counted: Sequence[Counts], peaks: Sequence[float], base: float) -> tuple[float, float]:
    """Return bytes of memory for a sample of a block, and for a cell that is ranked.

    Args:
        counted: of the runs, in the order of `POINTS`.
        peaks: largest memory of the process after each, MiB.
        base: before them, MiB.

    Returns:
        What all runs but the last took beyond the base for each sample more, and what the
        last one took beyond it for each cell more, if it took more than those before, and
        enough to tell it from what else grows: cells are few in secure runs.
    """
    first, *_, most, last = counted
    samples = max(1, most.block_samples - first.block_samples)
    cells = max(1, last.block_cells - first.block_cells)
    ranked = peaks[-1] - base
    if peaks[-1] == peaks[-2] or ranked < _CLEAR_MIB:
        ranked = 0.0
    return (peaks[-2] - base) * MIB / samples, ranked * MIB / cells


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
                "train.rounds": SECURE_ROUNDS if config.secure.mode != "off" else ROUNDS,
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
        "evaluate.item_group": "",
        "model.pretrained": "",  # which knows other items: trained in full, it costs no less
        "model.freeze": False,
        "model.adapter_rank": 0,
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
        "evaluate": statistics.median(evaluations),
        "checkpoint": statistics.median(saved),
        "end": max(1e-3, whole - sum(line["seconds"] for line in lines)),
        "rounds": sum(line["seconds"] for line in lines),
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
