"""The benchmark's figures as tables on the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from fedrec.bench.stopwatch import PHASES

Figures = Mapping[str, Any]
COLUMNS = (
    ("s a round", "round_s_median", "{:.3f}"),
    ("clients/s", "clients_per_s", "{:,.0f}"),
    ("samples/s", "samples_per_s", "{:,.0f}"),
    ("x centralised", "ratio_to_centralised", "{:.2f}"),
    ("x floor", "ratio_to_floor", "{:.1f}"),
    ("compile s", "compile_s", "{:.1f}"),
    ("peak MiB", "peak_rss_mib", "{:,.0f}"),
)


def print_workloads(found: Mapping[str, Figures], console: Console | None = None) -> None:
    """Print workloads, or points of a curve: speed, ratios, memory, and phases."""
    console = console or Console()
    table = Table(title="beside a centralised epoch on the same samples", box=box.SIMPLE)
    table.add_column("workload", no_wrap=True)
    for title, _, _ in COLUMNS:
        table.add_column(title, justify="right")
    for name, figures in found.items():
        table.add_row(name, *(form.format(figures[key]) for _, key, form in COLUMNS))
    console.print(table)
    phases = Table(title="seconds by phase", box=box.SIMPLE)
    phases.add_column("workload", no_wrap=True)
    for phase in PHASES:
        phases.add_column(phase, justify="right")
    for name, figures in found.items():
        phases.add_row(name, *(f"{figures['phases'][phase]:.3f}" for phase in PHASES))
    console.print(phases)
    for name, figures in found.items():
        about = escape(figures["about"])  # [user, item] is no style
        console.print(f"{name}: {about}{_flower(figures)}", highlight=False)


def _flower(figures: Figures) -> str:
    """Say what the same rounds take as Flower messages."""
    if "flower" not in figures:
        return ""
    drawn, flower = figures["round_drawn_s_median"], figures["flower"]["round_s_median"]
    return (
        f"; with negatives drawn anew {drawn:.3f} s a round, "
        f"{flower:.3f} s through Flower's messages"
    )


def print_sharding(runs: list[dict[str, Any]], console: Console | None = None) -> None:
    """Print the rounds of one population over several nodes."""
    table = Table(title="one population over several nodes", box=box.SIMPLE)
    titles = ("engine", "threads a node", "nodes", "s a round", "MiB to nodes", "MiB from nodes")
    for title in titles:
        table.add_column(title, justify="left" if title == "engine" else "right")
    for run in runs:
        table.add_row(
            run["engine"],
            str(run["threads"] or "all"),
            str(run["nodes"]),
            f"{run['round_s_median']:.3f}",
            f"{run['node_bytes_down'] / 2**20:.2f}",
            f"{run['node_bytes_up'] / 2**20:.2f}",
        )
    (console or Console()).print(table)
