"""``fedrec estimate``: seconds, memory and bytes of a run before it starts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fedrec.cli.quiet import import_tensorflow
from fedrec.cli.run import File, Overrides, read_config
from fedrec.errors import ConfigError

if TYPE_CHECKING:
    from fedrec.bench.estimate import Estimate


def estimate(
    file: File = None,
    overrides: Overrides = None,
    check: Annotated[
        bool, typer.Option("--check", help="Estimate some runs, run them, and compare.")
    ] = False,
    json: Annotated[
        Path | None, typer.Option(metavar="FILE", help="With --check: write the figures there.")
    ] = None,
) -> None:
    """Tell what a run will take, without running it.

    FILE and KEY=VALUE are as of fedrec run. A kind of run (model, method, server, privacy)
    that is new to this machine is first calibrated with short runs, about half a minute.
    """
    if check:
        if file is not None or overrides:
            raise ConfigError("--check estimates runs of its own: leave FILE and KEY=VALUE out")
        _check(json)
        return
    if json is not None:
        raise ConfigError("--json is for --check: the estimate itself is printed")
    config = read_config(file, overrides)
    import_tensorflow()
    from fedrec.bench.calibration import stored
    from fedrec.bench.estimate import estimate as foretell

    if stored(config) is None:
        typer.echo("calibrating this kind of run on this machine ...", err=True)
    _print(foretell(config))


def _print(found: Estimate) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from fedrec.bench.estimate import duration, size

    table = Table(title="estimate, in-process engine", box=box.SIMPLE, show_header=False)
    for name, seconds in found.parts.items():
        table.add_row(name, f"{seconds:,.1f} s")
    table.add_row("in all", duration(found.seconds))
    table.add_row("a round", f"{found.round_s:.3g} s")
    table.add_row("memory", f"{found.memory_mib:,.0f} MiB")
    table.add_row("clients send", size(found.bytes_up))
    table.add_row("clients receive", size(found.bytes_down))
    counts = found.counts
    told = (
        f"{counts.rounds:,} rounds of {counts.clients:,.0f} clients with {counts.samples:,.0f} "
        f"samples; {counts.evaluations:,} validations of {counts.users:,} users on "
        f"{counts.items:,} items"
    )
    if counts.mapped:
        told += (
            f"; {counts.mapped:,} interactions lie in mapped files and are not in this memory: "
            "the system drops them when it needs the room"
        )
    console = Console()
    console.print(table)
    console.print(told, highlight=False)


def _check(json: Path | None) -> None:
    import_tensorflow()
    from fedrec.bench.check import RUNS, check_estimates
    from fedrec.bench.suite import save_figures

    found: dict[str, Any] = check_estimates(RUNS, typer.echo)
    if json is not None:
        save_figures({"runs": found}, json)
