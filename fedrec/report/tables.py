"""The systems table on the console and as Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedrec.report.cold_start import print_cold_start
from fedrec.report.exploration import print_exploration
from fedrec.report.headline import headline
from fedrec.report.view import Cell, SystemsTable, number, systems_table

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from fedrec.results import Result

MARKS = {"better": "▲", "worse": "▼", "": ""}
PLAIN_WIDTH = 140


def console(stderr: bool = False) -> Console:
    """Return a console; where the output is not a terminal it is wide and without colour."""
    from rich.console import Console

    terminal = Console(stderr=stderr)
    return terminal if terminal.is_terminal else Console(stderr=stderr, width=PLAIN_WIDTH)


def print_result(result: Result, to: Console | None = None) -> None:
    """Print the headline and the systems table."""
    to = to or console()
    line = headline(result)
    table = systems_table(result)
    to.print()
    to.print(line.title, style="bold", highlight=False, markup=False)
    to.print(line.detail, highlight=False, markup=False)
    to.print()
    to.print(rich_table(table))
    to.print(legend(table), style="dim", highlight=False, markup=False)
    print_cold_start(result, to)
    print_exploration(result, to)
    guard = result.leak_guard
    if guard:
        passed = guard.get("passed")
        words = guard.get("statement") or ("passed" if passed else "FAILED")
        to.print(f"leak guard: {words}", style="" if passed else "bold red", markup=False)


def rich_table(table: SystemsTable) -> Table:
    """Return the systems table for a console."""
    from rich.table import Table
    from rich.text import Text

    shown = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    shown.add_column("system", no_wrap=True)
    for column in table.columns:
        shown.add_column(f"{column.title}\n{column.protocol}", justify="right")
    for row in table.rows:
        cells = [Text(cell_text(cell), style=_style(cell)) for cell in row.cells]
        shown.add_row(Text(row.name, style="bold cyan" if row.reference else ""), *cells)
    return shown


def markdown(result: Result) -> str:
    """Return the systems table as Markdown, best figures in bold."""
    table = systems_table(result)
    head = ["system", *(f"{c.title} ({c.protocol})" for c in table.columns)]
    lines = ["| " + " | ".join(head) + " |", "|---" + "|---:" * len(table.columns) + "|"]
    for row in table.rows:
        cells = [f"**{cell_text(c)}**" if c and c.best else cell_text(c) for c in row.cells]
        lines.append("| " + " | ".join([row.name, *cells]) + " |")
    return "\n".join([*lines, "", legend(table), ""])


def cell_text(cell: Cell | None) -> str:
    """Return its mark, the mean and half the width of its interval.

    The mark comes first, so that figures line up at the right.
    """
    if cell is None:
        return "–"
    spread = f" ±{number((cell.high - cell.low) / 2)}" if cell.has_interval else ""
    mark = MARKS[cell.mark]
    return f"{mark + ' ' if mark else ''}{number(cell.mean)}{spread}"


def legend(table: SystemsTable) -> str:
    """Return what the figures and marks mean."""
    seeds = max((len(row.seeds) for row in table.rows), default=1)
    parts = [
        "mean over seeds" if seeds > 1 else "one seed",
        "± half of the 95% interval over users",
    ]
    if table.marked:
        parts.append(f"▲ ▼ significantly better, worse than {table.reference}")
    return "; ".join(parts)


def _style(cell: Cell | None) -> str:
    return "bold" if cell is not None and cell.best else ""
