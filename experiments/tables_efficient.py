"""Tables of what efficient.py and fair.py have measured."""

from __future__ import annotations

import statistics
from pathlib import Path

from experiments.tables_bench import ROOT, Figures, machine_of, measurement


def efficient_table(root: Path = ROOT) -> str:
    """Return the table of rounded downloads and low-rank adapters."""
    figures = measurement("efficient", root)
    if figures is None:
        return ""
    head = "| what is trained and sent | HR@10 | NDCG@10 | up | down | of it fixed |"
    lines = [head, "|---|---:|---:|---:|---:|---:|"]
    for row in figures["cases"]:
        accuracy = [_with_interval(row, metric) for metric in ("hr@10", "ndcg@10")]
        sizes = [row[f"bytes_{way}"] for way in ("up", "down", "fixed")]
        told = [f"{size / 1000:,.1f} kB" if size else "–" for size in sizes]
        lines.append(f"| {' | '.join([row['case'], *accuracy, *told])} |")
    return "\n".join([*lines, "", f"Measured on {machine_of(figures['machine'])}."])


def _with_interval(row: Figures, metric: str) -> str:
    low, high = row["ci95"][metric]
    return f"{statistics.fmean(row['accuracy'][metric]):.3f} [{low:.3f}, {high:.3f}]"


def fair_table(root: Path = ROOT) -> str:
    """Return the table of weights against popularity bias and of fair weights."""
    figures = measurement("fair", root)
    if figures is None:
        return ""
    head = "| weights | NDCG@10 | unbiased | worst age | gap | tail | disparity | Gini | coverage |"
    lines = [head, "|---|---:|---:|---:|---:|---:|---:|---:|---:|"]
    for row in figures["cases"]:
        shares = [f"{row[name]:.1%}" for name in ("tail", "disparity")]
        exact = [f"{row[name]:.3f}" for name in ("ndcg", "unbiased", "worst", "gap")]
        cells = [*exact, *shares, f"{row['gini']:.3f}", f"{row['coverage']:.1%}"]
        lines.append(f"| {' | '.join([row['case'], *cells])} |")
    return "\n".join([*lines, "", f"Measured on {machine_of(figures['machine'])}."])
