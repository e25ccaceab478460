"""Tables and sentences of what the cold_start scripts have measured of items and merchants."""

from __future__ import annotations

from pathlib import Path

from experiments.tables_bench import ROOT, Figures, machine_of, measurement

LIMIT = 3.0
"""Times the figure of chance that a net or tower of attributes is to reach."""

_NETS = ("attribute-net", "content-tower", "ifedrec")
_LEVEL = 0.05
_EARLY = 4
"""Weeks below which the federated start is to beat own data."""


Grid = tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]
"""Names of columns, and the cells of each row."""


def items_table(root: Path = ROOT) -> str:
    """Return the sentence and the table of strategies for new items."""
    figures = measurement("cold_start/items", root)
    if figures is None:
        return ""
    told = f"{items_about(figures)} Measured on {_machine(figures)}."
    return "\n".join([f"**{items_verdict(figures)}**", "", *pipes(items_grid(figures)), "", told])


def items_grid(figures: Figures) -> Grid:
    """Return the table of strategies for new items."""
    rows = []
    for row in figures["systems"]:
        new, every = row["new"], row["all"]
        times, size = between(new["times_random"], 2), f"{row['seeds'][0]['bytes_per_item']:,}"
        told = between(new["ndcg@20"]), times, between(new["hr@20"]), between(every["ndcg@20"], 4)
        rows.append((row["system"], *told, size))
    head = ("system", "NDCG@20, new items", "times random", "HR@20", "among all items",
            "bytes an item")  # fmt: skip
    return head, tuple(rows)


def items_about(figures: Figures) -> str:
    """Return how many seeds the figures are of."""
    seeds = max(len(row["seeds"]) for row in figures["systems"])
    fewer = {r["system"]: len(r["seeds"]) for r in figures["systems"] if len(r["seeds"]) < seeds}
    few = "".join(f" {n}: {k} seed{'s' if k > 1 else ''} alone." for n, k in fewer.items())
    return f"{seeds} seeds, 95% intervals over users.{few}"


def items_verdict(figures: Figures) -> str:
    """Say which strategy serves new items best, against chance and against the category mean."""
    rows = {row["system"]: row for row in figures["systems"]}
    best = max(rows.values(), key=lambda r: r["new"]["times_random"][0])  # seeds may differ
    nets = [r for n, r in rows.items() if n.rsplit(", ", 1)[-1] in _NETS]
    net = max(nets, key=lambda r: r["new"]["times_random"][0])
    gap = {g["system"]: g for g in figures["against_category_mean"]}[net["system"]]
    times = net["new"]["times_random"][0]
    verb = "reaches" if times >= LIMIT else "does not reach"
    return (
        f"Best for new items: {best['system']}, NDCG@20 {best['new']['ndcg@20'][0]:.3f}, "
        f"{best['new']['times_random'][0]:.2f} times the figure of chance. The best "
        f"net or tower of attributes ({net['system']}) has {times:.2f} times "
        f"and {verb} {LIMIT:g}; against the mean of the category it is {gap['gap']:+.3f} "
        f"[{gap['low']:+.3f}, {gap['high']:+.3f}]."
    ).replace("-0.", "−0.")


def merchants_table(root: Path = ROOT) -> str:
    """Return the curves of a merchant that joins, a table a market, with what they say."""
    figures = measurement("cold_start/merchants", root)
    if figures is None:
        return ""
    parts = [
        "\n".join([f"**{m['market']}.** {merchants_verdict(m)} {merchants_about(m)}", "",
                   *pipes(merchants_grid(m))])
        for m in figures["markets"]
    ]  # fmt: skip
    told = f"NDCG@10, 95% intervals over people. Measured on {_machine(figures)}."
    return "\n\n".join([*parts, told])


def joins_table(root: Path = ROOT) -> str:
    """Return the curves of merchants that join a federation trained in rounds."""
    figures = measurement("cold_start/joins", root)
    if figures is None:
        return ""
    parts = [
        "\n".join([
            f"**{m['market']}.** {merchants_verdict(m)} {m['customers']:,} customers asked of "
            f"{len(m['settings'])} merchants, each in a run of its own.",
            "",
            *pipes(merchants_grid(m)),
        ])
        for m in figures["markets"]
    ]  # fmt: skip
    told = f"NDCG@10, 95% intervals over people. Measured on {_machine(figures)}."
    return "\n\n".join([*parts, told])


def merchants_grid(market: Figures) -> Grid:
    """Return the curves of a market by weeks of own data."""
    weeks, rows = market["weeks"], []
    for name, curve in market["curves"].items():
        points = {p["weeks"]: between(p["ndcg@10"]) for p in curve}
        if points:
            rows.append((name, *(points.get(w, "") for w in weeks)))
    return ("starts from", *(f"{w} week{'' if w == 1 else 's'}" for w in weeks)), tuple(rows)


def merchants_about(market: Figures) -> str:
    """Return of how many customers and merchants the figures are."""
    number = len(market["merchants"])
    kind = "markets" if market["market"].startswith("marketplace") else "periods"
    least = min(len(merchants) for merchants in market["merchants"])
    return (
        f"{market['customers']:,} customers asked in {number} {kind}, of {least} merchants or more "
        "in each."
    )


