"""What a sum of updates still shows of single clients: rows that one of them alone touches.

Measured by simulation, from the data of all clients; no server of a real federation
could do so, and nothing of it is sent.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fedrec.data.population import expand
from fedrec.params import Personal, Shared
from fedrec.privacy.secure_statement import Exposure
from fedrec.training.node import Setup
from fedrec.training.secure_node import Kept
from fedrec.training.secure_rows import entity_sizes, split_entities, touched


def exposure(
    setup: Setup,
    shared: Shared,
    clients: NDArray[np.int64],
    round_number: int,
    kept: Kept | None = None,
    personal: Personal | None = None,
) -> Exposure:
    """Count the rows of a sum that have a single contributor.

    Args:
        setup: the prepared configuration.
        shared: what the server sent.
        clients: int64 [C], clients in the sum.
        round_number: the round.
        kept: entity -> rows that take part; None for all.
        personal: stacked like `personal_users(setup, clients)`; needed with compress.rows,
            where training decides which rows are sent.

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
    for _, own in touched(setup, shared, personal, clients, round_number):
        counts += own
    single = (counts == 1) & part
    exposed, shown, interactions = 0, 0, 0
    population = setup.population
    for client, own in touched(setup, shared, personal, clients, round_number):
        exposed += bool((own & single).any())
        users = population.users_of(np.array([client]))
        items = population.items[expand(population.indptr, users)]
        interactions += len(items)
        sent = split_entities(setup, shared, own & single).get("item", np.zeros(0, bool))
        shown += int(sent[items].sum()) if len(sent) else 0
    moved = int(((counts > 0) & part).sum())
    return Exposure(
        round_number,
        len(clients),
        int(single.sum()) / max(moved, 1),
        exposed / max(len(clients), 1),
        shown / max(interactions, 1),
    )
