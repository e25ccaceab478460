"""What a run tells of the strangers: every strategy at every k, as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fedrec.coldstart.curves import Curves, curves
from fedrec.coldstart.mixture import MIXTURE, Weights, learn, mixture
from fedrec.coldstart.strangers import strangers
from fedrec.coldstart.users import Strategy, Warm, build
from fedrec.config_coldstart import WHOLE, revealed, user_strategies
from fedrec.evaluation.sums import EvaluationSums, intervals, means

Json = dict[str, Any]


def learn_users(warm: Warm) -> tuple[dict[str, Strategy], Weights]:
    """Make the strategies of `coldstart.users`, and the weights of a mixture of them.

    Args:
        warm: those who trained.

    Returns:
        Name -> strategy, and the weights (empty without a mixture).

    Raises:
        ConfigError: if a strategy does not fit the model or the data.
        DataError: if no validation stranger has a history that a mixture could learn from.
    """
    names = user_strategies(warm.setup.config)
    strategies = build(warm, [name for name in names if name != MIXTURE])
    if MIXTURE not in names:
        return strategies, {}
    weights = learn(warm.setup, strategies, warm.setup.config.coldstart.reveal)
    return strategies | {MIXTURE: mixture(strategies, weights)}, weights


def measure_users(warm: Warm, learnt: tuple[Mapping[str, Strategy], Weights] | None = None) -> Json:
    """Measure the strategies of `coldstart.users` on the test strangers.

    Args:
        warm: those who trained, of a configuration with `coldstart.users`.
        learnt: from `learn_users`; None: they are made here.

    Returns:
        "reveal", "test_items", "strangers" (how many), "k", "curves" (strategy -> k -> metric
        -> mean, low and high end of the 95% interval over users), "strategies" (statement and
        bytes of each) and "mixture" (k -> strategy -> weight; empty without one).

    Raises:
        ConfigError: if a strategy does not fit the model or the data.
        DataError: if no stranger has a history.
    """
    config = warm.setup.config
    reveal = config.coldstart.reveal
    strategies, weights = learnt or learn_users(warm)
    found = curves(warm.setup, strategies, "test", revealed(config), reveal)
    return {
        "reveal": reveal,
        "test_items": config.coldstart.test_items,
        "strangers": len(strangers(warm.setup, "test", 0).test.users),
        "k": [label(k) for k in revealed(config)],
        "curves": told_curves(found),
        "strategies": {name: told_strategy(own) for name, own in strategies.items()},
        "mixture": told_weights(weights),
    }


def label(k: int) -> str:
    """Return how a number of revealed interactions is written: "0", "5", "whole"."""
    return "whole" if k == WHOLE else str(k)


def told_curves(found: Curves) -> Json:
    """Return curves as strategy -> k -> metric -> [mean, low, high]."""
    return {
        name: {label(k): told_sums(sums) for k, sums in own.items()} for name, own in found.items()
    }


def told_sums(sums: EvaluationSums) -> dict[str, list[float]]:
    """Return metric -> mean and 95% interval; the mean alone without replicates."""
    ends = intervals(sums)
    return {
        name.removeprefix("full."): [value, *ends.get(name, ())]
        for name, value in means(sums).items()
        if name.startswith("full.")
    }


def told_strategy(strategy: Strategy) -> Json:
    """Return what a strategy tells of itself."""
    return {
        "privacy": strategy.privacy,
        "bytes_down": strategy.bytes_down,
        "bytes_up": strategy.bytes_up,
    }


def told_weights(weights: Mapping[int, Mapping[str, float]]) -> Json:
    """Return weights by the label of k, rounded to three digits."""
    return {
        label(k): {name: round(value, 3) for name, value in own.items()}
        for k, own in weights.items()
    }
