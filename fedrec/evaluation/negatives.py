"""Negatives of the sampled protocol, drawn by addressed randomness.

Ranking among a few sampled negatives does not order systems as the full ranking
does (Krichene and Rendle, KDD 2020).  It is offered beside the full ranking, to
compare with published figures.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fedrec.rng import draw, integers


def draw_negatives(
    excluded: NDArray[np.int64], num_users: int, num_items: int, size: int, keys: NDArray[np.uint64]
) -> NDArray[np.int32]:
    """Draw distinct items that a user has nothing to do with, uniformly.

    Floyd's algorithm (Bentley and Floyd, CACM 1987), a step for all users at
    once, over the numbers of the allowed items.

    Args:
        excluded: int64 [X], sorted and unique ``row * num_items + item``.
        num_users: b.
        num_items: I.
        size: N, the number of negatives for each user.
        keys: uint64 [b], one random key for each user.

    Returns:
        int32 [b, N]; -1 fills the rows of users with fewer than N allowed items.
    """
    row = excluded // num_items
    indptr = np.searchsorted(row, np.arange(num_users + 1))
    allowed = num_items - np.diff(indptr)
    wanted = np.minimum(allowed, size)
    chosen = np.full((size, num_users), -1, np.int64)
    for step in range(size):
        last = allowed - wanted + step
        word = integers(draw(keys, step), last + 1)
        taken = (chosen[:step] == word).any(axis=0)
        chosen[step] = np.where(step < wanted, np.where(taken, last, word), -1)
    return _nth_allowed(chosen.T, excluded, row, indptr, num_items)


def _nth_allowed(
    chosen: NDArray[np.int64],
    excluded: NDArray[np.int64],
    row: NDArray[np.int64],
    indptr: NDArray[np.int64],
    num_items: int,
) -> NDArray[np.int32]:
    """Turn "the n-th allowed item" [b, N] into item numbers; -1 stays."""
    rank = np.arange(len(excluded)) - indptr[row]
    allowed_before = excluded - row * num_items - rank  # ascending within a row
    stride = num_items + 1
    sorted_keys = row * stride + allowed_before
    wanted = np.arange(len(chosen))[:, None] * stride + chosen
    skipped = np.searchsorted(sorted_keys, wanted, side="right") - indptr[:-1, None]
    return np.where(chosen >= 0, chosen + skipped, -1).astype(np.int32)
