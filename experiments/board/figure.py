"""The leaderboard's figure: a dot with its interval for each system, drawn by its kind."""

from __future__ import annotations

from typing import Any

from experiments.board.standings import METRIC, Table
from fedrec.report.plots import INK, MUTED, SERIES, figure_of

FEDERATED, TWIN, BASELINE = SERIES[0], SERIES[1], MUTED
KINDS = {
    "federated": (FEDERATED, "o", "federated"),
    "centralised": (TWIN, "D", "the same model, centralised"),
    "baseline": (BASELINE, "s", "centralised baseline"),
}
"""Kind -> colour, marker and name in the legend."""


def board_figure(table: Table) -> str:
    """Return NDCG@10 of all systems that have been run, the best first, as inline SVG.

    Args:
        table: the standings of a data set.

    Returns:
        SVG, or "" if nothing has been run.

    Raises:
        MissingExtraError: if matplotlib is not installed.
    """
    if not table.run:
        return ""
    with figure_of(9.2, 0.9 + 0.235 * len(table.run)) as (figure, save):
        axes: Any = figure.subplots()
        seen: set[str] = set()
        for y, row in enumerate(table.run):
            color, marker, named = KINDS[row.kind]
            found = (row.result or {})["metrics"][METRIC]
            axes.plot([found["low"], found["high"]], [y, y], color=color, linewidth=2, alpha=0.45)
            told = None if named in seen else named
            seen.add(named)
            axes.plot([found["mean"]], [y], marker, color=color, markersize=5.5, label=told, ls="")
            if row.row == table.reference:
                axes.axvline(found["mean"], color=BASELINE, linewidth=0.8, linestyle=(0, (3, 3)))
        axes.set_yticks(range(len(table.run)), [row.name for row in table.run])
        axes.invert_yaxis()
        axes.tick_params(axis="y", length=0, labelcolor=INK, labelsize=9)
        axes.grid(axis="y", visible=False)
        axes.margins(y=0.6 / max(1, len(table.run)))
        axes.set_title("NDCG@10 on the test part, full ranking")
        axes.legend(loc="lower right", fontsize=9)
        return save(f"NDCG@10 of all systems on {table.data} with 95% intervals over users")
