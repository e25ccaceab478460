"""What an attack did: to how many honest users the target is recommended, and how well."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from fedrec.config import Config, integers
from fedrec.data.population import Population, expand
from fedrec.evaluation.evaluator import list_length
from fedrec.evaluation.ranking import METRICS
from fedrec.evaluation.reduction import UserValues
from fedrec.robust.attacks import make_plot
from fedrec.training.scorer import Scorer

EXPOSURE = "robust"
"""Protocol of the exposure of the target, over honest users who have not met it."""
HONEST = "honest"
"""Protocol of the accuracy of honest users, by full ranking."""
_BLOCK = 512


def measured(config: Config) -> bool:
    """Return whether a run measures exposure: under attack, or if a target is named."""
    section = config.robust
    return config.data.feedback == "implicit" and (section.attack != "off" or section.target >= 0)


def names(config: Config) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the metrics and the protocols that `with_robust` adds, in its order."""
    if not measured(config):
        return (), ()
    k = list_length(integers(config, "evaluate.k"))
    metrics = tuple(f"{HONEST}.{name}@{k}" for name in METRICS)
    return (*metrics, f"{EXPOSURE}.exposure@{k}"), (HONEST, EXPOSURE)


def with_robust(
    config: Config, population: Population, score: Scorer, values: UserValues
) -> UserValues:
    """Add the exposure of the target, and the accuracy of honest users, if a run asks for them.

    Honest are the users of all clients but the share `robust.malicious` that would
    attack, whether they do or not: so runs with and without an attack are measured on
    the same users.

    Args:
        config: names the target and K.
        population: for the items that users have met.
        score: the system.
        values: of its full ranking.

    Returns:
        The values with "honest.<metric>@K" and "robust.exposure@K", the latter over honest
        users who have not met the target.
    """
    if not measured(config):
        return values
    plot = make_plot(config, population, config.robust.attack)
    k = list_length(integers(config, "evaluate.k"))
    honest = (~plot.malicious[population.client_of_user[values.users]]).astype(np.float64)
    found = exposure(score, population, values.users, plot.target, k)
    unmet = honest * np.isfinite(found)
    metrics = {f"{HONEST}.{name}@{k}": honest * values.metrics[f"full.{name}@{k}"]
               for name in METRICS}  # fmt: skip
    metrics[f"{EXPOSURE}.exposure@{k}"] = unmet * np.nan_to_num(found)
    return replace(
        values,
        metrics={**values.metrics, **metrics},
        counts={**values.counts, HONEST: honest, EXPOSURE: unmet},
    )


def exposure(
    score: Scorer, population: Population, users: NDArray[np.int64], target: int, k: int
) -> NDArray[np.float64]:
    """Return for each user whether the target is among the top K unseen items.

    ER@K of Zhang et al. (WSDM 2022): users who have met the target in training are left
    out; an item with the target's score counts as half before it.

    Args:
        score: the system.
        population: for the items that users have met.
        users: int64 [E].
        target: the item.
        k: K.

    Returns:
        float64 [E], 0 or 1; NaN for users who have met the target.
    """
    values = np.full(len(users), np.nan)
    for at in range(0, len(users), _BLOCK):
        block = users[at : at + _BLOCK]
        scores = np.array(score(block), np.float64)
        lengths = np.diff(population.indptr)[block]
        rows = np.repeat(np.arange(len(block)), lengths)
        items = population.items[expand(population.indptr, block)]
        mine = scores[:, target].copy()
        scores[rows, items] = -np.inf
        before = (scores > mine[:, None]).sum(1) + 0.5 * ((scores == mine[:, None]).sum(1) - 1)
        met = np.zeros(len(block), bool)
        met[rows[items == target]] = True
        values[at : at + _BLOCK] = np.where(met, np.nan, before < k)
    return values
