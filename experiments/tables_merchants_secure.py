"""The table of what merchants_secure.py has measured."""

from __future__ import annotations

from pathlib import Path
from statistics import median

from experiments.tables_bench import ROOT, machine_of, measurement


def merchants_secure_table(root: Path = ROOT) -> str:
    """Return the table of seconds and bytes of rounds of 50 merchants."""
    figures = measurement("secure/merchants", root)
    if figures is None:
        return ""
    lines = [
        "| secure.mode | neighbours, threshold | a round, clock | processor | up | down | memory |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for case in figures["cases"]:
        graph = f"{case['neighbours']}, {case['threshold']}" if case["neighbours"] else "–"
        cells = [case["mode"], graph, f"{median(case['clock_s']):.1f} s"]
        cells += [f"{median(case['cpu_s']):.1f} s"]
        cells += [f"{case[f'bytes_{way}_per_merchant'] / 2**20:.2f} MiB" for way in ("up", "down")]
        cells += [f"{case['peak_rss_mib']:,} MiB"]
        lines.append(f"| {' | '.join(cells)} |")
    slowest, first = max(median(case["clock_s"]) for case in figures["cases"]), figures["cases"][0]
    told = (
        f"{first['merchants']} merchants, {first['items']:,} items, vectors of {first['dim']}: a "
        f"round is to take less than {figures['gate_s']:g} s by the clock: "
        f"{'it does' if slowest < figures['gate_s'] else 'it does not'}. Up and down are of one "
        f"merchant. Measured on one core of {machine_of(figures['machine']).partition(' of ')[2]}"
    )
    return "\n".join([*lines, "", f"{told}."])
