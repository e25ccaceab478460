"""Tables of what was measured about speed; tables.py writes them into the pages."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from fedrec.bench import markdown as bench
from fedrec.bench.markdown_peers import markdown_peers

ROOT = Path(__file__).resolve().parents[1]
RESULTS = Path("experiments") / "results"

Figures = dict[str, Any]

# What speed.py measures: key -> (what it is, unit, digits, the limit that is promised).
SPEED: dict[str, tuple[str, str, int, float]] = {
    "ml-100k.round_s_median": ("one round, all 943 clients of ML-100K", "s", 2, 0.6),
    "ml-100k.compile_s": ("compilation of a whole run on ML-100K", "s", 1, 15),
    "ml-1m-size.round_s_median": ("one round, 6,040 clients, 1 million interactions", "s", 2, 8),
    "ml-1m-size.peak_rss_mib": ("memory of it, at its peak", "MiB", 0, 4096),
    "ml-1m-size.evaluate_s_median": ("full ranking of 3,706 items for 6,040 users", "s", 2, 3),
    "start.help_s_median": ("`fedrec --help`", "s", 2, 0.7),
    "start.data_list_s_median": ("`fedrec data list`", "s", 2, 0.7),
}


def measurement(name: str, root: Path = ROOT) -> Figures | None:
    """Return the committed figures of a measurement; None if there are none."""
    file = root / RESULTS / f"{name}.json"
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None


def machine_of(machine: Mapping[str, Any]) -> str:
    """Return what a measurement was made on, in words."""
    cores, processor = machine.get("cores", "?"), machine.get("processor", "an unknown processor")
    versions = f"Python {machine.get('python', '?')}, TensorFlow {machine.get('tensorflow', '?')}"
    return f"{cores} cores of {processor}, {versions}"


def speed_table(root: Path = ROOT) -> str:
    """Return the table of what speed.py has measured."""
    figures = measurement("speed", root)
    if figures is None:
        return ""
    lines = ["| what | measured | promised |", "|---|---:|---:|"]
    for key, (what, unit, digits, limit) in SPEED.items():
        workload, figure = key.rsplit(".", 1)
        value = figures[workload][figure]
        lines.append(f"| {what} | {value:,.{digits}f} {unit} | at most {limit:,} {unit} |")
    return "\n".join([*lines, "", f"Measured on {machine_of(figures['machine'])}."])


def bench_table(name: str, root: Path = ROOT) -> str:
    """Return the tables of what ``fedrec bench`` has measured."""
    figures = measurement(f"bench/{name}", root)
    if figures is None:
        return "Not recorded."
    told: dict[str, Callable[[Figures], str]] = {
        "workloads": bench.markdown_workloads,
        "catalogue": lambda found: bench.markdown_curves(found["catalogue"]),
        "sharding": lambda found: bench.markdown_sharding(found["sharding"]),
        "estimate": lambda found: bench.markdown_estimates(found["runs"]),
        "peers": lambda found: markdown_peers(found["workloads"]),
    }
    return f"{told[name](figures)}\n\nMeasured on {machine_of(figures['machine'])}."


def secure_rows_table(root: Path = ROOT) -> str:
    """Return the table of what secure_rows.py has measured."""
    figures = measurement("secure/rows", root)
    if figures is None:
        return ""
    head = "| what is sent | HR@10 | NDCG@10 | up | down | processor | rows | clients | shown |"
    lines = [head, "|---|---:|---:|---:|---:|---:|---:|---:|---:|"]
    for row in figures["cases"]:
        told = row["exposure"]
        shown = [told[name] for name in ("rows", "exposed_clients", "interactions")] if told else []
        cells = [f"{value:.1%}" for value in shown] or ["–"] * 3
        accuracy = [f"{row['accuracy'][name]:.3f}" for name in ("hr@10", "ndcg@10")]
        sizes = [f"{row[way] / 1000:,.1f} kB" for way in ("bytes_up", "bytes_down")]
        line = [row["case"], *accuracy, *sizes, f"{row['cpu_s']:.0f} s", *cells]
        lines.append(f"| {' | '.join(line)} |")
    return "\n".join([*lines, "", f"Measured on {machine_of(figures['machine'])}."])


def secure_round_table(root: Path = ROOT) -> str:
    """Return the table of what secure_round.py has measured."""
    figures = measurement("secure/round", root)
    return bench.markdown_secure_rounds(figures["cases"]) if figures else ""


def secure_speed_table(root: Path = ROOT) -> str:
    """Return the table of what secure_speed.py has measured."""
    file = root / RESULTS / "secure" / "speed.json"
    return bench.markdown_secure(json.loads(file.read_text())) if file.is_file() else ""


def times_table(name: str, root: Path = ROOT) -> str:
    """Return how long something takes with what a script measures, and without.

    Args:
        name: "still" (still_speed.py) or "graph" (graph_speed.py).
        root: of the repository.
    """
    figures = measurement(f"bench/{name}", root)
    if figures is None:
        return ""
    lines = ["| data | model | without | with | times as fast |", "|---|---|---:|---:|---:|"]
    for row in figures["cases"]:
        cells = (row["data"], row["method"].replace("_", "-"), f"{row['without']:.2f} s",
                 f"{row['with']:.2f} s", f"{row['without'] / row['with']:.1f}")  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, "", f"Measured on {machine_of(figures['machine'])}."])
