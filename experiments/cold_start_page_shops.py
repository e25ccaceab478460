"""The sections of the cold-start page on items, merchants and the exploration boost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from experiments import tables_cold_start as tables
from experiments.cold_start_section import Figure, Section, Table
from fedrec.report.plots import figure_of

Found = Mapping[str, Any]

_COLORS = ("var(--s0)", "var(--s1)", "var(--s2)", "var(--s3)", "var(--s4)", "var(--s5)")
_HEX = ("#1f5fd1", "#d9730d", "#7a8390", "#2b8a5b", "#8e44ad", "#c0392b")

_OWN_MERCHANT = (
    "The same curves for a merchant of your own data: coldstart.merchant (its name or number) and "
    "coldstart.weeks in any run of EASE, or of merchants that train a model in rounds. They stand "
    "in the report of the run, with what the newcomer has set for itself."
)
_OWN_BOOST = (
    "For new items of your own data: coldstart.items and coldstart.boost in a run with "
    "split.protocol = cold-items. The report of the run has a table of what is shown, and the most "
    "that it costs, under several budgets."
)


def items_section(results: Found) -> Section:
    """Return the section of experiments/results/cold_start/items.json."""
    rows = results["systems"]
    points = [(row["system"], row["new"]["ndcg@20"]) for row in rows]
    needs = tuple(
        (row["system"], f"{row['seeds'][0]['bytes_per_item']:,}", row["seeds"][0]["privacy"])
        for row in rows
    )
    head, cells = tables.items_grid(dict(results))
    return Section(
        "Items",
        tables.items_verdict(dict(results)),
        (
            "Products of Complete Journey that at least 50 households bought: a tenth is held out "
            "entirely for the test, another for validation, which chooses the round and the keys "
            f"of each strategy. {tables.items_about(dict(results))}",
        ),
        (
            Figure(
                "NDCG@20 of new items among new items",
                dots("NDCG@20 of new items among new items", points),
                "items.svg",
                "New items ranked among themselves. Bars: 95% interval over users.",
            ),
        ),
        (
            Table("Strategies for new items", head, cells),
            Table("What each needs", ("system", "bytes an item", "what is needed where"), needs,
                  folded=True, prose=True),
        ),
    )  # fmt: skip


def merchants_section(results: Found) -> Section:
    """Return the section of experiments/results/cold_start/merchants.json."""
    markets = [dict(market) for market in results["markets"]]
    figures, shown = _curves(markets, "merchants")
    needs = tuple((n, f["what"], f["privacy"]) for n, f in results["strategies"].items())
    shown.append(Table("What each needs", ("starts from", "what it is", "what leaves"), needs,
                       folded=True, prose=True))  # fmt: skip
    return Section(
        "Merchants",
        " ".join(f"{m['market']}: {tables.merchants_verdict(m)}" for m in markets),
        (
            "EASE. Each of ten merchants is held out entirely in turn and joins with its last 0 to "
            "16 weeks. " + " ".join(f"{m['market']}: {tables.merchants_about(m)}" for m in markets),
            " ".join(tables.merchants_miss(m) for m in markets),
            _OWN_MERCHANT,
        ),
        tuple(figures),
        tuple(shown),
    )


def joins_section(results: Found) -> Section:
    """Return the section of experiments/results/cold_start/joins.json."""
    markets = [dict(market) for market in results["markets"]]
    figures, shown = _curves(markets, "joins")
    asked = ", ".join(
        f"{m['customers']:,} customers of {len(m['settings'])} merchants on the {m['market']} data"
        for m in markets
    )
    return Section(
        "Merchants that join a model trained in rounds",
        " ".join(f"{m['market']}: {tables.merchants_verdict(m)}" for m in markets),
        (
            "Matrix factorisation by FedAvg; in each run one merchant is held out entirely and "
            f"joins with its last 0 to 16 weeks: {asked}.",
            " ".join(tables.merchants_miss(m) for m in markets),
        ),
        tuple(figures),
        tuple(shown),
    )


def _curves(markets: list[dict[str, Any]], kind: str) -> tuple[list[Figure], list[Table]]:
    """Return a figure and a table for each market."""
    figures, shown = [], []
    for market in markets:
        name = market["market"]
        curves = {n: c for n, c in market["curves"].items() if c and n != "oracle"}
        title = f"{name}: NDCG@10 against weeks of own data"
        file = f"{kind}-{name.replace(', ', '-').replace(' ', '-')}.svg"
        figures.append(
            Figure(title, lines(title, curves, market["weeks"]), file,
                   f"{title}. Bars: 95% interval over people.")
        )  # fmt: skip
        shown.append(Table(f"{name}: NDCG@10", *tables.merchants_grid(market)))
    return figures, shown


def boost_section(results: Found) -> Section:
    """Return the section of experiments/results/cold_start/boost.json."""
    points = [(row["system"], row["purchases"]) for row in results["systems"]]
    title = "purchases a list, all weeks together"
    head, cells = tables.boost_grid(dict(results))
    return Section(
        "Exploration boost",
        tables.boost_verdict(dict(results)),
        (
            "A marketplace whose users' true preferences are known, a fifth of its items new; "
            f"lists of ten, and purchases by true preference. {tables.boost_about(dict(results))}",
            _OWN_BOOST,
        ),
        (
            Figure(title, dots(title, points), "boost.svg",
                   f"{title.capitalize()}. Bars: 95% interval over users."),
        ),
        (Table("Budgets", head, cells),),
    )  # fmt: skip


def dots(title: str, points: list[tuple[str, list[float]]]) -> str:
    """Draw figures with their intervals, a line each.

    Args:
        title: below the axis, and for those who cannot see it.
        points: name, and mean, low, high.

    Returns:
        SVG.
    """
    with figure_of(7.2, 0.6 + 0.3 * len(points)) as (figure, save):
        axes = figure.add_subplot()
        for place, (_, (mean, low, high)) in enumerate(points):
            axes.plot([low, high], [place, place], color=_HEX[0], linewidth=1.5)
            axes.plot([mean], [place], "o", color=_HEX[0], markersize=5)
        axes.set_yticks(range(len(points)), [name for name, _ in points])
        axes.invert_yaxis()
        axes.set_xlabel(title)
        return _themed(save(title))


def lines(title: str, curves: Mapping[str, list[Mapping[str, Any]]], weeks: list[int]) -> str:
    """Draw curves over weeks of own data, with intervals.

    Args:
        title: for those who cannot see it.
        curves: name -> points with "weeks" and "ndcg@10" (mean, low, high).
        weeks: of the axis, evenly spaced.

    Returns:
        SVG.
    """
    with figure_of(7.2, 3.6) as (figure, save):
        axes = figure.add_subplot()
        for number, (name, curve) in enumerate(curves.items()):
            at = [weeks.index(p["weeks"]) + 0.06 * (number - 2) for p in curve]
            mean, low, high = (list(c) for c in zip(*(p["ndcg@10"] for p in curve), strict=True))
            color = _HEX[number % len(_HEX)]
            axes.vlines(at, low, high, color=color, linewidth=1.2)
            axes.plot(at, mean, "o-", color=color, markersize=4, linewidth=1.5, label=name)
        axes.set_xticks(range(len(weeks)), [str(w) for w in weeks])
        axes.set_xlabel("weeks of own data")
        axes.set_ylabel("NDCG@10")
        axes.legend(frameon=False)
        return _themed(save(title))


def _themed(svg: str) -> str:
    """Return a figure whose colours are those of the page it stands in."""
    for value, name in zip(_HEX, _COLORS, strict=True):
        svg = svg.replace(value, name)
    return svg
