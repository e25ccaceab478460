"""Support and query: which interactions of a round each part of the parameters learns from.

A client's interactions are split anew in each round (Singhal et al., NeurIPS 2021,
section 4): personal parameters are reconstructed from the support, and what is shared
learns from the query, for which the reconstruction has not been fitted.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fedrec.rng import Purpose, draw, keys


def query_interactions(
    seed: int, round_number: int, users: NDArray[np.int64], counts: NDArray[np.int64], share: float
) -> NDArray[np.bool_]:
    """Return which interactions are query; all others are support.

    The support of a user is a random share of its interactions, rounded up: a single
    interaction is support.  The draw depends on (seed, round, user, position) alone.

    Args:
        seed: seed of the run.
        round_number: the round.
        users: int64 [M].
        counts: int64 [M], interactions of each.
        share: of the interactions, for the support.

    Returns:
        bool [n], user by user.
    """
    owner = np.repeat(np.arange(len(users)), counts)
    first = np.repeat(np.cumsum(counts) - counts, counts)
    position = np.arange(len(owner)) - first
    words = draw(keys(seed, round_number, users, Purpose.SUPPORT)[owner], position)
    rank = np.empty(len(owner), np.int64)
    rank[np.lexsort((words, owner))] = position
    query: NDArray[np.bool_] = rank >= np.ceil(share * counts)[owner]
    return query
