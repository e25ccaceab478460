"""The section of a report about audits, from audit.json."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedrec.errors import OutputError
from fedrec.report.sections import Grid
from fedrec.report.tables import console
from fedrec.report.view import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

AUDIT_FILE = "audit.json"
SCHEMA = 1
TITLES = {
    "support": "which items: support",
    "sign": "positive or negative: sign",
    "interaction": "which items: shadow client",
}
METRICS = {"f1": "F1", "auc": "AUC"}
Figures = Sequence[Mapping[str, Any]]
Cell = tuple[str, bool, str]
"""What is shown large, whether it beats guessing, and what is shown small."""


def load_audit(directory: Path) -> dict[str, Any] | None:
    """Read the audit.json of a directory; None if there is none.

    Raises:
        OutputError: if it cannot be read.
    """
    file = directory / AUDIT_FILE
    if not file.is_file():
        return None
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        if int(content["schema"]) > SCHEMA:
            raise OutputError(
                f"{file} has schema {content['schema']}, and this fedrec reads up to {SCHEMA}: "
                "upgrade fedrec to read it"
            )
    except (ValueError, KeyError, TypeError) as error:
        raise OutputError(f"{file} is not an audit of fedrec: {error}") from None
    return dict(content)


def audit_section(audit: Mapping[str, Any]) -> dict[str, Any]:
    """Return everything that the template of the section shows.

    Raises:
        MissingExtraError: if matplotlib is not installed.
    """
    shown = [m for m in audit["measurements"] if m["audit"] in TITLES and _headline(m)]
    numbers = sorted({m["round_number"] for m in shown})
    rounds = [(f"Round {n}", attacks(_of(shown, round_number=n))) for n in numbers]
    robust = audit["robustness"]
    return {
        "findings": audit["findings"],
        "figure": _figure(_of(shown, round_number=numbers[-1])) if numbers else "",
        "rounds": rounds,
        "singletons": _singletons(audit["measurements"]),
        "masks": _masks(audit.get("masks", ())),
        "robustness": _robustness(robust),
        "robust_figure": _robust_figure(robust),
        "membership": membership(audit["membership"]),
        "k": robust[0]["k"] if robust else 0,
    }


def print_audit(audit: Mapping[str, Any]) -> None:
    """Print the findings and the table of attacks of the last audited round."""
    from rich.table import Table

    to = console()
    for sentence in audit["findings"]:
        to.print(f"- {sentence}", highlight=False, markup=False)
    section_rounds = sorted({m["round_number"] for m in audit["measurements"]})
    for last in section_rounds[-1:]:
        shown = [m for m in audit["measurements"] if m["audit"] in TITLES and _headline(m)]
        grid = attacks(_of(shown, round_number=last))
        table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
        for i, title in enumerate(grid.head):
            table.add_column(title, justify="right" if i else "left", overflow="fold")
        for row in grid.rows:
            table.add_row(row[0], *(_plain(cell) for cell in row[1:]))  # type: ignore[arg-type]
        to.print()
        told = "in brackets: guessing, of sums without the client; ▲ better than that"
        to.print(f"Round {last}; {told}", markup=False)
        to.print(table)


def markdown_audit(audit: Mapping[str, Any]) -> str:
    """Return the findings, the attacks of the last round, masks and defences as Markdown."""
    shown = [m for m in audit["measurements"] if m["audit"] in TITLES and _headline(m)]
    last = max((m["round_number"] for m in shown), default=0)
    grids = [attacks(_of(shown, round_number=last)), _masks(audit.get("masks", ()))]
    return _markdown(audit["findings"], [*grids, _robustness(audit["robustness"])])


def markdown_membership(audit: Mapping[str, Any]) -> str:
    """Return what an audit has found about membership in the final model as Markdown."""
    said = [sentence for sentence in audit["findings"] if sentence.startswith("Membership")]
    return _markdown(said, [membership(audit["membership"])])


def _markdown(findings: Sequence[str], grids: Sequence[Grid]) -> str:
    parts = ["\n".join(f"- {sentence}" for sentence in findings)]
    for grid in grids:
        if not grid.rows:
            continue
        lines = ["| " + " | ".join(grid.head) + " |", "|---" + "|---:" * (len(grid.head) - 1) + "|"]
        for row in grid.rows:
            lines.append("| " + " | ".join([row[0], *map(_marked, row[1:])]) + " |")  # type: ignore[arg-type]
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def _marked(cell: Cell) -> str:
    text, better, small = cell
    return f"{text}{' ▲' if better else ''}" + (f" ({small})" if small else "")


def attacks(measured: Figures) -> Grid:
    """Return attacks by protections, each as a `Cell`."""
    protections = list(dict.fromkeys(m["protection"] for m in measured))
    names = list(dict.fromkeys(_name(m) for m in measured))
    cells = {(_name(m), m["protection"]): _cell(m) for m in measured}
    rows = tuple(
        (name, *(cells.get((name, p), ("–", False, "")) for p in protections)) for name in names
    )
    return Grid(("attack", *protections), rows)  # type: ignore[arg-type]


def _of(figures: Figures, **wanted: object) -> list[Mapping[str, Any]]:
    return [f for f in figures if all(f[key] == value for key, value in wanted.items())]


def _headline(measured: Mapping[str, Any]) -> bool:
    return str(measured["metric"]).split(",")[0] in METRICS


def _name(measured: Mapping[str, Any]) -> str:
    metric, _, told = str(measured["metric"]).partition(",")
    parts = [TITLES[measured["audit"]], METRICS[metric] + ("," + told if told else "")]
    return f"{', '.join(parts)} ({measured['samples']})"


def _cell(measured: Mapping[str, Any]) -> Cell:
    guess, side = measured["guess"], measured.get("side")
    of_sum = str(measured["protection"]).startswith("secure sum")
    parts = [f"{'absent' if of_sum else 'guessing'} {number(guess)}"] if guess is not None else []
    parts += [f"counts {number(side)}"] if side is not None else []
    better = measured["verdict"] == "better than guessing"
    return number(measured["value"]), better, ", ".join(parts)


def _plain(cell: Cell) -> str:
    text, better, guess = cell
    words = guess.replace(",", "").split()
    return f"{text}{' ▲' if better else ''} ({words[1]})" if words else text


def _singletons(measured: Figures) -> Grid:
    found = [m for m in measured if m["audit"] == "singletons"]
    what = {
        "rows": "touched rows",
        "users": "clients with such a row",
        "interactions": "interactions on such rows",
    }
    keys = list(dict.fromkeys((m["protection"], m["samples"], m["round_number"]) for m in found))
    rows = []
    for protection, samples, number_ in keys:
        mine = {
            m["metric"]: m
            for m in _of(found, protection=protection, samples=samples, round_number=number_)
        }
        cells = [(f"{mine[k]['value']:.1%}", False, "") if k in mine else ("–", False, "")
                 for k in what]  # fmt: skip
        rows.append((f"{protection}, {samples}, round {number_}", *cells))
    return Grid(("view", *what.values()), tuple(rows))  # type: ignore[arg-type]


def _robustness(outcomes: Figures) -> Grid:
    names = list(dict.fromkeys(o["attack"] for o in outcomes))
    defences = list(dict.fromkeys(o["defence"] for o in outcomes))
    cells = {
        (o["attack"], o["defence"]): (
            f"{o['exposure'] or 0.0:.1%}",
            False,
            f"NDCG {number(o['accuracy'])}",
        )
        for o in outcomes
    }
    rows = tuple((d, *(cells.get((a, d), ("–", False, "")) for a in names)) for d in defences)
    heads = ["no attack" if name == "none" else name for name in names]
    return Grid(("defence", *heads), rows)  # type: ignore[arg-type]


def membership(found: Figures) -> Grid:
    """Return protections by what the likelihood-ratio attack gets, each as a `Cell`."""
    rows = []
    for m in found:
        accounted = "–" if m["epsilon"] is None else number(m["epsilon"], 2)
        shown = f"{number(m['epsilon_seen'], 2)} seen" if m.get("epsilon_seen") is not None else ""
        cells: list[Cell] = [
            (number(m["auc"]), False, _ends(m["auc_interval"])),
            *(
                (f"{m['tpr'][rate]:.2%}", False, _ends(m["tpr_interval"][rate]))
                for rate in m["tpr"]
            ),
            (number(m["epsilon_low"], 2), False, shown),
            (accounted, False, f"delta {m['delta']:.2g}"),
        ]
        rows.append((m["protection"], *cells))
    rates = list(found[0]["tpr"]) if found else []
    head = ("protection", "AUC", *(f"true positives at {float(r):.1%} false" for r in rates))
    return Grid((*head, "epsilon at least", "epsilon accounted"), tuple(rows))  # type: ignore[arg-type]


def _masks(found: Figures) -> Grid:
    rows = []
    for m in found:
        low, high = m["auc_interval"]
        cells: list[Cell] = [
            (number(m["kolmogorov"], 3), False, "p-value"),
            (number(m["chi_square"], 3), False, "p-value"),
            (f"{m['complexity']:,}", False, f"of {m['bits']:,} bits; random: half"),
            (number(m["auc"]), False, f"cannot tell: {number(low)} to {number(high)}"),
            (number(m["auc_clear"]), False, ""),
        ]
        rows.append((f"{m['words']:,}", *cells))
    head = ("masked words", "Kolmogorov-Smirnov", "chi-square", "linear complexity of low bits",
            "update or none, AUC", "the same without masks")  # fmt: skip
    return Grid(head, tuple(rows))  # type: ignore[arg-type]


def _ends(interval: Sequence[float | None]) -> str:
    low, high = interval
    return "" if low is None or high is None else f"{number(low)} to {number(high)}"


def _figure(measured: Figures) -> str:
    """Return attacks as dots with intervals beside guessing, a panel for each attack."""
    from fedrec.report.plots import figure_of

    names = list(dict.fromkeys(_name(m) for m in measured if "," not in m["metric"]))
    protections = list(dict.fromkeys(m["protection"] for m in measured))
    if not names:
        return ""
    with figure_of(9.2, 0.9 + 0.3 * len(protections)) as (figure, save):
        panels = figure.subplots(1, len(names), sharey=True, squeeze=False)[0]
        for axes, name in zip(panels, names, strict=True):
            _panel(axes, [m for m in measured if _name(m) == name], protections, name)
        panels[0].set_yticks(range(len(protections)), protections)
        panels[0].invert_yaxis()
        return save("Success of attacks by protection, last audited round")


def _panel(axes: Axes, measured: Figures, protections: list[str], name: str) -> None:
    from fedrec.report.plots import MUTED, SERIES

    for m in measured:
        y = protections.index(m["protection"])
        if m["guess"] is not None:
            axes.plot([m["guess"]] * 2, [y - 0.3, y + 0.3], color=MUTED, linewidth=1.6)
        if m.get("side") is not None:
            axes.plot([m["side"]], [y], "x", color=MUTED, markersize=6)
        if m["value"] is None:
            continue
        color = SERIES[5] if m["verdict"] == "better than guessing" else SERIES[0]
        low, high = m["interval"]
        if low is not None:
            axes.plot([low, high], [y, y], color=color, linewidth=2, alpha=0.55)
        axes.plot([m["value"]], [y], "o", color=color, markersize=6)
    axes.set_xlim(-0.03, 1.03)
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0)
    axes.set_title(name.split(": ")[1].replace(" (", "\n("), fontsize=9)


def _robust_figure(outcomes: Figures) -> str:
    """Return exposure against accuracy, a dot for each defence, a panel for each attack."""
    from fedrec.report.plots import SERIES, figure_of

    names = [n for n in dict.fromkeys(o["attack"] for o in outcomes) if n != "none"]
    if not names:
        return ""
    defences = list(dict.fromkeys(o["defence"] for o in outcomes))
    with figure_of(9.2, 3.2) as (figure, save):
        panels = figure.subplots(1, len(names), sharey=True, squeeze=False)[0]
        for axes, name in zip(panels, names, strict=True):
            for o in _of(outcomes, attack=name):
                i = defences.index(o["defence"])
                label = o["defence"] if name == names[0] else None
                shown = 100 * (o["exposure"] or 0.0)
                axes.plot([shown], [o["accuracy"]], "o", color=SERIES[i % 8], label=label)
            axes.set_title(f"attack: {name}")
            axes.set_xlabel("users with the attacked item on top, %")
        panels[0].set_ylabel(f"NDCG@{outcomes[0]['k']}")
        figure.legend(loc="outside lower center", ncols=8, fontsize=8)
        return save("Exposure of the attacked item and accuracy, by defence")
