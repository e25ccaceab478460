"""Where the events of a run go while it goes on: a live line, plain lines, TensorBoard.

Progress is written to stderr, so that stdout keeps to results and can be piped.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from fedrec.config import Config
from fedrec.evaluation.selection import shown_metric
from fedrec.report.progress import Event, Progress, clock, done_line, round_problems

if TYPE_CHECKING:
    from rich.console import Console

OnEvent = Callable[[dict[str, Any]], None]
PLAIN_LINES = 10
WIDE_TERMINAL = 110


class Sink(Protocol):
    """Receives the events of a run, in order."""

    def __call__(self, event: Event) -> None:
        """Take one event."""

    def close(self) -> None:
        """Finish; called once, after an error or Ctrl-C as well."""


class PlainSink:
    """A few lines for logs and pipes: no colour, no cursor movement."""

    def __init__(self, config: Config, write: Callable[[str], None]) -> None:
        self._progress = Progress(shown_metric(config))
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

        self._progress = Progress(shown_metric(config))
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
        config: the metric that selects the round is shown; `run.tensorboard` adds
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
