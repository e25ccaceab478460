"""The table of what gpu.py has measured."""

from __future__ import annotations

from pathlib import Path

from experiments.tables_bench import ROOT, Figures, machine_of, measurement


def gpu_table(root: Path = ROOT) -> str:
    """Return a line for each training: its time, and how far its change is from the first's."""
    figures = measurement("bench/gpu", root)
    if figures is None:
        return "Not recorded."
    lines = [
        "| workload | device | precision | round | processor time | first round | differs by |",
        "|---|---|---|---:|---:|---:|---:|",
    ]
    lines += [_line(run) for run in figures["runs"] if "failed" not in run]
    gpus = ", ".join(figures["gpus"]) or "no GPU"
    told = f"Medians of {figures['rounds']} rounds, on {machine_of(figures['machine'])}; {gpus}."
    return "\n".join([*lines, "", told])


def _line(run: Figures) -> str:
    device = run["device"] + (", XLA" if run["xla"] else "")
    if run["memory_mib"]:
        device += f", {run['memory_mib']:,} MiB, {run['halvings']} halvings"
    times = [run[name] for name in ("round_s_median", "processor_s_median", "first_s")]
    cells = [run["workload"], device, run["precision"], *(f"{t:.3g} s" for t in times)]
    cells.append(f"{run['difference']:.1e}" if "difference" in run else "")
    return f"| {' | '.join(cells)} |"
