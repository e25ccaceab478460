"""The one sentence of a report: what federation costs in accuracy."""

from __future__ import annotations

from dataclasses import dataclass

from fedrec.report.merchants_text import KEY, answer, lead
from fedrec.report.view import (
    choose_columns,
    find_comparison,
    first_of_kind,
    metric_title,
    number,
    protocol_title,
    signed,
)
from fedrec.results import MetricSummary, Paired, Result


@dataclass(frozen=True)
class Headline:
    """A sentence, and the figures behind it."""

    title: str
    detail: str


def headline(result: Result) -> Headline:
    """Return what a reader should take away, with its interval.

    It is taken from the paired difference between the first federated and the
    first centralised system; without one of them, from what there is.
    """
    if KEY in result.extra:
        told = result.extra[KEY]
        return Headline(f"On {result.data.get('name')}: {answer(told)}", lead(told))
    metric = _headline_metric(result)
    federated, centralised = (first_of_kind(result, k) for k in ("federated", "centralised"))
    data = str(result.data.get("name", "these data"))
    if metric is None or not result.systems:
        return Headline(f"{result.name} on {data}", "No test metrics were recorded.")
    summaries = {s.system: s for s in result.summarise() if s.metric == metric}
    if federated in summaries and centralised in summaries:
        ours, theirs = summaries[str(federated)], summaries[str(centralised)]
        paired = find_comparison(result.comparisons, ours.system, theirs.system, metric)
        if paired is None:
            return _unpaired(data, metric, ours, theirs)
        return _paired(data, metric, ours, theirs, paired)
    name = federated if federated in summaries else next(iter(summaries))
    return _single(data, metric, summaries[str(name)])


def _headline_metric(result: Result) -> str | None:
    columns = [column.metric for column in choose_columns(result)]
    for wanted in ("test.full.hr@10", "test.rating.rmse"):
        if wanted in columns:
            return wanted
    return columns[0] if columns else None


def _paired(
    data: str, metric: str, ours: MetricSummary, theirs: MetricSummary, paired: Paired
) -> Headline:
    name = metric_title(metric)
    lower_is_better = metric.endswith(("rmse", "mae"))
    worse = (paired.difference < 0) != lower_is_better
    share = abs(paired.difference) / abs(theirs.mean) if theirs.mean else 0.0
    if not paired.significant:
        loss = max(0.0, paired.high if lower_is_better else -paired.low)
        relative = f" ({loss / abs(theirs.mean):.0%})" if theirs.mean else ""
        title = f"On {data}, federated training costs no measurable {name}"
        tail = f"; a loss of more than {number(loss)}{relative} is unlikely"
    elif lower_is_better:
        title = (
            f"On {data}, federated training {'raises' if worse else 'lowers'} {name} by {share:.1%}"
        )
        tail = ""
    else:
        title = (
            f"On {data}, federated training {'costs' if worse else 'gains'} {share:.1%} of {name}"
        )
        tail = ""
    return Headline(title, f"{_against(metric, ours, theirs)}: difference "
                    f"{signed(paired.difference)}, 95% interval {signed(paired.low)} to "
                    f"{signed(paired.high)} over users{tail}.")  # fmt: skip


def _unpaired(data: str, metric: str, ours: MetricSummary, theirs: MetricSummary) -> Headline:
    difference = ours.mean - theirs.mean
    title = f"On {data}, federated training changes {metric_title(metric)} by {signed(difference)}"
    return Headline(title, f"{_against(metric, ours, theirs)}; no interval of the difference "
                    "was computed.")  # fmt: skip


def _single(data: str, metric: str, ours: MetricSummary) -> Headline:
    title = f"{ours.system} reaches {metric_title(metric)} {number(ours.mean)} on {data}"
    detail = protocol_title(metric.split(".")[1]).capitalize()
    if ours.low == ours.low:
        detail += f", 95% interval {number(ours.low)} to {number(ours.high)} over users"
    return Headline(title, detail + (f", mean of {ours.seeds} seeds." if ours.seeds > 1 else "."))


def _against(metric: str, ours: MetricSummary, theirs: MetricSummary) -> str:
    seeds = f", mean of {ours.seeds} seeds" if ours.seeds > 1 else ""
    return (
        f"{metric_title(metric)} by {protocol_title(metric.split('.')[1])}{seeds}: "
        f"{number(ours.mean)} ({ours.system}) against {number(theirs.mean)} ({theirs.system})"
    )
