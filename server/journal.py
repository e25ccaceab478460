"""`rounds.jsonl`: one line a round, appended as it happens."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fedrec.params import PartialSum
from fedrec.storage import replace_file
from server.sampling import Sample

Line = dict[str, Any]
PHASES = ("sample", "train", "aggregate", "evaluate", "checkpoint")


class Stopwatch:
    """Measures the phases of a round, in seconds of wall-clock time."""

    def __init__(self) -> None:
        self.phases = dict.fromkeys(PHASES, 0.0)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Add the time spent inside to a phase."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.phases[name] += time.perf_counter() - start

    def stamp(self) -> Line:
        """Return the fields "seconds" and "phases" of a line."""
        rounded = {name: round(value, 6) for name, value in self.phases.items()}
        return {"seconds": round(sum(self.phases.values()), 6), "phases": rounded}


def round_line(
    server_round: int,
    total: PartialSum | None,
    sample: Sample,
    num_bytes: int,
    *,
    trains: bool = True,
) -> Line:
    """Return what is told of a round's training.

    Args:
        server_round: the round.
        total: the sum of all clients; None if none trained.
        sample: the chosen clients.
        num_bytes: of the shared parameters, which each of them downloads.
        trains: whether clients train, and have a loss; not those that add to statistics.
    """
    metrics = {} if total is None else total.metrics
    weight = 0.0 if total is None else total.weight
    return {
        "round": server_round,
        "loss": metrics["loss"] / weight if trains and weight > 0 and "loss" in metrics else None,
        "clients": 0 if total is None else total.num_clients,
        "dropped": len(sample.dropped),
        "failed_nodes": [],
        "skipped": None,
        "bytes_up": metrics.get("bytes_up", 0.0),
        "bytes_down": float(num_bytes * len(sample.training)),
        "valid": None,
    }


class Journal:
    """The lines of a run.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def begin(self, last: Line | None) -> None:
        """Start anew, or go back to the round of a checkpoint.

        The file is replaced in one step even if nothing changes, so that whoever
        follows it knows where the run begins.

        Args:
            last: line of the checkpoint's round; None for a fresh run.

        Raises:
            OutputError: if the file cannot be written.
        """
        kept: list[Line] = []
        if last is not None:
            kept = [line for line in self.lines() if line["round"] < last["round"]] + [last]
        text = "".join(json.dumps(line) + "\n" for line in kept)
        replace_file(self._path, text.encode())

    def append(self, line: Line) -> None:
        """Write one line; a line is written in one piece."""
        with open(self._path, "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def last(self) -> Line | None:
        """Return the last whole line, or None."""
        return next(reversed(self.lines()), None)

    def lines(self) -> list[Line]:
        """Return all whole lines; what a killed process left half written is skipped."""
        if not self._path.exists():
            return []
        lines = []
        for text in self._path.read_text(encoding="utf-8").splitlines():
            try:
                lines.append(json.loads(text))
            except json.JSONDecodeError:
                continue
        return lines
