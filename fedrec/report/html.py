"""report.html: one self-contained file, without scripts, fonts or pictures from elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from fedrec.output import write_atomically
from fedrec.report import plots, sections
from fedrec.report.audit import audit_section, load_audit
from fedrec.report.cold_start import cold_start_sections, new_merchant_sections
from fedrec.report.contribution import contribution_section, load_contributions
from fedrec.report.exploration import exploration_sections
from fedrec.report.headline import headline
from fedrec.report.history import Round, histories
from fedrec.report.join import load_runs
from fedrec.report.page import fill
from fedrec.report.progress import chosen_metric
from fedrec.report.view import SystemsTable, systems_table
from fedrec.results import Result

TEMPLATE = "template.html"
AUDIT_TEMPLATE = "audit.html"
CONTRIBUTION_TEMPLATE = "contribution.html"


def write_report(directories: Sequence[Path], out: Path) -> Path:
    """Write the report of one run, or of several side by side.

    Args:
        directories: output directories with a result.json each.
        out: the file to write; its directory is created.

    Returns:
        The file.

    Raises:
        OutputError: if a result cannot be read or the report cannot be written.
        MissingExtraError: if jinja2 or matplotlib is not installed.
    """
    result = load_runs(directories)
    audits = [found for directory in directories if (found := load_audit(Path(directory)))]
    brought = [found for d in directories if (found := load_contributions(Path(d)))]
    page = render(result, histories(result, Path(directories[0])), audits, brought)
    write_atomically(out, page)
    return out


def render(
    result: Result,
    rounds: dict[tuple[str, int], tuple[Round, ...]],
    audits: Sequence[Mapping[str, Any]] = (),
    contributions: Sequence[Mapping[str, Any]] = (),
) -> str:
    """Return the page.

    Args:
        result: the systems.
        rounds: their rounds, by (system, seed); empty for those not trained in rounds.
        audits: contents of audit.json, a section each.
        contributions: contents of contribution.json, a section each.

    Raises:
        MissingExtraError: if jinja2 or matplotlib is not installed.
    """
    told = [fill(AUDIT_TEMPLATE, audit_section(audit)) for audit in audits]
    brought = [fill(CONTRIBUTION_TEMPLATE, contribution_section(c)) for c in contributions]
    parts = {"audits": told, "contributions": brought}
    return fill(TEMPLATE, {**_context(result, rounds), **parts})


def _context(result: Result, rounds: dict[tuple[str, int], tuple[Round, ...]]) -> dict[str, Any]:
    """Return everything that the template shows."""
    table = systems_table(result)
    select = _validation_metric(result, rounds)
    clients = int(result.data.get("clients") or result.data.get("users") or 1)
    return {
        "result": result,
        "headline": headline(result),
        "facts": sections.data_facts(result),
        "seeds": sorted({s.seed for s in result.systems}),
        "table": table,
        "protocols": [(k, len(list(g))) for k, g in groupby(c.protocol for c in table.columns)],
        "systems_svg": _systems_figure(table),
        "convergence_svg": plots.convergence(result, rounds, select),
        "traffic_svg": plots.traffic(result, rounds, select, clients),
        "phases_svg": plots.phases(sections.phase_seconds(rounds)),
        "cost": sections.cost(result),
        "problems": sections.round_problems(rounds),
        "beyond": sections.beyond_accuracy(result),
        "privacy": sections.privacy(result),
        "robustness": sections.robustness(result),
        "cold_start": cold_start_sections(result),
        "new_merchants": new_merchant_sections(result),
        "explorations": exploration_sections(result),
        "guard": result.leak_guard,
        "guard_facts": sections.guard_facts(result.leak_guard),
        "config": result.config,
    }


def _systems_figure(table: SystemsTable) -> str:
    """Return the figure of the first metric of each protocol, at most two."""
    first: dict[str, int] = {}
    for index, column in enumerate(table.columns):
        first.setdefault(column.protocol, index)
    chosen = list(first.values())[:2]
    if len(chosen) == 1 and len(table.columns) > 1:
        chosen = [0, 1]
    return plots.systems(table, chosen) if chosen and len(table.rows) > 1 else ""


def _validation_metric(result: Result, rounds: dict[tuple[str, int], tuple[Round, ...]]) -> str:
    """Return the dotted validation metric of the curves: the one that selects the round."""
    wanted = str(
        result.data.get("selected_by") or result.config.get("evaluate.select") or "ndcg@10"
    )
    names = list(
        dict.fromkeys(n for seen in rounds.values() for r in seen for n in (r.valid or {}))
    )
    best = chosen_metric({name: float(i) for i, name in enumerate(names)}, wanted)
    if best is not None:
        return names[int(best)]
    return names[0] if names else wanted
