"""Tables of what merchants_secure.py and merchant_weights.py have measured."""

from __future__ import annotations

from pathlib import Path
from statistics import median

from experiments.tables_bench import ROOT, Figures, machine_of, measurement


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


def merchant_weights_table(root: Path = ROOT) -> str:
    """Return the table of powers of samples as weights of merchants."""
    figures = measurement("tuning/merchant_weights", root)
    if figures is None:
        return ""
    groups = figures["customers"]
    head = [f"{group} ({count:,} customers)" for group, count in groups.items()]
    lines = ["| power | validation | " + " | ".join(head) + " |", "|---" * (2 + len(head)) + "|"]
    for power, row in figures["powers"].items():
        cells = [_over_equal(row["test"][g], row["over_equal"].get(g)) for g in groups]
        lines.append(f"| {power} | {row['valid']:.3f} | {' | '.join(cells)} |")
    gains = [one for row in figures["powers"].values() for one in row["over_equal"].values()]
    sure = sum(one["p_adjusted"] < 0.05 for one in gains)
    sizes = figures["sizes"]
    told = (
        f"NDCG@10; in brackets the difference from power 0 with its 95% interval over people: "
        f"{sure} of {len(gains)} are beyond chance (Holm). {len(sizes)} merchants with "
        f"{sizes[0]:,} to {sizes[-1]:,} training rows; mean of {len(figures['seeds'])} seeds; "
        f"measured on {machine_of(figures['machine'])}."
    )
    return "\n".join([*lines, "", told])


def _over_equal(value: float, gain: Figures | None) -> str:
    if gain is None:
        return f"{value:.3f}"
    ends = f"{gain['difference']:+.3f}, {gain['low']:+.3f} to {gain['high']:+.3f}"
    return f"{value:.3f} ({ends})".replace("-", "−")
