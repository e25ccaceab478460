"""What happens to a client's update before anything else sees it: attack, then bound.

Both act on the axis C of a block, before the privacy policy and before any sum, so they
work in the clear, under secure aggregation and with noise alike.  A bound that clients
apply themselves holds for all who run this code; the simulated attackers do: they choose
what is bounded, not whether.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from fedrec.config import Config
from fedrec.config_attacks import OWN
from fedrec.data.population import Population
from fedrec.params import Shared
from fedrec.robust.attacks import FREE_RIDING, make_plot, poison
from fedrec.robust.rules import bound
from fedrec.robust.updates import stack, unstack
from fedrec.training.aggregate import weight_exponent
from fedrec.training.cohort import CohortUpdate


def as_sent(
    config: Config,
    population: Population,
    shared: Shared,
    update: CohortUpdate,
    clients: NDArray[np.int64],
    round_number: int,
    start: Callable[[], Shared] | None = None,
) -> CohortUpdate:
    """Let malicious clients attack, and every client bound its update.

    Args:
        config: `robust.attack` and `robust.defence` say what happens.
        population: all clients, of whom a share is malicious.
        shared: what the server sent.
        update: honest updates of C clients.
        clients: int64 [C], their numbers, ascending.
        round_number: the round.
        start: makes the shared parameters before the first round, which free-riders compare
            with what they were sent.

    Returns:
        The updates; the same object without attack and bound.
    """
    section = config.robust
    if section.attack == "off" and section.defence not in OWN:
        return update
    updates = stack(clients, update, shared, weight_exponent(config))
    if section.attack != "off":
        plot = make_plot(config, population, section.attack)
        begun = start() if start and section.attack in FREE_RIDING else None
        updates = poison(updates, plot, shared, config.run.seed, round_number, begun)
    if section.defence in OWN:
        updates = bound(updates, section.defence, section.norm)
    return unstack(updates, update)
