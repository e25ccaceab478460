"""What a sum of updates still shows of single clients: rows that one of them alone touches.

Measured by simulation, from the data of all clients; no server of a real federation
could do so, and nothing of it is sent.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fedrec.data.population import expand
from fedrec.params import Shared
from fedrec.privacy.secure_statement import Exposure
from fedrec.training.node import Setup
from fedrec.training.secure_node import INDICATORS, Kept, entity_sizes, indicators, split_entities


def exposure(
    setup: Setup,
    shared: Shared,
    clients: NDArray[np.int64],
    round_number: int,
    kept: Kept | None = None,
) -> Exposure:
    """Count the rows of a sum that have a single contributor.

    Args:
        setup: the prepared configuration.
        shared: what the server sent.
        clients: int64 [C], clients in the sum.
        round_number: the round.
        kept: entity -> rows that take part; None for all.

    Returns:
        Shares of rows, of clients and of item interactions.
    """
    sizes = entity_sizes(setup, shared)
    part = np.ones(sum(sizes.values()), bool)
    if kept is not None:
        part[:] = False
        for entity, mask in split_entities(setup, shared, part).items():
            mask[kept[entity]] = True  # a view
    counts = np.zeros(len(part), np.int64)
    for _, own in indicators(setup, shared, clients, round_number):
        counts += own[INDICATORS].astype(np.int64)
    single = (counts == 1) & part
    exposed, shown, interactions = 0, 0, 0
    alone = split_entities(setup, shared, single)
    population = setup.population
    for client, own in indicators(setup, shared, clients, round_number):
        exposed += bool((own[INDICATORS].astype(bool) & single).any())
        users = population.users_of(np.array([client]))
        items = population.items[expand(population.indptr, users)]
        interactions += len(items)
        shown += int(alone["item"][items].sum()) if "item" in alone else 0
    touched = int(((counts > 0) & part).sum())
    return Exposure(
        round_number,
        len(clients),
        int(single.sum()) / max(touched, 1),
        exposed / max(len(clients), 1),
        shown / max(interactions, 1),
    )
