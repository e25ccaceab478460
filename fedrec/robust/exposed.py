"""What an attack did: to how many honest users the target is recommended, and how well."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fedrec.config import Config, integers
from fedrec.data.population import Population, expand
from fedrec.evaluation.evaluator import evaluate_users, list_length
from fedrec.evaluation.reduction import sum_up
from fedrec.evaluation.sums import EvaluationSums
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


def robust_sums(
    config: Config,
    population: Population,
    score: Scorer,
    users: NDArray[np.int64],
    part: str,
    bootstrap: int,
) -> EvaluationSums:
    """Measure the exposure of the target, and the accuracy of honest users.

    Honest are the users of all clients but the share `robust.malicious` that would
    attack, whether they do or not: so runs with and without an attack are measured on
    the same users.

    Args:
        config: names the target, K and the seed.
        population: training interactions and held-out items.
        score: the system.
        users: int64 [E], local users, ascending.
        part: "valid" or "test".
        bootstrap: number of replicates.

    Returns:
        Sums of "robust.exposure@K" and of "honest.<metric>@K".
    """
    plot = make_plot(config, population, config.robust.attack)
    honest = users[~plot.malicious[population.client_of_user[users]]]
    k = list_length(integers(config, "evaluate.k"))
    found = exposure(score, population, honest, plot.target, k)
    having = np.isfinite(found)
    none = np.zeros(0, np.int64)
    shown = sum_up(
        {f"{EXPOSURE}.exposure@{k}": found[having]},
        {EXPOSURE: np.ones(int(having.sum()))},
        honest[having],
        bootstrap,
        none,
        {},
    )
    ranked = evaluate_users(
        score,
        population.held_out(part),
        honest,
        num_items=population.num_items,
        ks=(k,),
        sampled=0,
        seed=config.run.seed,
        part=part,
        bootstrap=bootstrap,
    )
    return shown + _renamed(ranked)


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


def _renamed(sums: EvaluationSums) -> EvaluationSums:
    """Return sums of a full ranking under the name of honest users."""

    def rename(name: str) -> str:
        return HONEST + name.removeprefix("full")

    return EvaluationSums(
        {rename(n): v for n, v in sums.values.items()},
        {rename(n): v for n, v in sums.counts.items()},
        {rename(n): v for n, v in sums.replicates.items()},
        {rename(n): v for n, v in sums.replicate_counts.items()},
    )
