"""How much noise a privacy budget asks for."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import lru_cache

from fedrec.errors import ConfigError
from fedrec.privacy.ledger import Event, Ledger, spent

_DIGITS = 4
_LOW, _HIGH = 0.05, 1e4


def default_delta(population: int) -> float:
    """Return population ** -1.1, which is well below one over the population."""
    return float(population) ** -1.1


def epsilon_of(event: Event, rounds: int, delta: float) -> float:
    """Return the epsilon of `rounds` equal events at `delta`."""
    return spent(Ledger().add(event, rounds), delta)


@lru_cache(maxsize=64)
def noise_for(event: Event, rounds: int, epsilon: float, delta: float) -> float:
    """Return the least noise multiplier with which `rounds` events keep a budget.

    Args:
        event: a round; its own noise multiplier is ignored.
        rounds: number of rounds.
        epsilon: the budget.
        delta: at which it holds.

    Returns:
        The multiplier, rounded up to four digits behind the point.

    Raises:
        ConfigError: if the budget is not positive or no noise can keep it.
        MissingExtraError: if dp-accounting is not installed.
    """
    if rounds == 0:
        return _LOW
    if not epsilon > 0 or not 0 < delta < 1:
        raise ConfigError(
            f"epsilon = {epsilon:g} and delta = {delta:g}: expected epsilon > 0 and 0 < delta < 1"
        )

    def keeps(noise: float) -> bool:
        return epsilon_of(replace(event, noise_multiplier=noise), rounds, delta) <= epsilon

    high = 1.0
    while not keeps(high):
        high *= 2
        if high > _HIGH:
            raise ConfigError(
                f"no noise keeps epsilon = {epsilon:g} at delta = {delta:g} over {rounds} rounds: "
                "raise epsilon, or lower the rounds or the clients a round"
            )
    low = high / 2
    while low > _LOW and keeps(low):  # not if the first guess had to be raised
        low, high = low / 2, low
    while high - low > 0.5 * 10.0**-_DIGITS:
        middle = (low + high) / 2
        low, high = (low, middle) if keeps(middle) else (middle, high)
    return math.ceil(high * 10**_DIGITS) / 10**_DIGITS
