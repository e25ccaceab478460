"""Ranks of relevant items, and the metrics that follow from ranks alone.

All metrics are computed from the rank of each relevant item among the user's
candidates, with binary relevance.  Equal scores are ordered by an addressed
random word of (user, item): a model that scores everything alike is ranked at
random, and never in favour of the relevant item.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fedrec.rng import draw

METRICS = ("hr", "ndcg", "recall", "precision", "f1", "mrr", "map")
"""Names of the ranking metrics; each is reported at every cut-off, as in "hr@10"."""

_CELLS = 1 << 23  # comparisons held at once when ranking: 8 MiB of bool


def full_ranks(
    scores: NDArray[np.float32],
    rows: NDArray[np.int64],
    items: NDArray[np.int32],
    keys: NDArray[np.uint64],
) -> NDArray[np.int64]:
    """Rank relevant items among all candidates of their user.

    Args:
        scores: float32 [b, I]; minus infinity marks items that are no candidates.
        rows: int64 [w], the row of each relevant item.
        items: int32 [w], the relevant items.
        keys: uint64 [b], the random keys that order equal scores.

    Returns:
        int64 [w], ranks from 1; relevant items of the same user count as candidates.
    """
    ranks = np.empty(len(rows), np.int64)
    step = max(1, _CELLS // max(1, scores.shape[1]))
    for begin in range(0, len(rows), step):
        part = slice(begin, begin + step)
        row, item = rows[part], items[part]
        own = scores[row, item][:, None]
        contiguous = len(row) == row[-1] - row[0] + 1 and bool(np.all(np.diff(row) == 1))
        candidates = scores[row[0] : row[-1] + 1] if contiguous else scores[row]
        ranks[part] = 1 + (candidates > own).sum(axis=1, dtype=np.int32)
        ranks[part] += _ties_before(candidates == own, keys[row], item)
    return ranks


def _ties_before(
    equal: NDArray[np.bool_], keys: NDArray[np.uint64], items: NDArray[np.int32]
) -> NDArray[np.int64]:
    """Count the equal candidates [w, I] that the random order puts before `items` [w]."""
    width = equal.shape[1]
    equal[np.arange(len(items)), items] = False
    cells = np.flatnonzero(equal)
    if not len(cells):
        return np.zeros(len(items), np.int64)
    row = cells // width
    before = draw(keys[row], cells % width) < draw(keys, items)[row]
    return np.bincount(row[before], minlength=len(items))


def sampled_ranks(
    relevant: NDArray[np.float32],
    rows: NDArray[np.int64],
    items: NDArray[np.int32],
    negative_scores: NDArray[np.float32],
    negatives: NDArray[np.int32],
    keys: NDArray[np.uint64],
) -> NDArray[np.int64]:
    """Rank relevant items among their user's relevant items and sampled negatives.

    Args:
        relevant: float32 [w], scores of the relevant items.
        rows: int64 [w], ascending: the user (row) of each relevant item.
        items: int32 [w], the relevant items.
        negative_scores: float32 [b, N]; what stands where there is no negative
            is not read.
        negatives: int32 [b, N]; -1 where a user has fewer than N negatives.
        keys: uint64 [b], the random keys that order equal scores.

    Returns:
        int64 [w], ranks from 1.
    """
    ties = draw(keys[rows], items)
    order = np.lexsort((ties, -relevant.astype(np.float64), rows))
    ranks = np.empty(len(rows), np.int64)
    first = np.searchsorted(rows, rows)  # where the user's relevant items begin
    ranks[order] = np.arange(len(rows)) - first + 1
    theirs, own = negative_scores[rows], relevant[:, None]
    before = (theirs > own) | (
        (theirs == own) & (draw(keys[rows][:, None], negatives[rows]) < ties[:, None])
    )
    return ranks + (before & (negatives[rows] >= 0)).sum(axis=1)


def recommended_cells(
    scores: NDArray[np.float32], k: int, keys: NDArray[np.uint64]
) -> NDArray[np.int64]:
    """Find the items that stand in each user's list of the K best.

    Args:
        scores: float32 [b, I]; minus infinity marks items that are no candidates.
        k: length of the lists, shortened for users with fewer candidates.
        keys: uint64 [b], the random keys that order equal scores.

    Returns:
        int64 [L], ascending: row * I + item, at most K for each row.
    """
    num_users, num_items = scores.shape
    k = min(k, num_items)
    threshold = np.partition(scores, num_items - k, axis=1)[:, num_items - k, None]
    listed = (scores >= threshold) & (scores > -np.inf)
    crowded = np.flatnonzero(listed.sum(axis=1, dtype=np.int32) > k)
    if len(crowded):  # equal scores at the end of the list: the random order decides
        mine, at_end = scores[crowded], threshold[crowded]
        room = k - (mine > at_end).sum(axis=1)
        words = draw(keys[crowded][:, None], np.arange(num_items))
        words[mine != at_end] = np.iinfo(np.uint64).max
        best = np.argpartition(words, k - 1, axis=1)[:, :k]
        nth = np.argsort(np.take_along_axis(words, best, axis=1), axis=1)
        best = np.take_along_axis(best, nth, axis=1)
        listed[crowded] = mine > at_end
        row, place = np.nonzero(np.arange(k) < room[:, None])
        listed[crowded[row], best[row, place]] = True
    return np.flatnonzero(listed)


def user_metrics(
    ranks: NDArray[np.int64], indptr: NDArray[np.int64], ks: Sequence[int]
) -> dict[str, NDArray[np.float64]]:
    """Compute every metric at every cut-off for each user.

    With n relevant items of which h are ranked in the first K: HR = [h > 0],
    recall = h / n, precision = h / K, F1 their harmonic mean, MRR = 1 / best rank
    if that is at most K, NDCG with binary gains over the ideal list cut at K
    (Jarvelin and Kekalainen 2002), and MAP = the sum of precision at each hit
    over min(n, K), so that a perfect list scores 1.

    Args:
        ranks: int64 [w], ranks of the relevant items, in any order within a user.
        indptr: int64 [E + 1], boundaries of the users in `ranks`; none is empty.
        ks: cut-offs.

    Returns:
        "hr@10" and so on -> float64 [E].
    """
    num_users = len(indptr) - 1
    relevant = np.diff(indptr)
    user = np.repeat(np.arange(num_users), relevant)
    sorted_ranks = ranks[np.lexsort((ranks, user))]
    place = np.arange(len(ranks)) - indptr[user] + 1  # 1 for the best-ranked of a user
    gain = 1.0 / np.log2(sorted_ranks + 1.0)
    ideal = np.cumsum(1.0 / np.log2(np.arange(2.0, max(ks) + 2.0)))
    best = sorted_ranks[indptr[:-1]]

    def total(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.bincount(user, weights, minlength=num_users).astype(np.float64, copy=False)

    out: dict[str, NDArray[np.float64]] = {}
    for k in ks:
        inside = (sorted_ranks <= k).astype(np.float64)
        hits, reachable = total(inside), np.minimum(relevant, k)
        out[f"hr@{k}"] = (hits > 0).astype(np.float64)
        out[f"ndcg@{k}"] = total(inside * gain) / ideal[reachable - 1]
        out[f"recall@{k}"] = hits / relevant
        out[f"precision@{k}"] = hits / k
        out[f"f1@{k}"] = 2.0 * hits / (relevant + k)
        out[f"mrr@{k}"] = np.where(best <= k, 1.0 / best, 0.0)
        out[f"map@{k}"] = total(inside * place / sorted_ranks) / reachable
    return out
