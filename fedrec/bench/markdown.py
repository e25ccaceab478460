"""The benchmark's figures as Markdown, for pages that are generated from results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fedrec.bench.stopwatch import PHASES

Figures = Mapping[str, Any]
PROMISED: dict[str, dict[str, float]] = {
    "W1": {"ratio_to_centralised": 1.2, "compile_s": 15},
    "W2": {"ratio_to_centralised": 1.5, "compile_s": 15},
    "W3": {"ratio_to_centralised": 1.2, "compile_s": 15, "peak_rss_mib": 3 * 1024},
    "W4": {
        "round_s_median": 6,
        "compile_s": 15,
        "peak_rss_mib": 12 * 1024,
        "first_round_s": 180,
    },
    "W5": {"round_s_median": 5, "compile_s": 15},
}
"""Workload -> figure -> the most that is promised on two cores."""


def markdown_workloads(figures: Figures) -> str:
    """Return the table of workloads, and one of their phases.

    Args:
        figures: as ``fedrec bench ... --json`` writes them.
    """
    found = {name: f for name, f in figures.items() if name in PROMISED}
    lines = [
        "| workload | s a round | clients/s | samples/s | × centralised | × floor | "
        "compilation | to the first round | memory |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for name, f in found.items():
        cells = [
            f"{name}: {f['about']}",
            _cell(name, f, "round_s_median", "{:.3f}"),
            f"{f['clients_per_s']:,.0f}",
            f"{f['samples_per_s']:,.0f}",
            _cell(name, f, "ratio_to_centralised", "{:.2f}"),
            f"{f['ratio_to_floor']:.1f}",
            _cell(name, f, "compile_s", "{:.1f} s"),
            _cell(name, f, "first_round_s", "{:.0f} s"),
            _cell(name, f, "peak_rss_mib", "{:,.0f} MiB"),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", "In brackets: the aim, at most. Seconds by phase:", ""]
    lines += [f"| workload | {' | '.join(PHASES)} |", f"|---|{'---:|' * len(PHASES)}"]
    for name, f in found.items():
        cells = [name, *(f"{f['phases'][phase]:.3f}" for phase in PHASES)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + _flower(found)


def _cell(name: str, figures: Figures, key: str, form: str) -> str:
    limit = PROMISED[name].get(key)
    value = form.format(figures[key])
    return value if limit is None else f"{value} ({limit:,g})"


def _flower(found: Mapping[str, Figures]) -> str:
    """Say what Flower's messages add, where it was measured."""
    if "flower" not in found.get("W1", {}):
        return ""
    one = found["W1"]
    return (
        f"\n\nW1 with negatives drawn anew: {one['round_drawn_s_median']:.3f} s a round; the whole "
        f"run through Flower's messages in one process: {one['flower']['round_s_median']:.3f} s."
    )


def markdown_curves(curves: Figures) -> str:
    """Return the tables of seconds a round over items, and over clients.

    Args:
        curves: "items" and "clients": size -> figures.
    """
    parts = []
    for kind in ("items", "clients"):
        lines = [
            f"| {kind} | samples | s a round | µs a sample | train | fold | server |",
            "|---:|---:|---:|---:|---:|---:|---:|",
        ]
        for size, f in curves[kind].items():
            seconds, phases = f["round_s_median"], f["phases"]
            each = 1e6 * seconds / f["samples"]
            told = " | ".join(f"{phases[p]:.3f}" for p in ("train", "fold", "server"))
            lines.append(
                f"| {int(size):,} | {f['samples']:,} | {seconds:.3f} | {each:.2f} | {told} |"
            )
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def markdown_sharding(runs: Sequence[Figures]) -> str:
    """Return the table of one population over several nodes.

    Args:
        runs: of `fedrec.bench.suite.bench_sharding`; speed-ups are over the first run
            with the same engine and threads.
    """
    lines = [
        "| engine | threads a node | nodes | s a round | speed-up | to nodes | from nodes |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    first: dict[tuple[str, int], float] = {}
    for run in runs:
        seconds = run["round_s_median"]
        base = first.setdefault((run["engine"], run["threads"]), seconds)
        lines.append(
            f"| {run['engine']} | {run['threads'] or 'all'} | {run['nodes']} | "
            f"{seconds:.2f} | {base / seconds:.2f} | "
            f"{_mib(run['node_bytes_down'])} | {_mib(run['node_bytes_up'])} |"
        )
    return "\n".join(lines)


def _mib(size: int) -> str:
    return f"{size / 2**20:.2f} MiB"


def markdown_secure(cases: Sequence[Figures]) -> str:
    """Return the table of sessions of secure aggregation.

    Args:
        cases: as experiments/secure_speed.py writes them.
    """
    lines = [
        "| clients | elements | bits | neighbours | lost | session (gate) | "
        "× primitives (gate) | up, down a client |",
        "|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for c in cases:
        ratio = f"{c['over_floor']:.2f}" + (f" ({c['ratio']:g})" if c["ratio"] else "")
        lines.append(
            f"| {c['clients']:,} | {c['elements']:,} | {c.get('width', 32)} | "
            f"{c['neighbours']} | {c['dropout']:.0%} | "
            f"{c['cpu_s']:.2f} s ({c['seconds']:g}) | {ratio} | "
            f"{_mib(c['bytes_up_per_client'])}, {_mib(c['bytes_down_per_client'])} |"
        )
    return "\n".join(lines)


def markdown_secure_rounds(cases: Sequence[Figures]) -> str:
    """Return the table of rounds and evaluations with and without secure aggregation.

    Args:
        cases: as experiments/secure_round.py writes them.
    """
    lines = [
        "| | a round: plain, secure | more (gate) | validation: plain, secure | "
        "test: plain, secure, bootstrap sums | largest difference |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for c in cases:
        test, difference = "–", "–"
        if c["test"]:
            spent = (c["plain_test"], c["secure_test"], c["paired_test"])
            test = ", ".join(f"{s['cpu_s']:.2f}" for s in spent) + " s"
            difference = f"{c['largest_difference']:.0e}"
        pairs = [
            f"{c[f'plain{part}']['cpu_s']:.2f}, {c[f'secure{part}']['cpu_s']:.2f} s"
            for part in ("", "_valid")
        ]
        more = f"{c['more_cpu_s']:.2f} s ({c['gate']:g})"
        lines.append(f"| {c['what']} | {pairs[0]} | {more} | {pairs[1]} | {test} | {difference} |")
    return "\n".join(lines)


def markdown_estimates(runs: Mapping[str, Figures]) -> str:
    """Return the table of estimates held against the runs themselves.

    Args:
        runs: name -> figure -> "foretold", "real", "error" (`fedrec.bench.estimate.compare`).
    """
    columns = (
        ("seconds", "seconds in all", "{:.1f}", 1.0),
        ("rounds_s", "of all rounds", "{:.1f}", 1.0),
        ("memory_mib", "memory, MiB", "{:,.0f}", 1.0),
        ("bytes_up", "clients send, MiB", "{:,.1f}", 2.0**20),
        ("bytes_down", "clients receive, MiB", "{:,.1f}", 2.0**20),
    )
    lines = [
        f"| run | {' | '.join(title for _, title, _, _ in columns)} |",
        f"|---|{'---:|' * len(columns)}",
    ]
    for name, figures in runs.items():
        cells = [name]
        for key, _, form, unit in columns:
            said, real = (form.format(figures[key][side] / unit) for side in ("foretold", "real"))
            cells.append(f"{said}, was {real} ({figures[key]['error']:+.0%})")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)
