"""What is known while a system trains: a pure function of the events of its run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from fedrec.evaluation.selection import better
from fedrec.report.history import Round, flat_metrics, parse_round

Event = Mapping[str, Any]
RECENT_ROUNDS = 20


@dataclass(frozen=True)
class Progress:
    """The system being trained.

    Attributes:
        select: validation metric that selects the round, as "ndcg@10".
        system: its name and seed, as it is shown.
        rounds: number of rounds planned; 0 if it is not trained in rounds.
        latest: the round seen last.
        metric: latest value of the validation metric.
        best: its best value, with the round.
        ends: clock times at which the recent rounds ended.
    """

    select: str
    system: str = ""
    rounds: int = 0
    latest: Round | None = None
    metric: float | None = None
    best: tuple[float, int] | None = None
    ends: tuple[float, ...] = ()

    def start(self, event: Event) -> Progress:
        """Return the progress at the start of a system."""
        return Progress(self.select, system_name(event), int(event.get("rounds") or 0))

    def round(self, event: Event, now: float) -> Progress:
        """Return the progress after a round that ended at clock time `now` (seconds)."""
        latest = parse_round(dict(event))
        metric, best = self.metric, self.best
        value = chosen_metric(latest.valid or {}, self.select)
        if value is not None:
            metric = value
            improved = better(value, best[0] if best else None, self.select)
            best = (value, latest.number) if improved else best
        ends = (*self.ends, now)[-RECENT_ROUNDS - 1 :]
        return replace(self, latest=latest, metric=metric, best=best, ends=ends)

    def seconds_left(self) -> float | None:
        """Return the time the remaining rounds will take at the recent pace; None if unknown."""
        if len(self.ends) < 2 or self.latest is None:
            return None
        pace = (self.ends[-1] - self.ends[0]) / (len(self.ends) - 1)
        return pace * max(0, self.rounds - self.latest.number)

    def facts(self, short: bool = False) -> str:
        """Return loss, validation metric and, unless `short`, best round as text."""
        parts = []
        if self.latest is not None and self.latest.loss is not None:
            parts.append(f"loss {self.latest.loss:.4f}")
        if self.metric is not None:
            parts.append(f"{'' if short else 'valid '}{self.select} {self.metric:.4f}")
        if self.best is not None and not short:
            parts.append(f"best {self.best[0]:.4f} in round {self.best[1]}")
        return "  ".join(parts)


def chosen_metric(metrics: Mapping[str, Any], select: str) -> float | None:
    """Return a metric by its last word, of the full ranking if several protocols have it."""
    flat = flat_metrics(dict(metrics))
    matching = [k for k in flat if k == select or k.endswith(f".{select}")]
    matching = [k for k in matching if "groups" not in k]
    matching.sort(key=lambda k: ("full." not in k and "rating." not in k, len(k)))
    return flat[matching[0]] if matching else None


def done_line(event: Event, select: str) -> str:
    """Return one line on a finished system: its duration and test metrics."""
    metrics: Mapping[str, Any] = event.get("metrics") or {}
    metrics = metrics.get("test") or metrics
    shown = []
    for metric in dict.fromkeys(("hr@10", "rmse", select)):
        value = chosen_metric(metrics, metric)
        if value is not None:
            shown.append(f"{metric} {value:.4f}")
    seconds = float(event.get("seconds") or 0.0)
    return f"{system_name(event)}: done in {seconds:.1f} s" + (
        f", test {'  '.join(shown)}" if shown else ""
    )


def system_name(event: Event) -> str:
    """Return the system of an event, with its seed if it has one."""
    seed = event.get("seed")
    return str(event.get("system", "")) + ("" if seed is None else f", seed {seed}")


def round_problems(latest: Round) -> list[str]:
    """Return a line for a skipped round and for each node that failed."""
    lines = [f"round {latest.number}: node failed: {reason}" for reason in latest.failed_nodes]
    if latest.skipped:
        lines.append(f"round {latest.number} skipped: {latest.skipped}")
    return lines


def clock(seconds: float) -> str:
    """Return a duration as m:ss or h:mm:ss."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
