"""What an exploration boost would show: a section of the report, and a table on the console."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fedrec.report.sections import Grid
from fedrec.report.view import number, system_names
from fedrec.results import Result

if TYPE_CHECKING:
    from rich.console import Console


def exploration_sections(result: Result) -> list[dict[str, Any]]:
    """Return "system", "about" and "grid" of each system whose boost was measured."""
    found = []
    for name in system_names(result):
        told = [s.exploration for s in result.systems if s.name == name and s.exploration]
        if told:
            found.append({"system": name, "about": _about(told), "grid": _grid(told)})
    return found


def print_exploration(result: Result, to: Console) -> None:
    """Print the same."""
    from rich.table import Table

    for told in exploration_sections(result):
        table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
        for at, title in enumerate(told["grid"].head):
            table.add_column(title, justify="right" if at else "left")
        for row in told["grid"].rows:
            table.add_row(*row)
        to.print()
        to.print(f"{told['system']}: {told['about']}", highlight=False, markup=False)
        to.print(table)


def _about(told: Sequence[Mapping[str, Any]]) -> str:
    one = told[0]
    seeds = f", {len(told)} seeds" if len(told) > 1 else ""
    return (
        f"What the boost of {one['new_items']:,} new items (coldstart.boost = "
        f"{one['strength']:g}) would show in the first list of {one['users']:,} users{seeds}. The "
        "held-out purchases are of new items; what is left of the model's own list is its NDCG "
        "were its own items relevant and no other, so that the rest is the most that a boost costs."
    )


def _grid(told: Sequence[Mapping[str, Any]]) -> Grid:
    k, total = told[0]["k"], told[0]["new_items"]
    head = (
        "places it may take", "places it takes", "places of new items", "new items shown",
        f"NDCG@{k} of held-out purchases", "left of the model's own list",
    )  # fmt: skip
    rows = []
    for every in zip(*(one["rows"] for one in told), strict=True):
        shown = statistics.fmean(row["shown"] for row in every)
        rows.append((
            f"{every[0]['share']:.0%}" if every[0]["share"] else "none",
            *(_percent([row[n] for row in every]) for n in ("given", "exposure")),
            f"{shown:,.0f} of {total:,}",
            _figure([row["ndcg"] for row in every]),
            _percent([row["kept"] for row in every]),
        ))  # fmt: skip
    return Grid(head, tuple(rows))


def _mean(values: Sequence[Sequence[float]]) -> list[float]:
    return [statistics.fmean(part) for part in zip(*values, strict=True)]


def _percent(values: Sequence[Sequence[float]]) -> str:
    found = _mean(values)
    spread = f" ±{50 * (found[2] - found[1]):.1f}" if len(found) > 2 else ""
    return f"{100 * found[0]:.1f}{spread} %"


def _figure(values: Sequence[Sequence[float]]) -> str:
    found = _mean(values)
    return number(found[0]) + (f" ±{number((found[2] - found[1]) / 2)}" if len(found) > 2 else "")
