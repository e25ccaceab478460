"""Where the events of a run go while it goes on: a live line, plain lines, TensorBoard.

Progress is written to stderr, so that stdout keeps to results and can be piped.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from fedrec.config import Config
from fedrec.report.history import Round, flat_metrics, parse_round

if TYPE_CHECKING:
    from rich.console import Console

Event = Mapping[str, Any]
OnEvent = Callable[[dict[str, Any]], None]
PLAIN_LINES = 10
RECENT_ROUNDS = 20
WIDE_TERMINAL = 110


class Sink(Protocol):
    """Receives the events of a run, in order."""

    def __call__(self, event: Event) -> None:
        """Take one event."""

    def close(self) -> None:
        """Finish; called once, after an error or Ctrl-C as well."""


@dataclass(frozen=True)
class Progress:
    """What is known about the system being trained; a pure function of the events.

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
    ends: tuple[float, ...] = field(default=())

    def start(self, event: Event) -> Progress:
        """Return the progress at the start of a system."""
        seed = event.get("seed")
        name = str(event.get("system", "")) + ("" if seed is None else f", seed {seed}")
        return Progress(self.select, name, int(event.get("rounds") or 0))

    def round(self, event: Event, now: float) -> Progress:
        """Return the progress after a round that ended at clock time `now` (seconds)."""
        latest = parse_round(dict(event))
        metric, best = self.metric, self.best
        value = chosen_metric(latest.valid or {}, self.select)
        if value is not None:
            metric = value
            lower_is_better = self.select in ("rmse", "mae")
            improved = best is None or (value < best[0] if lower_is_better else value > best[0])
            best = (value, latest.number) if improved else best
        ends = tuple(deque([*self.ends, now], maxlen=RECENT_ROUNDS + 1))
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


class PlainSink:
    """A few lines for logs and pipes: no colour, no cursor movement."""

    def __init__(self, config: Config, write: Callable[[str], None]) -> None:
        self._progress = Progress(config.evaluate.select)
        self._write = write

    def __call__(self, event: Event) -> None:
        """Write a line for a start, an end, a note and every tenth of the rounds."""
        match event.get("event"):
            case "system-start":
                self._progress = self._progress.start(event)
                if self._progress.rounds:
                    self._write(f"{self._progress.system}: started")
            case "round":
                self._progress = self._progress.round(event, time.monotonic())
                self._round()
            case "system-done":
                self._write(done_line(event, self._progress.select))
            case "note":
                self._write(str(event.get("text", "")))

    def close(self) -> None:
        """Nothing to finish."""

    def _round(self) -> None:
        progress = self._progress
        latest = progress.latest
        if latest is None:
            return
        for line in round_problems(latest):
            self._write(line)
        every = max(1, math.ceil(progress.rounds / PLAIN_LINES))
        if latest.number % every == 0 or latest.number == progress.rounds:
            left = progress.seconds_left()
            tail = (
                f"  {clock(left)} left"
                if left is not None and latest.number < progress.rounds
                else ""
            )
            where = f"{progress.system}: round {latest.number}/{progress.rounds}"
            self._write(f"{where}  {progress.facts()}{tail}")


class LiveSink:
    """One live line on a terminal, with finished systems above it."""

    def __init__(self, config: Config, console: Console) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn
        from rich.progress import Progress as Bar
        from rich.table import Column

        self._progress = Progress(config.evaluate.select)
        self._short = console.width < WIDE_TERMINAL
        bar = () if self._short else (BarColumn(bar_width=24),)
        self._bar = Bar(
            SpinnerColumn(finished_text=" "),
            TextColumn("[bold]{task.description}"),
            *bar,
            MofNCompleteColumn(),
            TextColumn("{task.fields[facts]}", table_column=Column(no_wrap=True)),
            TextColumn("[cyan]{task.fields[left]}"),
            console=console,
            transient=True,
        )
        self._task = self._bar.add_task("starting", total=None, facts="", left="")
        self._bar.start()

    def __call__(self, event: Event) -> None:
        """Redraw the line, or print what stays."""
        match event.get("event"):
            case "system-start":
                self._progress = self._progress.start(event)
                self._bar.reset(
                    self._task,
                    description=self._progress.system,
                    total=self._progress.rounds or None,
                    facts="",
                    left="",
                )
            case "round":
                self._round(event)
            case "system-done":
                line = done_line(event, self._progress.select)
                self._bar.console.print(f"[green]✓[/green] {line}", highlight=False)
                self._bar.reset(self._task, description="working", total=None, facts="", left="")
            case "note":
                self._bar.console.print(str(event.get("text", "")), style="dim", markup=False)

    def close(self) -> None:
        """Remove the live line and give the cursor back."""
        self._bar.stop()

    def _round(self, event: Event) -> None:
        self._progress = self._progress.round(event, time.monotonic())
        latest, left = self._progress.latest, self._progress.seconds_left()
        if latest is None:
            return
        for line in round_problems(latest):
            self._bar.console.print(line, style="yellow", markup=False)
        self._bar.update(
            self._task,
            completed=latest.number,
            facts=self._progress.facts(self._short),
            left="" if left is None else f"{clock(left)} left",
        )


@contextmanager
def open_sinks(
    config: Config, directory: Path, console: Console | None = None
) -> Iterator[OnEvent]:
    """Open the sinks that fit the terminal and the configuration.

    Args:
        config: `evaluate.select` is the metric that is shown; `run.tensorboard` adds
            TensorBoard event files in `directory`/tensorboard.
        directory: the output directory.
        console: where progress is written; None: stderr.

    Returns:
        A function that takes one event.
    """
    from rich.console import Console

    console = console or Console(stderr=True)
    sinks: list[Sink] = []
    if console.is_terminal and not console.is_dumb_terminal:
        sinks.append(LiveSink(config, console))
    else:
        file = console.file
        sinks.append(PlainSink(config, lambda text: print(text, file=file, flush=True)))
    if config.run.tensorboard:
        from fedrec.report.tensorboard import TensorBoardSink

        sinks.append(TensorBoardSink(directory / "tensorboard"))

    def on_event(event: dict[str, Any]) -> None:
        for sink in sinks:
            sink(event)

    with ExitStack() as stack:
        for sink in sinks:
            stack.callback(sink.close)
        yield on_event


def chosen_metric(metrics: Mapping[str, Any], select: str) -> float | None:
    """Return a metric by its last word, of the full ranking if several protocols have it."""
    flat = flat_metrics(dict(metrics))
    matching = [k for k in flat if k == select or k.endswith(f".{select}")]
    matching = [k for k in matching if "groups" not in k]
    matching.sort(key=lambda k: ("full." not in k and "rating." not in k, len(k)))
    return flat[matching[0]] if matching else None


def done_line(event: Event, select: str) -> str:
    """Return one line on a finished system: its duration and test metrics."""
    seed = event.get("seed")
    name = str(event.get("system", "")) + ("" if seed is None else f", seed {seed}")
    metrics: Mapping[str, Any] = event.get("metrics") or {}
    metrics = metrics.get("test") or metrics
    shown = []
    for metric in dict.fromkeys(("hr@10", "rmse", select)):
        value = chosen_metric(metrics, metric)
        if value is not None:
            shown.append(f"{metric} {value:.4f}")
    seconds = float(event.get("seconds") or 0.0)
    return f"{name}: done in {seconds:.1f} s" + (f", test {'  '.join(shown)}" if shown else "")


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
