"""Which round is selected: the best one on validation, the same for every system."""

from __future__ import annotations

from collections.abc import Mapping

from fedrec.config import Config
from fedrec.config_rules import selection_metric
from fedrec.errors import ConfigError, nearest

__all__ = [
    "best_round",
    "better",
    "selection_metric",
    "selection_value",
    "shown_metric",
    "validates",
]

LOWER_IS_BETTER = ("rmse", "mae")


def shown_metric(config: Config) -> str:
    """Return the name of the selecting metric as it is shown: without "full." or "rating."."""
    return selection_metric(config).removeprefix("full.").removeprefix("rating.")


def selection_value(metrics: Mapping[str, float], metric: str) -> float | None:
    """Return the validation metric that selects the round.

    Args:
        metrics: dotted validation metrics; empty if no user is validated.
        metric: its dotted name, from `selection_metric`.

    Returns:
        The value, or None if there are no metrics.

    Raises:
        ConfigError: if there are metrics but not this one.
    """
    if not metrics:
        return None
    if metric not in metrics:
        raise ConfigError(
            f"evaluate.select = {metric!r} is not measured on validation.{nearest(metric, metrics)}"
        )
    return metrics[metric]


def lower_is_better(metric: str) -> bool:
    """Return whether a metric, with or without its protocol, is an error."""
    return metric.rsplit(".", 1)[-1] in LOWER_IS_BETTER


def better(value: float, best: float | None, metric: str) -> bool:
    """Return whether `value` beats the best so far; the earlier round wins ties."""
    if best is None:
        return True
    return value < best if lower_is_better(metric) else value > best


def best_round(validated: Mapping[int, Mapping[str, float]], metric: str) -> int:
    """Return the earliest of the best rounds; the last one if nothing was measured.

    Args:
        validated: round -> dotted validation metrics; not empty.
        metric: its dotted name, from `selection_metric`.
    """
    chosen, best = max(validated), None
    for number in sorted(validated):
        value = selection_value(validated[number], metric)
        if value is not None and better(value, best, metric):
            chosen, best = number, value
    return chosen


def validates(config: Config, server_round: int) -> bool:
    """Return whether a round is followed by a validation; the last one always is."""
    last = server_round == config.train.rounds
    return server_round % config.evaluate.every == 0 or last
