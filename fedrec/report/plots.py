"""The figures of a report, as inline SVG.

Colours are CSS variables of the page (drawn with stand-in colours that are
replaced in the SVG), so that a figure follows the page's light or dark scheme.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from fedrec.errors import MissingExtraError
from fedrec.report.history import Round, validation_curve
from fedrec.report.view import SystemsTable, metric_title, protocol_title
from fedrec.results import Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Histories = Mapping[tuple[str, int], Sequence[Round]]

INK, MUTED, GRID = "#010101", "#020202", "#030303"
SERIES = tuple(f"#0401{i:02x}" for i in range(8))
_VARIABLES = {INK: "var(--ink)", MUTED: "var(--muted)", GRID: "var(--line)"} | {
    color: f"var(--s{i})" for i, color in enumerate(SERIES)
}
_STYLE: dict[str, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "fedrec",
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": GRID,
    "axes.titlecolor": INK,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.formatter.useoffset": False,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "legend.frameon": False,
    "figure.constrained_layout.use": True,
}


def convergence(result: Result, histories: Histories, select: str) -> str:
    """Return curves of the validation metric and of the loss, one line a seed.

    Selected rounds are dots; the dashed lines are validation figures of the
    systems that are not trained in rounds.

    Args:
        result: the systems.
        histories: rounds by (system, seed).
        select: validation metric, as "full.ndcg@10".

    Returns:
        SVG, or "" if no system has rounds.
    """
    if not histories:
        return ""
    with figure_of(9.2, 3.7) as (figure, save):
        left, right = figure.subplots(1, 2, width_ratios=(3, 2))
        colors = _colors(result)
        seen: set[str] = set()
        for (name, seed), rounds in histories.items():
            label = None if name in seen else name
            seen.add(name)
            style = {"color": colors[name], "linewidth": 1.4, "alpha": 0.85}
            x, y = validation_curve(rounds, select)
            left.plot(x, y, label=label, **style)
            system = next(s for s in result.systems if (s.name, s.seed) == (name, seed))
            if system.selected_round in x:
                at = x.index(system.selected_round)
                left.plot(x[at], y[at], "o", color=colors[name], markersize=5)
            losses = [(r.number, r.loss) for r in rounds if r.loss is not None]
            right.plot([p[0] for p in losses], [p[1] for p in losses], **style)
        _references(left, result, select, seen, colors)
        protocol = protocol_title(select.split(".")[0])
        left.set_title(f"{metric_title(select)} on validation, {protocol}")
        right.set_title("training loss")
        for axes in (left, right):
            axes.set_xlabel("round")
        handles, labels = left.get_legend_handles_labels()
        if len(labels) > 1:
            figure.legend(handles, labels, loc="outside lower center", ncols=6, fontsize=9)
        return save(f"Convergence: validation {metric_title(select)} and training loss by round")


def systems(table: SystemsTable, columns: Sequence[int]) -> str:
    """Return dots with 95% intervals, a panel for each of the chosen columns of the table."""
    height = 0.6 + 0.34 * len(table.rows)
    with figure_of(9.2, height) as (figure, save):
        panels = figure.subplots(1, len(columns), sharey=True, squeeze=False)[0]
        for axes, column in zip(panels, columns, strict=True):
            _dots(axes, table, column)
        axes = panels[0]
        axes.set_yticks(range(len(table.rows)), [row.name for row in table.rows])
        axes.invert_yaxis()
        for label, row in zip(axes.get_yticklabels(), table.rows, strict=True):
            label.set_color(INK)
            label.set_fontweight("bold" if row.reference else "normal")
        return save("Systems with 95% intervals over users")


def traffic(result: Result, histories: Histories, select: str, clients: int) -> str:
    """Return validation accuracy against what a client has sent so far.

    Args:
        result: the systems.
        histories: rounds by (system, seed).
        select: validation metric, as "full.ndcg@10".
        clients: number of clients in the population, over which traffic is averaged.

    Returns:
        SVG, or "" if nothing was sent.
    """
    with figure_of(4.4, 2.9) as (figure, save):
        axes = figure.subplots()
        colors, seen = _colors(result), set()
        for (name, _), rounds in histories.items():
            sent, total = {}, 0.0
            for r in rounds:
                total += r.bytes_up
                sent[r.number] = total / max(1, clients) / 2**20
            x, y = validation_curve(rounds, select)
            if total:
                label = None if name in seen else name
                seen.add(name)
                axes.plot([sent[i] for i in x], y, color=colors[name], label=label, linewidth=1.4)
        if not seen:
            return ""
        axes.set_title(f"{metric_title(select)} by traffic")
        axes.set_xlabel("MiB sent by a client so far")
        if len(seen) > 1:
            axes.legend(loc="lower right", fontsize=9)
        return save(f"Validation {metric_title(select)} against bytes sent by a client")


def phases(seconds: Mapping[str, Mapping[str, float]]) -> str:
    """Return where the time of a round goes: system -> phase -> mean seconds; "" without any."""
    names = [name for name, parts in seconds.items() if sum(parts.values()) > 0]
    if not names:
        return ""
    with figure_of(4.4, 1.3 + 0.4 * len(names)) as (figure, save):
        axes = figure.subplots()
        labels = list(dict.fromkeys(phase for name in names for phase in seconds[name]))
        left = [0.0] * len(names)
        for i, phase in enumerate(labels):
            width = [1000 * seconds[name].get(phase, 0.0) for name in names]
            axes.barh(names, width, left=left, height=0.55, color=SERIES[i % 8], label=phase)
            left = [a + b for a, b in zip(left, width, strict=True)]
        axes.invert_yaxis()
        axes.grid(axis="y", visible=False)
        axes.tick_params(axis="y", length=0, labelcolor=INK)
        axes.set_title("time of a round")
        axes.set_xlabel("ms, mean over rounds")
        figure.legend(loc="outside lower center", ncols=3, fontsize=9)
        return save("Mean duration of a round by phase")


def _dots(axes: Axes, table: SystemsTable, column: int) -> None:
    for y, row in enumerate(table.rows):
        cell = row.cells[column]
        if cell is None:
            continue
        color = SERIES[0] if row.reference else MUTED
        if cell.has_interval:
            axes.plot([cell.low, cell.high], [y, y], color=color, linewidth=2, alpha=0.55)
        axes.plot([cell.mean], [y], "o", color=color, markersize=6)
        if row.reference:
            axes.axvline(cell.mean, color=SERIES[0], linewidth=0.8, linestyle=(0, (3, 3)))
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0)
    axes.locator_params(axis="x", nbins=5)
    axes.margins(y=0.12)
    title = table.columns[column]
    axes.set_title(f"{title.title}, {title.protocol}")


def _references(
    axes: Axes, result: Result, select: str, seen: set[str], colors: Mapping[str, str]
) -> None:
    """Draw the validation figure of each system without rounds as a labelled line."""
    lines = [
        s
        for s in result.summarise()
        if s.metric == f"valid.{select}" and s.system not in seen and s.mean == s.mean
    ]
    for line in lines:
        axes.axhline(
            line.mean, color=colors[line.system], linewidth=1.2, linestyle="--", label=line.system
        )


def _colors(result: Result) -> dict[str, str]:
    names = dict.fromkeys(s.name for s in result.systems)
    return {name: SERIES[i % len(SERIES)] for i, name in enumerate(names)}


@contextmanager
def figure_of(width: float, height: float) -> Iterator[tuple[Figure, Any]]:
    """Give a figure of some inches, and a function that turns it into SVG with a title."""
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingExtraError("matplotlib", "report", "report.html") from None
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(width, height))
        figure.patch.set_alpha(0.0)

        def save(title: str) -> str:
            for axes in figure.axes:
                axes.patch.set_alpha(0.0)
            buffer = io.StringIO()
            figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
            return _inline(buffer.getvalue(), title)

        yield figure, save


def _inline(svg: str, title: str) -> str:
    """Return SVG to be put into HTML: no prolog, page colours and fonts, unique ids, a title."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    for color, variable in _VARIABLES.items():
        svg = svg.replace(color, variable)
    svg = re.sub(r"(font: [^;\"]*?)'DejaVu Sans'[^;\"]*", r"\1var(--font)", svg)
    prefix = re.sub(r"\W+", "", title)[:24]
    svg = re.sub(r'id="', f'id="{prefix}-', svg)
    svg = re.sub(r'(href="#|url\(#)', rf"\g<1>{prefix}-", svg)
    return svg.replace("<svg", f'<svg role="img" aria-label="{title}"', 1)
