"""Accuracy against what it costs: panels of lines with intervals, as PNG and SVG files.

For files that are looked at outside of a page (a README): colours are real ones on
white, not variables of a page as in `fedrec.report.plots`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedrec.errors import MissingExtraError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLORS = ("#2a6fb0", "#c8572b", "#2f8f5b", "#7d4fa3", "#b58a1b", "#4b5a68")
INK, MUTED, GRID = "#1d2630", "#5b6670", "#e3e7ea"
_STYLE: dict[str, Any] = {
    "svg.hashsalt": "fedrec",
    "font.size": 9,
    "text.color": INK,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": "#b8c0c6",
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "legend.frameon": False,
    "figure.constrained_layout.use": True,
}


@dataclass(frozen=True)
class Series:
    """One line of a panel.

    Attributes:
        name: for the legend.
        x: positive numbers, ascending; infinity is drawn at the right end.
        y: the accuracies.
        low: lower ends of their 95% intervals.
        high: upper ends.
    """

    name: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


@dataclass(frozen=True)
class Panel:
    """One pair of axes; x is logarithmic.

    Attributes:
        title: above it.
        x_label: what x is.
        y_label: what y is.
        series: lines.
        levels: name -> accuracy of what does not depend on x.
    """

    title: str
    x_label: str
    y_label: str
    series: tuple[Series, ...]
    levels: dict[str, float] = field(default_factory=dict)


def draw_tradeoff(rows: Sequence[Sequence[Panel]], path: Path) -> tuple[Path, Path]:
    """Draw a grid of panels; panels of a row share the y axis.

    Args:
        rows: the panels, all rows of equal length.
        path: without suffix.

    Returns:
        The PNG and the SVG file.

    Raises:
        MissingExtraError: if matplotlib is not installed.
    """
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingExtraError("matplotlib", "report", "the plots") from None
    with matplotlib.rc_context(_STYLE):
        width = len(rows[0])
        figure = Figure(figsize=(4.1 * width, 3.5 * len(rows)))
        grid = figure.subplots(len(rows), width, squeeze=False, sharey="row")
        for panels, line in zip(rows, grid, strict=True):
            top = max(_top(panel) for panel in panels)
            for i, (panel, axes) in enumerate(zip(panels, line, strict=True)):
                _draw(axes, panel, first=i == 0)
                axes.set_ylim(0.0, 1.08 * top)
        png, svg = path.with_suffix(".png"), path.with_suffix(".svg")
        figure.savefig(png, dpi=110, metadata={"Software": None})
        figure.savefig(svg, metadata={"Date": None, "Creator": None})
    return png, svg


def _top(panel: Panel) -> float:
    return max([*panel.levels.values(), *(v for s in panel.series for v in s.high), 1e-9])


def _draw(axes: Axes, panel: Panel, *, first: bool) -> None:
    finite = sorted({v for s in panel.series for v in s.x if v != float("inf")})
    end = 2.5 * finite[-1] if finite else 1.0
    for series, color in zip(panel.series, COLORS, strict=False):
        x = [end if v == float("inf") else v for v in series.x]
        axes.fill_between(x, series.low, series.high, color=color, alpha=0.13, linewidth=0)
        axes.plot(x, series.y, "o-", color=color, label=series.name, markersize=4, linewidth=1.5)
    axes.set_xscale("log")
    _ticks(axes, finite, end, infinite=any(float("inf") in s.x for s in panel.series))
    ends = axes.get_xlim()
    for name, value in panel.levels.items():
        axes.axhline(value, color=MUTED, linewidth=1.0, linestyle=(0, (4, 3)), zorder=1)
        side = free_side(panel.series, value)
        axes.annotate(
            name,
            (ends[side], value),
            xytext=(-3 if side else 3, 3),
            textcoords="offset points",
            ha="right" if side else "left",
            fontsize=7.5,
            color=MUTED,
        )
    axes.set_xlim(*ends)
    axes.set_title(panel.title)
    axes.set_xlabel(panel.x_label)
    if first:
        axes.set_ylabel(panel.y_label)
    if panel.series:
        axes.legend(fontsize=7.5, loc="lower right", bbox_to_anchor=(1.0, 0.06))


def free_side(series: Sequence[Series], level: float) -> int:
    """Return the end of a level where lines are farther from it: 0 left, 1 right."""
    gaps = [min((abs(s.y[end] - level) for s in series), default=0.0) for end in (0, -1)]
    return int(gaps[1] >= gaps[0])


def _ticks(axes: Axes, finite: list[float], end: float, *, infinite: bool) -> None:
    """Label the values that were measured, as far apart as they can be read."""
    kept: list[float] = []
    for value in finite:
        if not kept or value / kept[-1] > 1.6:
            kept.append(value)
    labels = [_short(value) for value in kept]
    if infinite:
        kept, labels = [*kept, end], [*labels, "∞"]
    axes.set_xticks(kept, labels)
    axes.set_xticks([], minor=True)


def _short(value: float) -> str:
    """Return 1200 as "1.2k", 0.5 as "0.5"."""
    return f"{value / 1000:.3g}k" if value >= 1000 else f"{value:g}"
