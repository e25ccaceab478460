"""Tables of what alignment_speed.py and item_linkage.py have measured."""

from __future__ import annotations

from pathlib import Path

from experiments.tables_bench import ROOT, machine_of, measurement

_NAMES = {"fedrec": "fedrec", "openmined": "openmined-psi"}


def alignment_table(root: Path = ROOT) -> str:
    """Return the table of seconds and memory of matching two lists."""
    figures = measurement("align/speed", root)
    if figures is None:
        return ""
    lines = [
        "| library | processor | clock | memory | common | exact |",
        "|---|---:|---:|---:|---:|---|",
    ]
    for name, row in figures["libraries"].items():
        cells = [_NAMES[name], f"{row['cpu_s']:.0f} s", f"{row['wall_s']:.0f} s"]
        cells += [f"{row['peak_rss_mib']:,.0f} MiB", f"{row['common']:,}"]
        lines.append(f"| {' | '.join([*cells, 'yes' if row['exact'] else 'NO'])} |")
    limit = figures["limit"]
    told = (
        f"{figures['size']:,} identifiers on each side, both parties on one core; fedrec's own is "
        f"to stay under {limit['cpu_s']:.0f} s and {limit['peak_rss_mib']:,.0f} MiB: "
        f"{'it does' if figures['met'] else 'it does not'}. Measured on "
        f"{machine_of(figures['machine'])}; other work ran beside it (load "
        f"{figures['load_average']:.0f}), which is why processor seconds count."
    )
    return "\n".join([*lines, "", told])


def linkage_table(root: Path = ROOT) -> str:
    """Return the table of precision and recall of links by their confidence."""
    figures = measurement("align/linkage", root)
    if figures is None:
        return ""
    lines = [
        "| seed | confidence | links | right | found | confidence is off by |",
        "|---:|---:|---:|---:|---:|---:|",
    ]
    for one in figures["cases"]:
        for level in one["levels"]:
            low, high = level["precision_ci95"]
            cells = [str(one["seed"]), f"≥ {level['confidence']:g}", f"{level['links']:,}"]
            cells += [f"{level['precision']:.1%} [{low:.1%}, {high:.1%}]"]
            cells += [f"{level['recall']:.1%}", f"{one['calibration_error']:.3f}"]
            lines.append(f"| {' | '.join(cells)} |")
    told = (
        f"Two catalogues of {figures['each']:,} products, {figures['common']:,} in both, of these "
        f"{figures['known']:,} known; right: share of links (95% interval, Wilson), found: share "
        f"of the {figures['common'] - figures['known']:,} others; off: mean distance of confidence "
        f"from what was right, in tenths. {figures['cases'][0]['cpu_s']:.0f} s of one core. "
        f"Measured on {machine_of(figures['machine'])}."
    )
    return "\n".join([*lines, "", told])
