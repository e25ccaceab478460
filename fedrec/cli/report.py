"""``fedrec report``: the report of one run, or of several side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fedrec.errors import OutputError
from fedrec.results import RESULT_FILE


def report(
    directories: Annotated[
        list[Path],
        typer.Argument(
            metavar="DIR...",
            help="Output directories of run or compare, or directories of those.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(help="File to write. Default: report.html in DIR, or here if several."),
    ] = None,
) -> None:
    """Write report.html: systems, convergence, cost, privacy, how to reproduce it.

    DIR is the output directory of run or compare, or a directory of such directories;
    the systems of several are put side by side.  A comparison of merchants gets its
    merchants.html anew, with what fedrec contribution has found in another DIR.
    """
    from fedrec.report.html import write_report
    from fedrec.report.merchants import PAGE, compares_merchants, left_out, write_merchants

    found = [run for directory in directories for run in find_runs(directory)]
    target = out or (found[0] / "report.html" if len(found) == 1 else Path("report.html"))
    typer.echo(write_report(found, target))
    for run in filter(compares_merchants, found):
        typer.echo(write_merchants(run, run / PAGE, found))
        for other in left_out(run, found):
            typer.echo(f"without the contributions in {other}: they are of other merchants")


def find_runs(directory: Path) -> list[Path]:
    """Return the directory itself if it is a run's, or those of its children that are.

    Raises:
        OutputError: if it does not exist or there is no run in it.
    """
    if not directory.is_dir():
        raise OutputError(
            f"there is no directory {directory}: expected the output directory of a run"
        )
    if (directory / RESULT_FILE).exists() or (directory / "rounds.jsonl").exists():
        return [directory]
    children = sorted(file.parent for file in directory.glob(f"*/{RESULT_FILE}"))
    if not children:
        raise OutputError(
            f"there is no {RESULT_FILE} in {directory}, nor in a directory in it: "
            "expected the output directory of 'fedrec run' or 'fedrec compare'"
        )
    return children
