"""The table of what twin_gap.py has measured."""

from __future__ import annotations

import statistics
from pathlib import Path

from experiments.tables_bench import ROOT, machine_of, measurement

TWIN = "the twin"


def gap_table(root: Path = ROOT) -> str:
    """Return the table of federated systems and of their twins, one thing changed at a time."""
    figures = measurement("tuning/twin_gap", root)
    if figures is None:
        return ""
    head = "| method | what is changed | steps of the server | NDCG@10, validation | of the twin |"
    lines = [head, "|---|---|---:|---:|---:|"]
    seeds: dict[str, list[str]] = {}
    for name, cases in figures["gaps"].items():
        means = {case["case"]: statistics.fmean(case["values"]) for case in cases}
        for number, case in enumerate(cases):
            mean = means[case["case"]]
            told = [f"{case['steps']:,}", f"{mean:.4f}", f"{mean / means[TWIN]:.1%}"]
            lines.append(f"| {' | '.join(['' if number else name, case['case'], *told])} |")
        known = sorted({seed for case in cases for seed in case["seeds"]})
        words = f"seed{'s' if len(known) > 1 else ''} {', '.join(map(str, known))}"
        seeds.setdefault(words, []).append(name)
    most = max(seeds, key=lambda words: len(seeds[words]))
    few = [f"{words} ({', '.join(names)})" for words, names in seeds.items() if words != most]
    named = "; ".join([*few, f"{most} (all others)"]) if few else most
    told = f"Full ranking, {named}; the twin's steps are those of its optimiser. Measured on "
    return "\n".join([*lines, "", f"{told}{machine_of(figures['machine'])}."])
