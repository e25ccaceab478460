"""The sections of report.html, as plain data for its template."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fedrec.report.history import Round
from fedrec.report.view import duration, metric_title, number, size, system_names
from fedrec.results import Result, SystemResult

BEYOND_TITLES = {
    "coverage": "catalogue coverage",
    "novelty": "novelty in bits",
    "popularity": "popularity percentile",
    "gini": "Gini of exposure",
}


@dataclass(frozen=True)
class Grid:
    """A plain table: a head, rows of text with the system first, and what it says."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def data_facts(result: Result) -> list[tuple[str, str]]:
    """Return what the data are: name, sizes, density and protocol."""
    data = result.data
    facts = [("data", str(data.get("name", "–")))]
    for key in ("users", "items", "interactions"):
        if key in data:
            facts.append((key, f"{int(data[key]):,}"))
    if all(data.get(key) for key in ("users", "items", "interactions")):
        density = data["interactions"] / (data["users"] * data["items"])
        facts.append(("density", f"{density:.2%}"))
    facts.append(("protocol", str(data.get("protocol", "–"))))
    return facts


def cost(result: Result) -> Grid:
    """Return bytes and seconds of every system that has them, means over seeds."""
    columns = (
        ("selected round", lambda s: s.selected_round, lambda v: f"{v:.0f}"),
        ("time of a round", lambda s: s.cost.get("round_s_median"), duration),
        ("clients a second", lambda s: s.cost.get("clients_per_s"), lambda v: f"{v:,.0f}"),
        ("sent by a client a round", lambda s: s.cost.get("bytes_up_per_client"), size),
        ("received a round", lambda s: s.cost.get("bytes_down_per_client"), size),
        ("whole training", lambda s: s.cost.get("total_s"), duration),
        ("peak memory", lambda s: s.cost.get("peak_rss_mib"), lambda v: size(v * 2**20)),
    )
    table = [
        (name, *(_mean_text(_members(result, name), value, form) for _, value, form in columns))
        for name in system_names(result)
    ]
    return _without_empty(Grid(("system", *(title for title, _, _ in columns)), tuple(table)))


def beyond_accuracy(result: Result) -> Grid:
    """Return coverage, novelty, popularity bias and gaps between groups, means over seeds."""
    prefixes = ("test.beyond.", "test.exposure.", "test.groups.")
    summaries = [s for s in result.summarise() if s.metric.startswith(prefixes)]
    summaries = [s for s in summaries if not s.metric.endswith((".count", ".users"))]
    metrics = list(dict.fromkeys(s.metric for s in summaries))
    values = {(s.system, s.metric): number(s.mean) for s in summaries}
    rows = tuple(
        (name, *(values.get((name, metric), "–") for metric in metrics))
        for name in system_names(result)
        if any((name, metric) in values for metric in metrics)
    )
    return Grid(("system", *(_beyond_title(m) for m in metrics)), rows)


def privacy(result: Result) -> list[dict[str, Any]]:
    """Return each distinct privacy statement with the systems it is about."""
    groups: dict[str, dict[str, Any]] = {}
    for system in result.systems:
        told = system.privacy
        statement = told.get("statement")
        if not statement:
            continue
        new = {**told, "systems": [], "shown": exposure(told)}
        group = groups.setdefault(str(sorted(told.items(), key=str)), new)
        if system.name not in group["systems"]:
            group["systems"].append(system.name)
    return list(groups.values())


def robustness(result: Result) -> list[dict[str, Any]]:
    """Return each distinct attack and defence of a run, with the systems it is about."""
    groups: dict[str, dict[str, Any]] = {}
    for system in result.systems:
        told = system.robust
        if told:
            group = groups.setdefault(str(sorted(told.items(), key=str)), {**told, "systems": []})
            if system.name not in group["systems"]:
                group["systems"].append(system.name)
    return list(groups.values())


def exposure(told: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what a secure sum still shows of single clients, as titles and figures.

    Args:
        told: a privacy entry; without "exposure" nothing was measured.
    """
    found = told.get("exposure")
    if not found:
        return []
    return [
        ("measured in round", f"{found['round']}, {found['clients']:,} clients"),
        ("rows of the sum with one contributor", f"{found['rows']:.1%}"),
        ("clients that have such a row", f"{found['exposed_clients']:.1%}"),
        ("interactions that lie on one", f"{found['interactions']:.2%}"),
    ]


def round_problems(histories: Mapping[tuple[str, int], Sequence[Round]]) -> list[str]:
    """Return what went wrong in rounds: skipped ones, clients and nodes that failed."""
    lines = []
    for (name, seed), rounds in histories.items():
        skipped = [r for r in rounds if r.skipped]
        dropped, failed = sum(r.dropped for r in rounds), sum(len(r.failed_nodes) for r in rounds)
        parts = [f"{len(skipped)} of {len(rounds)} rounds skipped"] if skipped else []
        parts += [f"{dropped:,} client updates lost to dropout"] if dropped else []
        parts += (
            [f"{failed} node {'failure' if failed == 1 else 'failures'} survived"] if failed else []
        )
        if parts:
            lines.append(f"{name}, seed {seed}: {', '.join(parts)}")
    return lines


def phase_seconds(
    histories: Mapping[tuple[str, int], Sequence[Round]],
) -> dict[str, dict[str, float]]:
    """Return the mean duration of each phase of a round, by system, over its seeds.

    The first round is left out: it carries the compilation.
    """
    rounds: dict[str, list[Round]] = {}
    for (name, _), seen in histories.items():
        rounds.setdefault(name, []).extend(r for r in seen if r.number > 1 and r.phases)
    return {
        name: {
            phase: statistics.fmean(r.phases.get(phase, 0.0) for r in seen)
            for phase in dict.fromkeys(phase for r in seen for phase in r.phases)
        }
        for name, seen in rounds.items()
        if seen
    }


def guard_facts(guard: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    """Return the figures of the leak guard: what was measured, and what chance would give."""
    if not guard:
        return []
    titles = (
        ("metric", "metric"),
        ("value", "without communication"),
        ("random", "random"),
        ("standard_errors", "distance in standard errors"),
        ("limit", "allowed"),
    )
    return [
        (title, metric_title(str(guard[key])) if key == "metric" else number(guard[key]))
        for key, title in titles
        if guard.get(key) is not None
    ]


def _members(result: Result, name: str) -> list[SystemResult]:
    return [s for s in result.systems if s.name == name]


def _mean_text(members: list[SystemResult], value: Any, form: Any) -> str:
    values = [float(v) for s in members if (v := value(s)) is not None]
    return form(statistics.fmean(values)) if values else "–"


def _without_empty(grid: Grid) -> Grid:
    """Drop columns that say nothing about any system, then such rows."""
    keep = [0] + [i for i in range(1, len(grid.head)) if any(r[i] != "–" for r in grid.rows)]
    rows = tuple(tuple(row[i] for i in keep) for row in grid.rows)
    rows = tuple(row for row in rows if any(text != "–" for text in row[1:]))
    return Grid(tuple(grid.head[i] for i in keep), rows)


def _beyond_title(metric: str) -> str:
    _, kind, rest = metric.split(".", 2)
    name, at, k = rest.partition("@")
    if kind == "exposure":
        return f"exposure of {rest}"
    return BEYOND_TITLES.get(name, name.replace("_", " ").replace(".", ", ")) + at + k
