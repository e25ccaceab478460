"""Reading `rounds.jsonl`: one line a round, appended while a run goes on."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fedrec.errors import OutputError
from fedrec.results import Result, SystemResult

HISTORY_FILE = "rounds.jsonl"


@dataclass(frozen=True)
class Round:
    """One round of a run.

    Attributes:
        number: the round, from 1.
        loss: mean training loss over the clients; None in a skipped round.
        seconds: wall-clock duration.
        clients: number of clients whose updates were used.
        valid: validation metrics by dotted name ("full.hr@10"); None if not evaluated.
        bytes_up: sent by all clients together.
        bytes_down: sent to all clients together.
        phases: seconds by phase.
        skipped: why the round was skipped; None if it was not.
        dropped: number of clients that dropped out.
        failed_nodes: reasons of nodes that failed.
    """

    number: int
    loss: float | None = None
    seconds: float = 0.0
    clients: int = 0
    valid: dict[str, float] | None = None
    bytes_up: float = 0.0
    bytes_down: float = 0.0
    phases: dict[str, float] = field(default_factory=dict)
    skipped: str | None = None
    dropped: int = 0
    failed_nodes: tuple[str, ...] = ()


def parse_round(line: dict[str, Any]) -> Round:
    """Build a round from a line of `rounds.jsonl`, keys that are unknown left aside."""
    failed = line.get("failed_nodes") or ()
    if not isinstance(failed, list | tuple):  # a bare count
        failed = ("unknown reason",) * int(failed)
    dropped = line.get("dropped") or 0
    return Round(
        number=int(line["round"]),
        loss=None if line.get("loss") is None else float(line["loss"]),
        seconds=float(line.get("seconds") or 0.0),
        clients=_count(line.get("clients")),
        valid=flat_metrics(line["valid"]) if line.get("valid") else None,
        bytes_up=float(line.get("bytes_up") or 0.0),
        bytes_down=float(line.get("bytes_down") or 0.0),
        phases=dict(line.get("phases") or {}),
        skipped=line.get("skipped"),
        dropped=_count(dropped),
        failed_nodes=tuple(str(reason) for reason in failed),
    )


def flat_metrics(metrics: dict[str, Any], prefix: str = "") -> dict[str, float]:
    """Return nested or dotted metrics by dotted name."""
    flat: dict[str, float] = {}
    for key, value in metrics.items():
        if isinstance(value, dict):
            flat.update(flat_metrics(value, f"{prefix}{key}."))
        elif value is not None:
            flat[f"{prefix}{key}"] = float(value)
    return flat


def read_history(file: Path) -> tuple[Round, ...]:
    """Read the rounds of a run.

    A last line that is cut off, as a killed run leaves it, is left aside.

    Raises:
        OutputError: if the file cannot be read or a line before the last is broken.
    """
    try:
        lines = [line for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise OutputError(f"cannot read the rounds of a run in {file}: {error}") from None
    rounds = []
    for number, line in enumerate(lines, start=1):
        try:
            rounds.append(parse_round(json.loads(line)))
        except (ValueError, KeyError, TypeError, AttributeError):
            if number == len(lines):
                break
            raise OutputError(
                f"{file}, line {number}: not a round, the file is corrupted"
            ) from None
    return tuple(rounds)


def history_of(system: SystemResult, directory: Path) -> tuple[Round, ...]:
    """Return the rounds of a system in a run's directory; empty if it has none."""
    file = directory / (system.history or HISTORY_FILE)
    if system.history is None and system.kind != "federated":
        return ()
    return read_history(file) if file.is_file() else ()


def histories(result: Result, directory: Path) -> dict[tuple[str, int], tuple[Round, ...]]:
    """Return the rounds of all systems that have some, by name and seed."""
    found = {(s.name, s.seed): history_of(s, directory) for s in result.systems}
    return {key: rounds for key, rounds in found.items() if rounds}


def validation_curve(rounds: Iterable[Round], metric: str) -> tuple[list[int], list[float]]:
    """Return the evaluated rounds and the value of a validation metric in each."""
    points = [(r.number, r.valid[metric]) for r in rounds if r.valid and metric in r.valid]
    return [p[0] for p in points], [p[1] for p in points]


def _count(value: Any) -> int:
    """Accept a count or a list of clients."""
    if value is None:
        return 0
    return len(value) if isinstance(value, list | tuple) else int(value)
