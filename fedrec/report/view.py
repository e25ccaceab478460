"""What a report shows, as plain data: the same for the console, Markdown and HTML."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fedrec.results import MetricSummary, Paired, Result

LOWER_IS_BETTER = ("rmse", "mae", "exposure")
PREFERRED = ("hr", "ndcg", "recall", "mrr")
SAMPLED_PREFERRED = ("hr", "ndcg")


@dataclass(frozen=True)
class Column:
    """A column of the systems table: the metric, its protocol and its short name."""

    metric: str
    protocol: str
    title: str

    @property
    def lower_is_better(self) -> bool:
        """Whether a small value is a good one."""
        return self.metric.rsplit(".", 1)[-1].split("@")[0] in LOWER_IS_BETTER


@dataclass(frozen=True)
class Cell:
    """A figure: mean over seeds with its interval over users; `best` in its column.

    `mark` is "better" or "worse" if it differs significantly from the reference, else "".
    """

    mean: float
    low: float
    high: float
    seed_sd: float
    best: bool = False
    mark: str = ""

    @property
    def has_interval(self) -> bool:
        """Whether there is an interval."""
        return math.isfinite(self.low) and math.isfinite(self.high)


@dataclass(frozen=True)
class Row:
    """A system with a cell, or None, for each column."""

    name: str
    kind: str
    seeds: tuple[int, ...]
    cells: tuple[Cell | None, ...]
    reference: bool


@dataclass(frozen=True)
class SystemsTable:
    """Systems by metrics; differences are marked against the reference system."""

    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    reference: str | None

    @property
    def marked(self) -> bool:
        """Whether a cell carries a mark."""
        return any(c is not None and c.mark for row in self.rows for c in row.cells)


def protocol_title(protocol: str) -> str:
    """Return how a protocol is called in a table."""
    known = {
        "full": "full ranking",
        "rating": "ratings",
        "honest": "honest users",
        "robust": "attacked item",
        "merchant": "items that the merchant sells",
        "unbiased": "weighted by inverse propensity",
    }
    if protocol in known:
        return known[protocol]
    sampled = re.fullmatch(r"sampled(\d+)", protocol)
    return f"1 + {sampled[1]} sampled" if sampled else protocol


def metric_title(metric: str) -> str:
    """Return how a metric is called: "test.full.hr@10" is "HR@10"."""
    name = metric.rsplit(".", 1)[-1]
    head, at, k = name.partition("@")
    known = {"recall": "Recall", "precision": "Precision", "exposure": "ER"}
    return known.get(head, head.upper()) + at + k


def system_names(result: Result) -> list[str]:
    """Return the systems in their order, each once."""
    return list(dict.fromkeys(s.name for s in result.systems))


def first_of_kind(result: Result, kind: str) -> str | None:
    """Return the name of the first system of a kind, or None."""
    return next((s.name for s in result.systems if s.kind == kind), None)


OTHER = ("beyond", "exposure", "groups")
"""Parts of a result's metrics that are no accuracy."""


def choose_columns(result: Result, part: str = "test") -> tuple[Column, ...]:
    """Return the metrics that are shown: few, and of every protocol that was used.

    HR, NDCG and MRR are shown at K = 10 (or the first K there is), Recall at the largest K.
    """
    names = dict.fromkeys(m for s in result.systems for m in s.flat_metrics())
    by_protocol: dict[str, list[str]] = {}
    for name in names:
        words = name.split(".")
        if len(words) == 3 and words[0] == part and words[1] not in OTHER:
            by_protocol.setdefault(words[1], []).append(words[2])
    columns = []
    for protocol in sorted(by_protocol, key=lambda p: (p != "rating", p != "full", p)):
        having = by_protocol[protocol]
        for name in _chosen(protocol, having):
            metric = f"{part}.{protocol}.{name}"
            columns.append(Column(metric, protocol_title(protocol), metric_title(metric)))
    return tuple(columns)


