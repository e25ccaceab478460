"""Small made populations, and the metrics written out again in plain Python."""

from __future__ import annotations

import math

import numpy as np

from fedrec.data.population import HeldOut
from fedrec.evaluation.evaluator import Scorer


def held_out(relevant: dict[int, list[int]], seen: dict[int, list[int]], num_users: int) -> HeldOut:
    """Lay out relevant and seen items of users."""
    users = np.array(sorted(u for u in relevant if relevant[u]), np.int64)
    lengths = [len(relevant[u]) for u in users]
    items = [i for u in users for i in relevant[u]]
    seen_lengths = [len(seen.get(u, [])) for u in range(num_users)]
    return HeldOut(
        users=users,
        indptr=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        items=np.array(items, np.int32),
        labels=np.ones(len(items), np.float32),
        seen_indptr=np.concatenate([[0], np.cumsum(seen_lengths)]).astype(np.int64),
        seen_items=np.array([i for u in range(num_users) for i in seen.get(u, [])], np.int32),
    )


def population(
    seed: int, num_users: int, num_items: int, most: int = 4
) -> tuple[HeldOut, np.ndarray, dict[int, list[int]], dict[int, list[int]]]:
    """Draw held-out and seen items, disjoint for a user, and scores without ties."""
    rng = np.random.default_rng(seed)
    relevant, seen = {}, {}
    for user in range(num_users):
        order = rng.permutation(num_items).tolist()
        cut = int(rng.integers(0, most + 1))
        relevant[user] = order[:cut]
        seen[user] = order[cut : cut + int(rng.integers(0, num_items // 2))]
    scores = rng.permutation(num_users * num_items).reshape(num_users, num_items)
    return held_out(relevant, seen, num_users), scores.astype(np.float32), relevant, seen


def like_ml_1m() -> tuple[HeldOut, Scorer, int]:
    """Draw a million interactions of 6,040 users with 3,706 items, and random factors."""
    num_users, num_items = 6040, 3706
    rng = np.random.default_rng(0)
    cells = np.unique(rng.integers(0, num_users * num_items, 1_000_000))
    user, item = cells // num_items, (cells % num_items).astype(np.int32)
    last = np.append(np.diff(user) > 0, True)
    seen = np.bincount(user[~last], minlength=num_users)
    held = HeldOut(
        users=np.arange(num_users),
        indptr=np.arange(num_users + 1),
        items=item[last],
        labels=np.ones(num_users, np.float32),
        seen_indptr=np.concatenate([[0], np.cumsum(seen)]),
        seen_items=item[~last],
    )
    p = rng.standard_normal((num_users, 32)).astype(np.float32)
    q = rng.standard_normal((num_items, 32)).astype(np.float32)
    return held, lambda users: p[users] @ q.T, num_items


def plain_metrics(ranking: list[int], relevant: set[int], k: int) -> dict[str, float]:
    """Compute all metrics of one ranked list, straight from their definitions."""
    hits = [position for position, item in enumerate(ranking[:k], 1) if item in relevant]
    dcg = sum(1 / math.log2(1 + position) for position in hits)
    ideal = sum(1 / math.log2(1 + position) for position in range(1, min(k, len(relevant)) + 1))
    precision, recall = len(hits) / k, len(hits) / len(relevant)
    average = sum(number / position for number, position in enumerate(hits, 1))
    return {
        "hr": float(bool(hits)),
        "ndcg": dcg / ideal,
        "recall": recall,
        "precision": precision,
        "f1": 2 * precision * recall / (precision + recall) if hits else 0.0,
        "mrr": 1 / hits[0] if hits else 0.0,
        "map": average / min(k, len(relevant)),
    }
