"""Curves over what strangers reveal: a section of the report, and a table on the console."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fedrec.report.plots import MUTED, figure_of
from fedrec.report.plots import SERIES as EVERY
from fedrec.report.sections import Grid
from fedrec.report.view import metric_title, number, size, system_names
from fedrec.results import Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from rich.console import Console

Curve = Mapping[str, Mapping[str, Sequence[float]]]
"""k -> metric -> mean, or mean, low and high end of its interval."""

SERIES = (*EVERY[:2], *EVERY[3:])
"""Colours of the best strategies: all but the grey one, which the others have."""

SHOWN = ("ndcg", "hr")
_WHOLE = "whole history"


def cold_start_sections(result: Result) -> list[dict[str, Any]]:
    """Return what the report tells of strangers: an entry for each system that met some.

    Returns:
        As `cold_start_tables`, with "svg", "strategies" (statement and bytes) and "mixture"
        (weights by k; no rows without one).
    """
    found = []
    for one in cold_start_tables(result):
        told, curves = one["told"], one["curves"]
        found.append(
            {
                **one,
                "svg": curves_figure({"": curves}, metrics_of(curves), one["system"]),
                "strategies": strategy_grid(told[0]["strategies"]),
                "mixture": mixture_grid([seed["mixture"] for seed in told]),
            }
        )
    return found


def new_merchant_sections(result: Result) -> list[dict[str, Any]]:
    """Return what the report tells of a merchant that joins, as `new_merchant_tables`, with "svg",
    "strategies" (what each is, and what is known of whom) and "settings" (what each has set, by
    weeks; no rows where nothing is)."""
    found = []
    for one in new_merchant_tables(result):
        curves = one["curves"]
        figure = curves_figure(
            {"": curves}, metrics_of(curves), one["system"], "weeks of its own", "a new merchant"
        )
        rows = tuple((n, s["what"], s["privacy"]) for n, s in one["told"][0]["strategies"].items())
        grid = Grid(("strategy", "what it is", "what is known of whom"), rows)
        settings = settings_grid(one["told"][0].get("settings", {}))
        found.append({**one, "svg": figure, "strategies": grid, "settings": settings})
    return found


def settings_grid(settings: Mapping[str, Mapping[str, str]]) -> Grid:
    """Return what a merchant that joins has set for each strategy: strategies by weeks."""
    if not settings:
        return Grid((), ())
    names = list(next(iter(settings.values())))
    rows = tuple((name, *(own[name] for own in settings.values())) for name in names)
    return Grid(("set by the newcomer", *(f"weeks = {weeks}" for weeks in settings)), rows)


def new_merchant_tables(result: Result) -> list[dict[str, Any]]:
    """Return what is told without figures of a merchant that joins each system.

    Returns:
        "system", "about", "grid" (the first metric by weeks), "curves" (means over seeds) and
        "told" (what each seed has left).
    """
    found = []
    for name in system_names(result):
        told = [s.new_merchant for s in result.systems if s.name == name and s.new_merchant]
        if told:
            curves = mean_curves([one["curves"] for one in told])
            grid = curve_grid(curves, metrics_of(curves)[0], "weeks")
            own = {"system": name, "about": about_merchant(told), "grid": grid}
            found.append({**own, "curves": curves, "told": told})
    return found


def about_merchant(told: Sequence[Mapping[str, Any]]) -> str:
    """Return who joins, with what, and what was to be found."""
    one = told[0]
    seeds = f", {len(told)} seeds" if len(told) > 1 else ""
    unknown = (
        f" {one['unknown_rows']:,} of its rows are of items that nobody else sells and are left "
        "aside." if one["unknown_rows"] else ""
    )  # fmt: skip
    return " ".join(
        [
            f"Merchant {one['merchant']} has taken no part in training{seeds}. It joins with some "
            f"weeks of its own; what {one['customers']:,} of its customers buy for the first time "
            f"in its last {one['test_weeks']} weeks is to be found. The others' model is that of "
            f"the run, whose training rows may be of these weeks too.{unknown}",
            *one["notes"],
        ]
    )


def about(told: Sequence[Mapping[str, Any]]) -> str:
    """Return what was revealed by whom, and what was to be found."""
    one = told[0]
    seeds = f", {len(told)} seeds" if len(told) > 1 else ""
    return (
        f"{one['strangers']:,} users whom no training has seen{seeds}. Each reveals its "
        f"{one['reveal']} k interactions; its latest {one['test_items']} are to be found among "
        "all items that it had not met before."
    )


def mean_curves(every: Sequence[Mapping[str, Curve]]) -> dict[str, Curve]:
    """Return curves whose means and interval ends are averaged over seeds."""
    return {
        name: {
            k: {
                metric: [statistics.fmean(p) for p in zip(*(c[name][k][metric] for c in every),
                                                          strict=False)]
                for metric in metrics
            }
            for k, metrics in own.items()
        }
        for name, own in every[0].items()
    }  # fmt: skip


def metrics_of(curves: Mapping[str, Curve]) -> list[str]:
    """Return the metrics to show: NDCG and HR, at 10 or at the cut-off that comes next."""
    names = list(next(iter(next(iter(curves.values())).values())))
    shown = []
    for kind in SHOWN:
        cuts = [n for n in names if n.split("@")[0] == kind]
        shown += [min(cuts, key=lambda n: abs(int(n.split("@")[1]) - 10))] if cuts else []
    return shown or names[:1]


def k_title(k: str) -> str:
    """Return how a number of revealed interactions is shown."""
    return _WHOLE if k == "whole" else k


def curve_grid(curves: Mapping[str, Curve], metric: str, what: str = "k") -> Grid:
    """Return the means of a metric: strategies by k, with half the width of the intervals."""
    ks = list(next(iter(curves.values())))
    rows = tuple((name, *(_cell(own[k][metric]) for k in ks)) for name, own in curves.items())
    return Grid(
        (metric_title(metric), *(f"{what} = {k}" if k != "whole" else _WHOLE for k in ks)), rows
    )


def _cell(value: Sequence[float]) -> str:
    spread = f" ±{number((value[2] - value[1]) / 2)}" if len(value) > 2 else ""
    return number(value[0]) + spread


def strategy_grid(strategies: Mapping[str, Mapping[str, Any]]) -> Grid:
    """Return bytes and privacy statement of each strategy."""
    rows = tuple(
        (name, size(own["bytes_down"]), size(own["bytes_up"]), str(own["privacy"]))
        for name, own in strategies.items()
    )
    return Grid(("strategy", "a stranger receives", "it sends", "what is known of whom"), rows)


def mixture_grid(every: Sequence[Mapping[str, Mapping[str, float]]]) -> Grid:
    """Return the weights of a mixture, averaged over seeds: k by strategy."""
    told = [one for one in every if one]
    if not told:
        return Grid((), ())
    names = list(dict.fromkeys(n for one in told for own in one.values() for n in own))
    rows = tuple(
        (k_title(k), *(f"{statistics.fmean(o[k].get(n, 0.0) for o in told):.2f}" for n in names))
        for k in told[0]
    )
    return Grid(("k", *names), rows)


def curves_figure(
    panels: Mapping[str, Mapping[str, Curve]],
    metrics: Sequence[str],
    title: str,
    along: str = "revealed interactions",
    who: str = "strangers",
) -> str:
    """Return curves over k as SVG: a row of panels for each title, a column for each metric.

    The seven strategies that are best on the average are coloured, with their intervals;
    the others are grey.

    Args:
        panels: title -> strategy -> curve.
        metrics: names as in the curves.
        title: of the whole figure, for those who cannot see it.
        along: what grows from left to right.
        who: is served.
    """
    with figure_of(9.2, 0.9 + 3.1 * len(panels)) as (figure, save):
        grid = figure.subplots(len(panels), len(metrics), squeeze=False)
        names = list(dict.fromkeys(name for curves in panels.values() for name in curves))
        colors = _colors(panels, metrics[0], names)
        for axes_row, (what, curves) in zip(grid, panels.items(), strict=True):
            for axes, metric in zip(axes_row, metrics, strict=True):
                _draw(axes, curves, metric, colors)
                axes.set_title(f"{what}: {metric_title(metric)}" if what else metric_title(metric))
        for axes in grid[-1]:
            axes.set_xlabel(along)
        unique: dict[str, Any] = {}
        for axes in grid[:, 0]:
            handles, labels = axes.get_legend_handles_labels()
            unique |= dict(zip(labels, handles, strict=True))
        figure.legend(
            unique.values(), unique.keys(), loc="outside lower center", ncols=5, fontsize=9
        )
        return save(f"Accuracy for {who} by {along}, {title}")


def _colors(
    panels: Mapping[str, Mapping[str, Curve]], metric: str, names: Sequence[str]
) -> dict[str, str]:
    def standing(name: str) -> float:
        values = [
            statistics.fmean(point[metric][0] for point in curves[name].values())
            / (max(p[metric][0] for own in curves.values() for p in own.values()) or 1.0)
            for curves in panels.values()
            if name in curves
        ]
        return statistics.fmean(values)

    best = sorted(names, key=standing, reverse=True)[: len(SERIES)]
    return {name: SERIES[i] for i, name in enumerate(best)}


def _draw(axes: Axes, curves: Mapping[str, Curve], metric: str, colors: Mapping[str, str]) -> None:
    order = sorted(curves, key=lambda name: name in colors)
    for place, name in enumerate(order):
        points, color = list(curves[name].values()), colors.get(name, MUTED)
        means = [p[metric][0] for p in points]
        x = [i + 0.035 * (place - len(order) / 2) for i in range(len(points))]
        if name not in colors:
            axes.plot(x, means, color=color, linewidth=0.8, alpha=0.5, label=name)
            continue
        axes.plot(x, means, "o-", color=color, linewidth=1.5, markersize=3.5, label=name)
        for at, point in zip(x, points, strict=True):
            if len(point[metric]) > 2:
                axes.plot([at, at], point[metric][1:], color=color, linewidth=0.9, alpha=0.45)
    ks = [k_title(k).replace(" ", "\n") for k in next(iter(curves.values()))]
    axes.set_xticks(range(len(ks)), ks)
    axes.set_ylim(bottom=0)


def print_cold_start(result: Result, to: Console) -> None:
    """Print the first metric of every strategy, for strangers at every k and for a merchant that
    joins at every number of weeks."""
    from rich.table import Table

    for told in (*cold_start_tables(result), *new_merchant_tables(result)):
        grid = told["grid"]
        table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
        for at, title in enumerate(grid.head):
            table.add_column(title, justify="right" if at else "left", no_wrap=True)
        for row in grid.rows:
            table.add_row(*row)
        to.print()
        to.print(f"{told['system']}: {told['about']}", highlight=False, markup=False)
        to.print(table)


def cold_start_tables(result: Result) -> list[dict[str, Any]]:
    """Return what is told without figures of each system that met strangers.

    Returns:
        "system", "about", "grid" (the first metric), "curves" (means over seeds) and "told"
        (what each seed has left).
    """
    found = []
    for name in system_names(result):
        told = [s.cold_start for s in result.systems if s.name == name and s.cold_start]
        if told:
            curves = mean_curves([one["curves"] for one in told])
            grid = curve_grid(curves, metrics_of(curves)[0])
            own = {"system": name, "about": about(told), "grid": grid}
            found.append({**own, "curves": curves, "told": told})
    return found
