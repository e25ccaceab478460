"""Tables of multitask.py, closed_form.py, private_ease.py, adapters.py and regularisers.py."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path

from experiments.tables_bench import ROOT, Figures, machine_of, measurement

TESTED = (("full.ndcg@10", "NDCG@10"), ("full.hr@10", "HR@10"))
SIGNIFICANT = 0.05
NOT_RECORDED = "Not recorded."


def multitask_table(root: Path = ROOT) -> str:
    """Return the tables of several tasks, one for customers as clients and one for merchants."""
    figures = measurement("multitask", root)
    if figures is None or "differences" not in figures:  # none, or a run that was stopped
        return NOT_RECORDED
    parts = []
    for part in dict.fromkeys(row["part"] for row in figures["systems"].values()):
        rows = {n: r for n, r in figures["systems"].items() if r["part"] == part}
        first = next(iter(rows))
        head = f"| {part} as clients | validation | NDCG@10 | HR@10 | NDCG@10 against {first} |"
        lines = [head, "|---|---:|---:|---:|---:|"]
        for name, row in rows.items():
            against = figures["differences"].get(name, {}).get(TESTED[0][0])
            difference, low, high, p = against or (0.0, 0.0, 0.0, 1.0)
            told = _difference([-difference, -high, -low, p]) if against else ""
            valid = statistics.fmean(row["valid"])
            lines.append(f"| {' | '.join([name, f'{valid:.3f}', *_tested(row), told])} |")
        parts.append("\n".join(lines))
    trials = max(len(row["trials"]) for row in figures["systems"].values())
    told = (
        f"Purchases of held-out pairs, full ranking; {trials} settings of each trained system "
        "tried on validation, then 3 seeds. In brackets: 95% intervals over users; ▲ ▼ "
        "significantly better or worse, at the 5% level after Holm's correction over the table. "
        f"Measured on {machine_of(figures['machine'])}."
    )
    return "\n\n".join([*parts, told])


def closed_form_table(root: Path = ROOT) -> str:
    """Return the table of closed forms with ten thousand items."""
    figures = measurement("bench/closed_form", root)
    if figures is None:
        return NOT_RECORDED
    head = "| case | clients | items | difference | processor | alone | memory | up a client |"
    lines = [head, "|---|---:|---:|---:|---:|---:|---:|---:|"]
    for name, row in figures.items():
        if name in ("limit", "machine"):
            continue
        difference = f"{row['difference']:.1e}" if row["difference"] else "0"
        cells = [
            name,
            f"{row['users']:,}",
            f"{row['items']:,}",
            difference,
            f"{row['cpu_s']:,.0f} s",
            f"{row['centralised_cpu_s']:,.0f} s",
            f"{row['peak_rss_mib']:,} MiB",
            f"{row['bytes_up_per_client'] / 1000:,.1f} kB",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    told = (
        f"*difference*: relative, from the centralised model; at most {figures['limit']:g} is "
        "promised. *alone*: what the centralised model takes. Measured on "
        f"{machine_of(figures['machine'])}, one thread."
    )
    return "\n".join([*lines, "", told])


def private_ease_table(root: Path = ROOT) -> str:
    """Return the table of EASE with noise."""
    figures = measurement("private_ease", root)
    if figures is None:
        return NOT_RECORDED
    lines = ["| ε | δ | norm | ridge | NDCG@10 | HR@10 |", "|---:|---:|---:|---:|---:|---:|"]
    for row in figures["rows"]:
        chosen = row["chosen"]
        spent = "∞" if row["spent"] is None else f"{row['spent']:.2f}"
        delta = "" if row["delta"] is None else f"{row['delta']:.1e}"
        clip = "–" if chosen["clip"] is None else f"{chosen['clip']:g}"
        cells = [spent, delta, clip, f"{chosen['ease_l2']:g}", *_tested(row)]
        lines.append(f"| {' | '.join(cells)} |")
    told = (
        f"{max(row['seeds'] for row in figures['rows'])} draws of the noise. "
        f"Measured on {machine_of(figures['machine'])}."
    )
    return "\n".join([*lines, "", told])


def customer_ease_table(root: Path = ROOT) -> str:
    """Return the table of EASE by merchants with noise for a customer, and for a merchant."""
    figures = measurement("customer_ease", root)
    if figures is None:
        return NOT_RECORDED
    head = "| data | protected | ε | noise | norm | ridge | NDCG@10 | HR@10 |"
    lines = [head, "|---|---|---:|---:|---:|---:|---:|---:|"]
    called = {"customer": "a customer", "client": "a merchant", "none": "nobody"}
    for case, size in figures["cases"].items():
        for row in (r for r in figures["rows"] if r["case"] == case):
            chosen, noise = row["chosen"], row["noise_multiplier"]
            told = ["∞", "–", "–"]
            if row["spent"] is not None:
                told = [
                    f"{row['spent']:.2f}",
                    f"{noise * chosen['clip']:,.1f}",
                    f"{chosen['clip']:g}",
                ]
            cells = [case, called[row["unit"]], *told, f"{chosen['ease_l2']:g}", *_tested(row)]
            lines.append(f"| {' | '.join(cells)} |")
        cells = [case, "popularity", *["–"] * 4, *_tested(size["popularity"])]
        lines.append(f"| {' | '.join(cells)} |")
    sizes = "; ".join(
        f"{case}: {size['merchants']} merchants, {size['customers']:,} customers, "
        f"{size['items']:,} items"
        for case, size in figures["cases"].items()
    )
    delta = ", ".join(
        f"{d:.1e}" for d in sorted({r["delta"] for r in figures["rows"] if r["delta"]})
    )
    told_of = (
        f"{sizes}. δ: {delta}, of both units. *noise*: standard deviation on each pair of items. "
        f"{max(row['seeds'] for row in figures['rows'])} draws of the noise; in brackets 95% "
        f"intervals over users. Measured on {machine_of(figures['machine'])}."
    )
    return "\n".join([*lines, "", told_of])


def adapters_table(root: Path = ROOT) -> str:
    """Return the table of adapters with learning rates of their own."""
    figures = measurement("adapters", root)
    if figures is None:
        return NOT_RECORDED
    head = "| what is trained | learning rates | up | NDCG@10 | HR@10 | NDCG@10 against frozen |"
    lines = [head, "|---|---|---:|---:|---:|---:|"]
    for row in figures["ways"]:
        rates = ", ".join(
            f"`{k.removeprefix('server.')}={v:g}`" for k, v in row["settings"].items()
        )
        against = row.get("against_frozen", {}).get(TESTED[0][0])
        up = f"{row['bytes_up_per_client'] / 1000:,.1f} kB"
        cells = [row["way"], rates or "–", up, *_tested(row)]
        lines.append(f"| {' | '.join([*cells, _difference(against) if against else ''])} |")
    told = (
        f"Mean of {figures['seeds']} seeds; in brackets 95% intervals over users; ▲ ▼ "
        f"significantly better or worse. Measured on {machine_of(figures['machine'])}."
    )
    return "\n".join([*lines, "", told])


def regularisers_table(root: Path = ROOT) -> str:
    """Return the table of a graph of items and of contrasts, by strength."""
    figures = measurement("regularisers", root)
    if figures is None:
        return NOT_RECORDED
    head = "| what | strength | validation | NDCG@10 | HR@10 | NDCG@10 against 0 |"
    lines, seeds = [head, "|---|---:|---:|---:|---:|---:|"], 0
    for name, found in figures.items():
        if name == "machine":
            continue
        seeds = found["seeds"]
        for strength, row in found["strengths"].items():
            against = row.get("against_none", {}).get(TESTED[0][0])
            cells = [name, strength, f"{statistics.fmean(row['valid']):.4f}", *_tested(row)]
            lines.append(f"| {' | '.join([*cells, _difference(against) if against else ''])} |")
    told = (
        f"Mean of {seeds} seeds; in brackets 95% intervals over users; ▲ ▼ significantly better or "
        f"worse. Measured on {machine_of(figures['machine'])}."
    )
    return "\n".join([*lines, "", told])


def silo_methods_table(root: Path = ROOT, name: str = "silo_methods") -> str:
    """Return the table of methods for unlike merchants, or of price scales ("price_scale")."""
    figures = measurement(name, root)
    if figures is None:
        return NOT_RECORDED
    first, *_ = figures["systems"]
    head = f"| system | keys | up | validation | NDCG@10 | HR@10 | NDCG@10 against {first} |"
    lines = [head, "|---|---|---:|---:|---:|---:|---:|"]
    for name, row in figures["systems"].items():
        keys = ", ".join(f"`{k.removeprefix('train.')}={v}`" for k, v in row["keys"].items())
        against = row.get("against_first", {}).get(TESTED[0][0])
        up = f"{row['bytes_up_per_client'] / 1000:,.0f} kB"
        valid = f"{statistics.fmean(row['valid']):.3f}"
        told = _difference(against) if against else ""
        lines.append(f"| {' | '.join([name, keys, up, valid, *_tested(row), told])} |")
    tried = max(len(row["tried"]) for row in figures["systems"].values())
    told = (
        f"{tried} settings of each tried on validation, then {figures['seeds']} seeds. In "
        "brackets: 95% intervals over customers; ▲ ▼ significantly better or worse, at the 5% "
        f"level after Holm's correction. Measured on {machine_of(figures['machine'])}."
    )
    return "\n".join([*lines, "", told])


def store_prices_table(root: Path = ROOT) -> str:
    """Return how prices of stores differ from those of the others."""
    figures = measurement("store_prices", root)
    if figures is None:
        return NOT_RECORDED
    head = "| items | of a store | level | range | range's standard error | left over |"
    lines = [head, "|---|---:|---:|---:|---:|---:|"]
    for level, each in figures["levels"].items():
        told = {n: [row[n] for row in each.values()] for n in next(iter(each.values()))}
        cells = [level, f"{min(told['items']):,} to {max(told['items']):,}"]
        for name in ("level", "range"):
            mean, spread = statistics.fmean(told[name]), statistics.stdev(told[name])
            cells.append(f"{mean:.3f} ±{spread:.3f}".replace("-", "−"))
        cells += [f"{statistics.fmean(told[name]):.3f}" for name in ("error", "left")]
        lines.append(f"| {' | '.join(cells)} |")
    told_of = (
        "Mean of the stores ± their standard deviation; natural logarithms; *left over*: standard "
        f"deviation of single prices around the line. Measured on {machine_of(figures['machine'])}."
    )
    return "\n".join([*lines, "", told_of])


def _tested(row: Figures) -> list[str]:
    """Return the test metrics with their intervals."""
    out = []
    for metric, _ in TESTED:
        low, high = row["ci95"][metric]
        out.append(f"{row['test'][metric]:.3f} [{low:.3f}, {high:.3f}]")
    return out


def _difference(ends: Sequence[float]) -> str:
    """Return a difference with its interval, marked if it is significant."""
    difference, low, high, p = ends
    mark = ("▲ " if difference > 0 else "▼ ") if p < SIGNIFICANT else ""
    return f"{mark}{difference:+.3f} [{low:+.3f}, {high:+.3f}]".replace("-", "−")
