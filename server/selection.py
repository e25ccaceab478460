"""Which round is best on validation."""

from __future__ import annotations

from collections.abc import Mapping

from fedrec.errors import ConfigError, nearest

LOWER_IS_BETTER = ("rmse", "mae")


def selection_value(metrics: Mapping[str, float], select: str) -> float | None:
    """Return the validation metric that selects the round.

    Args:
        metrics: dotted validation metrics; empty if no user is validated.
        select: "ndcg@10", or with its protocol "sampled99.ndcg@10"; without one
            full ranking goes before ratings.

    Returns:
        The value, or None if there are no metrics.

    Raises:
        ConfigError: if there are metrics but not this one.
    """
    if not metrics:
        return None
    for name in (select, f"full.{select}", f"rating.{select}"):
        if name in metrics:
            return metrics[name]
    raise ConfigError(
        f"evaluate.select = {select!r} is not measured on validation.{nearest(select, metrics)}"
    )


def better(value: float, best: float, select: str) -> bool:
    """Return whether `value` beats `best`; the earlier round wins ties."""
    lower = select.rsplit(".", 1)[-1] in LOWER_IS_BETTER
    return value < best if lower else value > best
