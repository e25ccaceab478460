"""What a node sends where the server must see every client's own update."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedrec.params import Personal, Shared
from fedrec.privacy.policy import At, build_policy
from fedrec.robust.updates import Updates, merge, nothing, stack
from fedrec.training.aggregate import add_metrics, weight_exponent
from fedrec.training.node import Setup, client_updates, in_round
from fedrec.training.statistics import sums_like


@dataclass(frozen=True, eq=False)
class Singles:
    """The updates of the chosen clients of a node, and sums of their metrics.

    Attributes:
        updates: each client's own.
        metrics: name -> plain sum over clients, as in a partial sum.
    """

    updates: Updates
    metrics: dict[str, float]


def train_singles(
    setup: Setup,
    shared: Shared,
    personal: Personal,
    clients: NDArray[np.int64],
    round_number: int,
    at: At | None = None,
) -> tuple[Singles, Personal]:
    """Train the chosen clients of a node as `train_node` does, without summing.

    Args:
        setup: the prepared configuration.
        shared: what the server sent.
        personal: stacked like `personal_users(setup, clients)`.
        clients: int64 [C], ascending.
        round_number: the round, from 1.
        at: of the privacy policy; None: as the configuration says.

    Returns:
        The updates of clients with samples, and the new personal parameters.
    """
    at = at or build_policy(setup.config, setup.population.num_clients).at(round_number)
    updates, now = client_updates(setup, shared, personal, clients, round_number, at)
    like = sums_like(in_round(setup, round_number).method.statistics, shared)
    parts, metrics = [nothing(like)], dict[str, float]()
    for block, update in updates:
        own = stack(block, update, like, weight_exponent(setup.config))
        parts.append(own)
        add_metrics(metrics, update, own.weight)
    return Singles(merge(parts), metrics), now
