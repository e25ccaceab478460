"""Beyond accuracy: what lists of recommendations do to the catalogue.

All follows from how often each item stood in a list of the K best, a sum over
users, and from the popularity of items in training.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fedrec.errors import DataError


def beyond(
    recommended: NDArray[np.int64], train_counts: NDArray[np.int64], num_users: int, k: int
) -> dict[str, float]:
    """Return metrics of the lists of K recommendations of all users.

    Args:
        recommended: int64 [I], how often each item stood in a list
            (`EvaluationSums.recommended`).
        train_counts: int64 [I], training users of each item.
        num_users: U, users in training.
        k: length of the lists (`list_length`); it only names the metrics.

    Returns:
        "coverage@K": share of the catalogue that was recommended to anyone.
        "novelty@K": mean self-information -log2(n_i / U) of recommended items, in
        bits (Zhou et al., PNAS 2010); an item without training users counts as 1.
        "popularity@K": mean popularity percentile of recommended items, 0.5 if
        items are recommended alike, near 1 if only the most popular are.
        "gini@K": Gini coefficient of exposure over the whole catalogue, 0 if all
        items are shown alike, near 1 if a few take it all.

    Raises:
        DataError: if nothing was recommended, or lengths differ.
    """
    shown = recommended.astype(np.float64)
    total = shown.sum()
    if len(shown) != len(train_counts) or total <= 0:
        raise DataError(
            f"metrics beyond accuracy need lists over the {len(train_counts)} items of the "
            f"catalogue; found {total:.0f} recommendations over {len(shown)} items"
        )
    share = np.maximum(train_counts, 1) / max(num_users, 1)
    return {
        f"coverage@{k}": float((shown > 0).mean()),
        f"novelty@{k}": float(shown @ -np.log2(share) / total),
        f"popularity@{k}": float(shown @ percentiles(train_counts) / total),
        f"gini@{k}": gini(shown),
    }


def percentiles(counts: NDArray) -> NDArray[np.float64]:
    """Return the share of the other items that each item beats, ties counting half.

    Args:
        counts: [I], popularity.

    Returns:
        float64 [I], in [0, 1], with mean 0.5.
    """
    if len(counts) < 2:
        return np.full(len(counts), 0.5)
    ordered = np.sort(counts)
    below = np.searchsorted(ordered, counts, side="left")
    upto = np.searchsorted(ordered, counts, side="right")
    return (below + (upto - below - 1) / 2.0) / (len(counts) - 1)


def gini(exposure: NDArray[np.float64]) -> float:
    """Return the Gini coefficient of non-negative values [I] with a positive sum."""
    ordered, size = np.sort(exposure), len(exposure)
    rank = np.arange(1, size + 1)
    return float((2.0 * rank - size - 1.0) @ ordered / (size * ordered.sum()))
