"""Strategies of methods that have learned where a stranger's personal parameters begin."""

from __future__ import annotations

import numpy as np

from fedrec.coldstart.strategy import Strategy, Warm
from fedrec.coldstart.vectors import rebuilt
from fedrec.data.population import Population
from fedrec.errors import ConfigError
from fedrec.training.node import init_personal
from fedrec.training.scorer import Scorer


def reptile(warm: Warm) -> Strategy:
    """The start that Reptile has learned, adapted to what is revealed (Nichol et al. 2018)."""
    return _learned_start("reptile", warm)


def fomaml(warm: Warm) -> Strategy:
    """The start that FOMAML has learned, adapted to what is revealed (Finn et al., ICML 2017)."""
    return _learned_start("fomaml", warm)


def _learned_start(name: str, warm: Warm) -> Strategy:
    """Return the strategy of a method whose shared weights hold the start.

    A stranger who has revealed nothing keeps the start; others take the local steps of
    training from there.

    Raises:
        ConfigError: if another method has trained.
    """
    method = warm.setup.config.train.method
    if method != name:
        raise ConfigError(
            f"strategy {name!r} begins where train.method = {name!r} has learned to, and "
            f"train.method = {method!r} has trained: change one of them"
        )
    start = init_personal(warm.setup, np.arange(warm.setup.population.num_clients))

    def scorer(population: Population) -> Scorer:
        from fedrec.training.scoring import make_scorer

        own = rebuilt(warm, population, start)
        users = np.arange(population.num_users)
        return make_scorer(warm.setup.model, warm.shared, own, users, population)

    return Strategy(
        name,
        "what a stranger reveals stays on its device; of warm clients nothing is known beside the "
        "sums of training",
        warm.shared.num_bytes,
        scorer,
    )