def systems_table(result: Result, columns: Sequence[Column] | None = None) -> SystemsTable:
    """Return the systems table: means over seeds, intervals, best figures and marks."""
    columns = tuple(columns if columns is not None else choose_columns(result))
    summaries = {(s.system, s.metric): s for s in result.summarise()}
    reference = first_of_kind(result, "federated")
    best = {c.metric: _best(c, summaries.values()) for c in columns}
    rows = []
    for name in system_names(result):
        members = [s for s in result.systems if s.name == name]
        cells: list[Cell | None] = []
        for column in columns:
            s = summaries.get((name, column.metric))
            if s is None:
                cells.append(None)
                continue
            mark = _mark(result.comparisons, reference, name, column)
            is_best = s.mean == best[column.metric] and len(system_names(result)) > 1
            cells.append(Cell(s.mean, s.low, s.high, s.seed_sd, is_best, mark))
        seeds = tuple(s.seed for s in members)
        rows.append(Row(name, members[0].kind, seeds, tuple(cells), name == reference))
    return SystemsTable(columns, tuple(rows), reference)


def find_comparison(comparisons: Iterable[Paired], a: str, b: str, metric: str) -> Paired | None:
    """Return the comparison a minus b on a metric, turned round if it is stored as b minus a."""
    for c in comparisons:
        if c.metric not in (metric, metric.removeprefix("test.")):
            continue
        if (c.a, c.b) == (a, b):
            return c
        if (c.a, c.b) == (b, a):
            return Paired(a, b, metric, -c.difference, -c.high, -c.low, c.p_value, c.p_adjusted)
    return None


def number(value: float | None, digits: int = 3) -> str:
    """Return a figure, with more digits if it is small; a dash if there is none."""
    if value is None or not math.isfinite(value):
        return "–"
    if value != 0 and abs(value) < 0.5 * 10.0**-digits:
        return f"{value:.1e}"
    return f"{value:.{digits}f}".replace("-", "−")


def signed(value: float, digits: int = 3) -> str:
    """Return a figure with its sign."""
    return ("+" if value >= 0 else "") + number(value, digits)


def size(num_bytes: float | None) -> str:
    """Return a number of bytes with a binary unit."""
    if num_bytes is None or not math.isfinite(num_bytes):
        return "–"
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(num_bytes) < 1024 or unit == "GiB":
            return f"{num_bytes:.0f} B" if unit == "B" else f"{num_bytes:.1f} {unit}"
        num_bytes /= 1024
    return ""


def duration(seconds: float | None) -> str:
    """Return a duration with a unit that fits."""
    if seconds is None or not math.isfinite(seconds):
        return "–"
    if seconds < 1:
        return f"{1000 * seconds:.0f} ms"
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min"


def _chosen(protocol: str, having: list[str]) -> list[str]:
    if protocol == "rating":
        return [name for name in ("rmse", "mae") if name in having]
    if protocol in ("honest", "robust"):
        return [name for name in having if name.startswith(("ndcg@", "exposure@"))]
    wanted = PREFERRED if protocol in ("full", "merchant") else SAMPLED_PREFERRED
    chosen = []
    for head in wanted:
        ks = sorted(int(n.split("@")[1]) for n in having if n.startswith(f"{head}@"))
        if ks:
            k = ks[-1] if head == "recall" else (10 if 10 in ks else ks[0])
            chosen.append(f"{head}@{k}")
    return chosen


def _best(column: Column, summaries: Iterable[MetricSummary]) -> float:
    means = [s.mean for s in summaries if s.metric == column.metric]
    if not means:
        return math.nan
    return min(means) if column.lower_is_better else max(means)


def _mark(comparisons: Sequence[Paired], reference: str | None, name: str, column: Column) -> str:
    if reference is None or name == reference:
        return ""
    found = find_comparison(comparisons, name, reference, column.metric)
    if found is None or not found.significant:
        return ""
    return "better" if (found.difference > 0) != column.lower_is_better else "worse"