def merchants_verdict(market: Figures) -> str:
    """Say until when the federated start beats own data, and whether the mixture ever loses."""
    versus = {n: {p["weeks"]: p for p in curve} for n, curve in market["against_own"].items()}
    worse = [w for w, p in versus["mixture"].items() if p["high"] < 0]
    shops = [p for p in market["mixture_at_merchants"] if p["high"] < 0]
    tested = len(market["mixture_at_merchants"])
    early = [w for w in market["weeks"] if w < _EARLY]
    ahead = [
        f"{name} {'at weeks ' + told if told else 'nowhere'} ({'so' if kept else 'not so'} "
        f"at each of {', '.join(map(str, early))})"
        for name in ("federated", "mixture")
        for told, kept in (_ahead(versus[name], early),)
    ]
    return (
        f"Significantly better than the merchant's own weeks alone: {'; '.join(ahead)}. The "
        f"mixture is {'never' if not worse else 'at ' + ', '.join(map(str, worse)) + ' weeks'} "
        f"significantly worse than these over all merchants; single merchants and weeks apart in "
        f"{len(shops)} of {tested} cases (about {_LEVEL / 2 * tested:.0f} would be by chance)."
    )


def merchants_miss(market: Figures) -> str:
    """Say whether the federated start beats own data below four weeks, and what the curves show."""
    versus = {p["weeks"]: p for p in market["against_own"]["federated"]}
    early = [w for w in market["weeks"] if w < _EARLY]
    missed = [w for w in early if versus[w]["low"] <= 0]
    goal = f"{market['market']}: the federated start was to beat own data below {_EARLY} weeks"
    if not missed:
        return f"{goal}, and does."
    where = ", ".join(
        f"{w} ({versus[w]['gap']:+.3f} [{versus[w]['low']:+.3f}, {versus[w]['high']:+.3f}])"
        for w in missed
    )
    own, shared = ([p["ndcg@10"][0] for p in market["curves"][n]] for n in ("own", "federated"))
    why = "the two are too close for these customers to tell them apart"
    if any(versus[w]["high"] < 0 for w in missed):
        known = market["market"].endswith("on sale")
        what = (
            "which of its items sell at the merchant" if known else "what the merchant has on sale"
        )
        why = f"own rows also show {what}, which the others' do not"
    return (
        f"{goal}, and does not at weeks {where}. The first week takes a merchant's own model from "
        f"{own[0]:.3f} to {own[1]:.3f}, and the federated one as it is stays between "
        f"{min(shared[1:]):.3f} and {max(shared[1:]):.3f}: {why}."
    )


def _ahead(points: dict[int, Figures], early: list[int]) -> tuple[str, bool]:
    """Return where a strategy is significantly ahead, by how much, and whether early on."""
    better = {w: p["gap"] for w, p in points.items() if p["low"] > 0}
    told = ", ".join(f"{w} ({gap:+.3f})" for w, gap in better.items())
    return told, all(w in better for w in early)


def boost_table(root: Path = ROOT) -> str:
    """Return what an exploration boost costs and finds."""
    figures = measurement("cold_start/boost", root)
    if figures is None:
        return ""
    told = f"{boost_about(figures)} Measured on {_machine(figures)}."
    return "\n".join([f"**{boost_verdict(figures)}**", "", *pipes(boost_grid(figures)), "", told])


def boost_about(figures: Figures) -> str:
    """Return how many weeks and markets the figures are of."""
    number = len(figures["seeds"])
    return f"{figures['weeks']} weeks, {number} markets, 95% intervals over users."


def boost_grid(figures: Figures) -> Grid:
    """Return the table of budgets."""
    rows = []
    for row in figures["systems"]:
        gap = _signed(row["purchases_gap"])
        bought, new = between(row["purchases"]), between(row["new_purchases"])
        given, most = f"{row['given']:.1%}", f"{row['most_shown']:,}"
        rows.append((row["system"], bought, gap, new, given, most, between(row["known"])))
    head = ("lists", "purchases a list", "against no boost", "of new items", "places given away",
            "most shown", "NDCG@20 of new items afterwards")  # fmt: skip
    return head, tuple(rows)


def boost_verdict(figures: Figures) -> str:
    """Say which budget pays most, and what the largest costs."""
    rows = figures["systems"]
    best = max(rows, key=lambda r: r["purchases"][0])
    low, high = best["purchases_gap"][1:]
    sure = "significantly" if low > 0 or high < 0 else "not significantly"
    if best is rows[0]:
        return "No boost sells more than lists without one."
    return (
        f"Most is bought with {best['system']}: {best['purchases_gap'][0]:+.3f} purchases a list "
        f"[{low:+.3f}, {high:+.3f}], {sure} more than without a boost; of new items "
        f"{best['new_purchases'][0]:.3f} a list instead of {rows[0]['new_purchases'][0]:.3f}."
    ).replace("-0.", "−0.")


def pipes(grid: Grid) -> list[str]:
    """Return the lines of a table in Markdown."""
    head, rows = grid
    lines = [f"| {' | '.join(cells)} |" for cells in (head, *rows)]
    return [lines[0], "|---|" + "---:|" * (len(head) - 1), *lines[1:]]


def _signed(value: list[float]) -> str:
    mean, low, high = (f"{v:+.3f}".replace("-", "−") for v in value)
    return f"{mean} [{low}, {high}]"


def between(value: list[float], digits: int = 3) -> str:
    """Return a figure with its interval."""
    mean, low, high = (f"{v:.{digits}f}" for v in value)
    return f"{mean} [{low}, {high}]"


def _machine(figures: Figures) -> str:
    return machine_of(figures["machine"])
