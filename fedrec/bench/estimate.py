"""What a run will take, told before it starts: the call behind ``fedrec estimate``."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from fedrec.bench.calibration import MIB, Fit, calibrate, stored
from fedrec.bench.counts import Counts, count, features, is_long
from fedrec.config import Config
from fedrec.config_graph import SUMS_FIRST
from fedrec.config_sums import SUMMED

_SHARED_COPIES = 10  # of 4 bytes: parameters, messages, sums in float64, optimiser, best round
_PERSONAL_COPIES = 4
_ROW_BYTES = 100  # of an interaction: columns, split, training and seen lists


@dataclass(frozen=True)
class Estimate:
    """What a run will take.

    Attributes:
        seconds: in all, from the start of the process to the last file.
        parts: seconds of "start", "load", "compile", "rounds", "evaluate", "checkpoint", "end".
        round_s: seconds of a round, evaluation and checkpoint apart.
        memory_mib: largest resident memory of the process.
        bytes_up: of all clients in all rounds.
        bytes_down: likewise.
        counts: what it was foretold from.
    """

    seconds: float
    parts: dict[str, float]
    round_s: float
    memory_mib: float
    bytes_up: float
    bytes_down: float
    counts: Counts

    def line(self) -> str:
        """Return the estimate as one line."""
        return (
            f"estimated: {duration(self.seconds)} ({self.round_s:.3g} s a round), "
            f"{self.memory_mib:,.0f} MiB of memory, clients send {size(self.bytes_up)} and "
            f"receive {size(self.bytes_down)}"
        )


def estimate(config: Config, *, anew: bool = False) -> Estimate:
    """Foretell seconds, memory and bytes of a run by the in-process engine.

    Args:
        config: of the run.  Its data are loaded; the kind of run is calibrated on this
            machine if it was not before (see `fedrec.bench.calibration`).
        anew: calibrate it even so.

    Raises:
        FedrecError: if the data or the model cannot be had, or the calibration fails.
    """
    begun = time.perf_counter()
    counts = count(config)
    load = time.perf_counter() - begun
    return foretell(counts, calibrate(config, anew=anew), load)


def known_estimate(config: Config) -> Estimate | None:
    """Return the estimate of a long run, or of a kind that was calibrated before, or None."""
    if config.train.method in (*SUMMED, *SUMS_FIRST):  # whose rounds are not all of a kind
        return None
    if stored(config) is None and not is_long(config):
        return None
    return estimate(config)


def foretell(counts: Counts, fit: Fit, load: float) -> Estimate:
    """Put counts and a fit together.

    Args:
        counts: of the run.
        fit: of its kind.
        load: seconds of loading the data.
    """

    def one(term: str) -> float:
        return _dot(fit.seconds[term], features(counts, term))

    parts = {
        "start": fit.start_s,
        "load": load,
        "compile": fit.compile_s if counts.rounds else 0.0,
        "rounds": counts.rounds * one("round"),
        "evaluate": counts.evaluations * one("evaluate"),
        "checkpoint": counts.checkpoints * one("checkpoint"),
        "end": one("end") + _dot(fit.seconds["evaluate"], features(counts, "test")),
    }
    wire = features(counts, "bytes")
    return Estimate(
        sum(parts.values()),
        parts,
        one("round"),
        _memory(counts, fit),
        counts.rounds * _dot(fit.bytes_up, wire),
        counts.rounds * _dot(fit.bytes_down, wire),
        counts,
    )


def _memory(counts: Counts, fit: Fit) -> float:
    held = (
        4 * _SHARED_COPIES * counts.elements
        + 4 * _PERSONAL_COPIES * counts.personal
        + _ROW_BYTES * counts.interactions
        + max(fit.sample_bytes * counts.block_samples, fit.cell_bytes * counts.block_cells)
    )
    return fit.base_mib + held / MIB


def _dot(coefficients: list[float], values: list[float]) -> float:
    return sum(c * v for c, v in zip(coefficients, values, strict=True))


def duration(seconds: float) -> str:
    """Return seconds in the unit that a reader would choose."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def size(number: float) -> str:
    """Return bytes in the unit that a reader would choose."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if number < 1024:
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1024
    return f"{number:,.1f} TiB"


def compare(foretold: Estimate, result: dict[str, Any], took: float) -> dict[str, Any]:
    """Hold an estimate against the result of the run.

    Args:
        foretold: before the run.
        result: the content of its result.json.
        took: seconds of its process, from start to end.

    Returns:
        "seconds", "rounds_s" (all rounds with their compilation, evaluation and
        checkpoints), "round_s", "memory_mib", "bytes_up", "bytes_down" -> "foretold", "real"
        and "error", the relative error.
    """
    cost, counts = result["systems"][0]["cost"], foretold.counts
    trained = counts.clients * counts.rounds
    inside = ("compile", "rounds", "evaluate", "checkpoint")
    pairs = {
        "seconds": (foretold.seconds, took),
        "rounds_s": (sum(foretold.parts[part] for part in inside), cost["total_s"]),
        "round_s": (foretold.round_s, cost["round_s_median"]),
        "memory_mib": (foretold.memory_mib, cost["peak_rss_mib"]),
        "bytes_up": (foretold.bytes_up, cost["bytes_up_per_client"] * trained),
        "bytes_down": (foretold.bytes_down, cost["bytes_down_per_client"] * trained),
    }
    return {
        name: {"foretold": said, "real": real, "error": said / real - 1 if real else 0.0}
        for name, (said, real) in pairs.items()
    }
