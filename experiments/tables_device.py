"""Tables of what recommend_speed.py, reasons.py, sessions.py and transfer.py have measured."""

from __future__ import annotations

import statistics
from pathlib import Path

from experiments.tables_bench import ROOT, Figures, machine_of, measurement


def speed_on_device(root: Path = ROOT) -> str:
    """Return the table of times from an event to an answer."""
    figures = measurement("device/recommend_speed", root)
    if figures is None:
        return ""
    head = "| model | items | file | observe | recommend 10 | and say why | loaded in |"
    lines = [head, "|---|---:|---:|---:|---:|---:|---:|"]
    for row in figures["cases"]:
        told = " | ".join(_times(row[f"{n}_ms"]) for n in ("observe", "recommend", "explain"))
        size = f"{row['megabytes']:,.0f} MB"
        loaded = f"{row['load_s']:.1f} s"
        lines.append(f"| {row['case']} | {row['items']:,} | {size} | {told} | {loaded} |")
    told = (
        f"Medians of {figures['events']} events after {figures['met']} that were met before; in "
        "brackets what the processor was busy with it. "
        f"Measured on {machine_of(figures['machine'])}, load {figures['load']:.1f} when it began."
    )
    return "\n".join([*lines, "", told])


def _times(told: Figures) -> str:
    busy = f" ({told['processor']:.1f})" if "processor" in told else ""
    return f"{told['median']:.1f} ms{busy}"


def reasons_table(root: Path = ROOT) -> str:
    """Return the table of how well shares to first order agree with training anew."""
    figures = measurement("device/reasons", root)
    if figures is None:
        return ""
    head = "| model | rank correlation | same first | first among three | influence | anew |"
    lines = [head, "|---|---:|---:|---:|---:|---:|"]
    for row in figures["cases"]:
        shares = f"{row['first']:.0%} | {row['among_three']:.0%}"
        times = f"{row['influence_ms']:.1f} ms | {row['anew_ms']:.1f} ms"
        lines.append(f"| {row['case']} | {row['agreement']:.2f} | {shares} | {times} |")
    told = (
        f"{figures['users']} users of MovieLens-100K, ten items each, over the ten latest items of "
        f"their histories. Measured on {machine_of(figures['machine'])}."
    )
    return "\n".join([*lines, "", told])


def sessions_table(root: Path = ROOT) -> str:
    """Return the table of sessions beside the clients of their runs."""
    figures = measurement("device/sessions", root)
    if figures is None:
        return ""
    lines = ["| model | who | HR@10 | NDCG@10 | a session's start |", "|---|---|---:|---:|---:|"]
    for row in figures["cases"]:
        for who, told in (("clients of the run", row["run"]), ("sessions", row)):
            cells = [
                f"{told['accuracy'][m]:.3f} [{told['ci95'][m][0]:.3f}, {told['ci95'][m][1]:.3f}]"
                for m in ("hr@10", "ndcg@10")
            ]
            took = f"{told['session_ms']:.1f} ms" if "session_ms" in told else "–"
            lines.append(f"| {' | '.join([row['case'], who, *cells, took])} |")
    return "\n".join([*lines, "", f"Seed 0. Measured on {machine_of(figures['machine'])}."])


def transfer_table(root: Path = ROOT) -> str:
    """Return the table of NDCG@10 by the rounds after which it was tested."""
    figures = measurement("device/transfer", root)
    if figures is None:
        return ""
    rounds = figures["rounds"]
    named = " | ".join(f"{n} round{'s' if n > 1 else ''}" for n in rounds)
    lines = [
        f"| begins with, trains | items known | {named} | bytes up |",
        "|---|---:|" + "---:|" * (len(rounds) + 1),
    ]
    for row in figures["cases"]:
        known, size = row["known_items"]
        items = f"{known:,} of {size:,}" if size else "–"
        cells = [_accuracy(point) for point in row["curve"]]
        sent = f"{row['curve'][-1]['bytes_up'] / 1000:,.1f} kB"
        lines.append(f"| {' | '.join([row['case'], items, *cells, sent])} |")
    seeds = ", ".join(map(str, figures["seeds"]))
    told = (
        f"NDCG@10, full ranking, mean of seeds {seeds} with the 95% interval over users of the "
        f"first. Measured on {machine_of(figures['machine'])}."
    )
    return "\n".join([*lines, "", told])


def _accuracy(point: Figures) -> str:
    low, high = point["ci95"]["ndcg@10"]
    return f"{statistics.fmean(point['accuracy']['ndcg@10']):.3f} [{low:.3f}, {high:.3f}]"
