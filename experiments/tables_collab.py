"""Tables of what cross_domain.py and vertical.py have measured."""

from __future__ import annotations

from pathlib import Path

from experiments.tables_bench import ROOT, Figures, machine_of, measurement

_METHODS = {"ials": "implicit ALS", "ease": "EASE"}
_SYSTEMS = {"alone": "purchases alone", "with": "with attributes", "placebo": "placebo"}


def domains_table(root: Path = ROOT) -> str:
    """Return the table of each domain alone and together with the others."""
    figures = measurement("collab/domains", root)
    if figures is None:
        return ""
    sides = "alone | together | gain"
    head = f"| domain | users | method | NDCG@10 {sides} | Recall@20 {sides} |"
    lines = [head, "|---|---:|---|---:|---:|---:|---:|---:|---:|"]
    for row in figures["cases"]:
        for name, method in row["methods"].items():
            cells = [_domain(row), f"{row['users']:,}", _METHODS[name]]
            for metric in ("ndcg@10", "recall@20"):
                cells += [f"{method[side][metric]:.3f}" for side in ("alone", "together")]
                ends = (method["gain"][metric][k] for k in ("difference", "low", "high"))
                cells.append(_gain(*ends))
            lines.append(f"| {' | '.join(cells)} |")
        both = [f"{row['popularity'][metric]:.3f}" for metric in ("ndcg@10", "recall@20")]
        cells = [_domain(row), f"{row['users']:,}", "popularity", both[0], both[0], ""]
        lines.append(f"| {' | '.join([*cells, both[1], both[1], ''])} |")
    return "\n".join([*lines, "", _domains_told(figures)])


def _domains_told(figures: Figures) -> str:
    told = []
    for name, called in _METHODS.items():
        gains = [row["methods"][name]["gain"]["ndcg@10"] for row in figures["cases"]]
        sure = [gain["difference"] for gain in gains if gain["p_adjusted"] < 0.05]
        up = sum(gain > 0 for gain in sure)
        told.append(
            f"{called} gains NDCG@10 in {up} of {len(gains)} cases and loses in {len(sure) - up}"
        )
    best = [
        max(m["together"]["ndcg@10"] for m in row["methods"].values())
        > row["popularity"]["ndcg@10"]
        for row in figures["cases"]
    ]
    return (
        f"Full ranking among the items of the domain, seed {figures['seed']}; gains with 95% "
        f"intervals over users, paired. After Holm's correction {'; '.join(told)}. The better of "
        f"both, together, is above popularity in {sum(best)} of {len(best)} cases: where it is "
        "not, a gain says more of the method than of the domains. "
        f"Measured on {machine_of(figures['machine'])}."
    )


def _domain(row: Figures) -> str:
    keys = row["keys"]
    overlap = keys.get("domain.by") == "merchant"
    where = "" if row["case"].startswith("marketplace") else "Complete Journey, "
    return f"{where}{row['case']} ({'users and items overlap' if overlap else 'same users'})"


def _gain(difference: float, low: float, high: float) -> str:
    return f"{difference:+.3f} [{low:+.3f}, {high:+.3f}]".replace("-", "−")


def vertical_table(root: Path = ROOT) -> str:
    """Return the table of purchases alone, with attributes and with a placebo."""
    figures = measurement("collab/vertical", root)
    if figures is None:
        return ""
    head = "| data | customers | system | NDCG@10 | gain | Recall@20 | gain |"
    lines = [head, "|---|---|---|---:|---:|---:|---:|"]
    for row in figures["cases"]:
        for group, systems in row["groups"].items():
            for name, values in systems.items():
                cells = [row["case"], group, _SYSTEMS[name]]
                for metric in ("ndcg@10", "recall@20"):
                    gain = values.get(f"{metric} gain")
                    cells += [f"{values[metric]:.3f}", _gain(*gain) if gain else ""]
                lines.append(f"| {' | '.join(cells)} |")
    told = []
    for row in figures["cases"]:
        shown = ", ".join(
            f"{name} {one['right']:.0%} (commonest value {one['commonest']:.0%})"
            for name, one in row["read"].items()
        )
        seeds = ", ".join(map(str, row["seeds"]))
        told.append(
            f"{row['case']}: {row['customers']:,} common customers, {row['columns']} columns, seed"
            f"{'s' if len(row['seeds']) > 1 else ''} {seeds}. Who knows an attribute of a tenth of "
            f"them reads it out of the answers for the others: {shown}."
        )
    told.append(
        f"Cold-ish customers have {figures['left']} training interactions. Gains over purchases "
        "alone with 95% intervals over users, paired. Measured on "
        f"{machine_of(figures['machine'])}."
    )
    return "\n".join([*lines, "", *told])
