"""How well strategies serve strangers, against how much these reveal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from fedrec.coldstart.strangers import strangers
from fedrec.coldstart.strategy import Strategy
from fedrec.config import integers
from fedrec.data.population import Population
from fedrec.evaluation.evaluator import rank_users
from fedrec.evaluation.reduction import UserValues, sum_up
from fedrec.evaluation.sums import EvaluationSums
from fedrec.training.node import Setup
from fedrec.training.scorer import Scorer

Curves = dict[str, dict[int, EvaluationSums]]
"""Strategy -> k -> sums over strangers."""


def curves(
    setup: Setup,
    strategies: Mapping[str, Strategy],
    part: str,
    ks: Iterable[int],
    reveal: str = "latest",
) -> Curves:
    """Measure every strategy at every k.

    Args:
        setup: of the warm clients.
        strategies: name -> strategy.
        part: "valid" or "test".
        ks: numbers of revealed interactions; `WHOLE` (-1) for all.
        reveal: "latest" or "first".
    """
    found: Curves = {name: {} for name in strategies}
    for k in ks:
        population = strangers(setup, part, k, reveal)
        for name, strategy in strategies.items():
            values = rank_strangers(setup, strategy.scorer(population), population, part)
            bootstrap = setup.config.evaluate.bootstrap
            found[name][k] = sum_up(values, bootstrap, population.num_items, {})
    return found


def rank_strangers(setup: Setup, scorer: Scorer, population: Population, part: str) -> UserValues:
    """Rank the test items of strangers among all items that they had not met before.

    Args:
        setup: of the warm clients, for `evaluate.k` and the seed of ties.
        scorer: of the strangers.
        population: from `strangers`.
        part: "valid" or "test".
    """
    return rank_users(
        scorer,
        population.held_out(part),
        None,
        num_items=population.num_items,
        ks=integers(setup.config, "evaluate.k"),
        sampled=0,
        seed=setup.config.run.seed,
        part=part,
    )


def per_user(values: UserValues, metric: str) -> np.ndarray:
    """Return a metric of each stranger, float64 [E]."""
    return np.asarray(values.metrics[metric])
