"""Figures of several simulators side by side, as Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Figures = Mapping[str, Any]
COLUMNS = ("s a round", "clients/s", "times slower", "update error")
LARGEST_ERROR = 0.01
"""Relative error of the mean update from which the training is not taken for the same."""
AIMS: dict[str, dict[str, float]] = {
    "W1": {"FedJAX": 4, "pfl-research": 10, "Flower, Ray": 100},
    "W2": {"FedJAX": 2, "pfl-research": 6},
    "W3": {"FedJAX": 25, "pfl-research": 70},
}
"""Workload -> simulator -> how many times slower than fedrec it is to be, at least."""


def markdown_peers(workloads: Mapping[str, Mapping[str, Figures]]) -> str:
    """Return the table of simulators on workloads, and what is to be said of its cells.

    Args:
        workloads: workload -> simulator -> figures, as experiments/peers/compare.py writes
            them: "round_s", "clients_per_s", "times_slower" (None without fedrec beside
            it), "update_error" and "versions", or "error", or both.
    """
    names = list(dict.fromkeys(name for found in workloads.values() for name in found))
    head = [f"{w}: {COLUMNS[0]} | {' | '.join(COLUMNS[1:])}" for w in workloads]
    lines = [
        f"| simulator | {' | '.join(head)} |",
        f"|---|{'---:|' * len(COLUMNS) * len(workloads)}",
    ]
    for name in names:
        cells = [cell for w in workloads for cell in _cells(w, name, workloads[w].get(name, {}))]
        lines.append(f"| {' | '.join([name, *cells])} |")
    told = "In brackets: the aim; where the figure before it is smaller, it was not reached."
    lines += ["", " ".join([told, *_versions(workloads)]), *_notes(workloads)]
    return "\n".join(lines)


def _cells(workload: str, name: str, figures: Figures) -> list[str]:
    if "round_s" not in figures:
        return ["–"] * len(COLUMNS)
    slower, aim = figures["times_slower"], AIMS.get(workload, {}).get(name)
    ratio = "–" if slower is None else f"{slower:,.1f}"
    return [
        f"{figures['round_s']:.3f}",
        f"{figures['clients_per_s']:,.0f}",
        ratio if aim is None else f"{ratio} ({aim:g})",
        f"{figures['update_error']:.1g}",
    ]


def _versions(workloads: Mapping[str, Mapping[str, Figures]]) -> list[str]:
    """Return a sentence with every package that took part."""
    found: dict[str, str] = {}
    for figures in (f for named in workloads.values() for f in named.values()):
        found |= figures.get("versions", {})
    return [f"Versions: {', '.join(f'{n} {v}' for n, v in found.items())}."] if found else []


def _notes(workloads: Mapping[str, Mapping[str, Figures]]) -> list[str]:
    """Return why cells are empty, or not to be trusted."""
    notes = []
    for workload, found in workloads.items():
        for name, figures in found.items():
            if "error" in figures:
                notes.append(f"* {name}, {workload}: {figures['error']}.")
            if figures.get("update_error", 0.0) > LARGEST_ERROR:
                notes.append(f"* {name}, {workload}: its update is not that of fedrec.")
    return ["", *notes] if notes else []
