"""Accuracy with the popularity bias of held-out interactions taken out.

Held-out interactions are met with the same propensity as those of training, so plain HR and
NDCG reward who recommends what is popular anyway.  Here a user counts by the inverse
propensity of its held-out items, (n_i / max n)**-exponent, clipped, and sums are divided by
the sum of these weights (self-normalised: Swaminathan and Joachims, NeurIPS 2015; for
recommendation Yang et al., RecSys 2018).  The estimate is unbiased only as far as the
propensities are right; it tells whether a gain lies beyond the most popular items.

Weights are whole numbers of 1 / `PARTS_OF_ONE`, so that they add up exactly in secure sums too.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from fedrec.config import Config, integers
from fedrec.data.population import HeldOut, Population
from fedrec.evaluation import providers
from fedrec.evaluation.reduction import UserValues
from fedrec.training.scorer import Scorer

UNBIASED = "unbiased"
"""Protocol of the weighted metrics."""

PARTS_OF_ONE = 100
"""Weights are rounded to so many parts of the least weight, that of the most popular item."""

_METRICS = ("hr", "ndcg")


def names(config: Config, part: str) -> tuple[str, ...]:
    """Return the metrics that `with_unbiased` adds, in its order; on the test part alone."""
    if not config.evaluate.propensity or part != "test" or config.data.feedback == "explicit":
        return ()
    ks = integers(config, "evaluate.k")
    return tuple(f"{UNBIASED}.{name}@{k}" for k in ks for name in _METRICS)


def user_weights(
    held_out: HeldOut,
    users: NDArray[np.int64],
    counts: NDArray[np.int64],
    power: float,
    clip: float,
) -> NDArray[np.float64]:
    """Return the weight of each user: the mean over its held-out items, in whole parts.

    Args:
        held_out: of all users.
        users: int64 [E], each with a held-out item.
        counts: int64 [I], training interactions of items.
        power: exponent of the propensity.
        clip: largest weight.

    Returns:
        float64 [E], whole numbers from `PARTS_OF_ONE` to clip * `PARTS_OF_ONE`.
    """
    share = np.maximum(counts, 1) / max(int(counts.max(initial=1)), 1)
    weights = np.minimum(share**-power, clip)[held_out.items]
    sums = np.add.reduceat(weights, held_out.indptr[:-1]) if len(weights) else weights
    means = sums / np.diff(held_out.indptr)
    return np.rint(PARTS_OF_ONE * means[np.searchsorted(held_out.users, users)])


def with_unbiased(
    config: Config, population: Population, values: UserValues, part: str
) -> UserValues:
    """Add HR and NDCG weighted by inverse propensity, where `evaluate.propensity` asks for them.

    Args:
        config: exponent and clip.
        population: training counts and held-out items.
        values: of the full ranking.
        part: "valid" or "test"; there is nothing to add on validation.
    """
    told = names(config, part)
    if not told:
        return values
    section = config.evaluate
    weight = user_weights(
        population.held_out(part),
        values.users,
        population.item_counts,
        section.propensity,
        section.propensity_clip,
    )
    found = {name: weight * values.metrics[name.replace(UNBIASED, "full", 1)] for name in told}
    return replace(
        values,
        metrics={**values.metrics, **found},
        counts={**values.counts, UNBIASED: weight},
    )


def with_more(
    config: Config, population: Population, score: Scorer, values: UserValues, part: str
) -> UserValues:
    """Add what `evaluate.item_group` and `evaluate.propensity` ask for, in this order."""
    values = providers.with_exposure(config, population, score, values, part)
    return with_unbiased(config, population, values, part)


def more_names(
    config: Config, population: Population, part: str
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the metrics and the protocols that `with_more` adds, in its order."""
    shown, weighted = providers.names(config, population, part), names(config, part)
    protocols = (providers.EXPOSURE,) * bool(shown) + (UNBIASED,) * bool(weighted)
    return (*shown, *weighted), protocols


def largest_weight(config: Config, part: str) -> float:
    """Return the most that a user counts for in any protocol."""
    return PARTS_OF_ONE * config.evaluate.propensity_clip if names(config, part) else 1.0
