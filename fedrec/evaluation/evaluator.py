"""Evaluation of a scorer on held-out interactions, for some users of a node.

The same functions rank one user on a phone and all users of a data set: what
they return are sums, and sums over disjoint users add up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedrec.data.population import HeldOut, expand
from fedrec.errors import ConfigError, DataError, ModelError, nearest
from fedrec.evaluation.negatives import draw_negatives
from fedrec.evaluation.ranking import (
    full_ranks,
    recommended_cells,
    sampled_ranks,
    user_metrics,
)
from fedrec.evaluation.rating import evaluate_ratings, rate_users
from fedrec.evaluation.reduction import UserValues, check_finite, select, sum_up
from fedrec.evaluation.sums import EvaluationSums
from fedrec.rng import Purpose, keys
from fedrec.training.scorer import Scorer

__all__ = [
    "PARTS",
    "Scorer",
    "evaluate_ratings",
    "evaluate_users",
    "list_length",
    "rank_all",
    "rank_users",
    "rate_users",
]

PARTS = {"valid": 1, "test": 2}
"""Parts that can be evaluated, with the address of their negatives and ties."""

Candidates = Callable[[NDArray[np.int64]], NDArray[np.bool_]]

BLOCK_MIB = 32
_BYTES_PER_CELL = 16  # scores, a copy that is partitioned, two masks


@dataclass(frozen=True)
class _Draws:
    """What decides the random side of ranking, and how long lists are."""

    seed: int
    part: int
    sampled: int
    list_length: int


def evaluate_users(
    score: Scorer,
    held_out: HeldOut,
    users: NDArray[np.int64] | None,
    *,
    num_items: int,
    ks: Sequence[int],
    sampled: int,
    seed: int,
    part: str,
    bootstrap: int,
    groups: Mapping[str, NDArray[np.int32]] | None = None,
    block_mib: int = BLOCK_MIB,
) -> EvaluationSums:
    """Rank the held-out items of users among all items, and among sampled negatives.

    Candidates are all items but those the user has met before (`seen_items`).
    Negatives of the sampled protocol exclude these and the items held out in
    this part: nothing of the test part is known to validation.

    Args:
        score: the system, called on blocks of users.
        held_out: relevant and seen items.
        users: int64 [E'], local users to evaluate; None for all.  Users without
            relevant items are passed over.
        num_items: I.
        ks: cut-offs.
        sampled: negatives N of the sampled protocol; 0 leaves it out.
        seed: seed of ties and negatives.
        part: "valid" or "test"; each has negatives of its own.
        bootstrap: number of replicates B; 0 for none.
        groups: name of a group -> int32 [U], non-zero for its members (`groups.members`).
        block_mib: memory of a block of users; blocks that fit the cache are fastest.

    Returns:
        The sums, with "full.<metric>@<k>" and "sampled<N>.<metric>@<k>".

    Raises:
        ModelError: if scores are not finite or have the wrong shape.
        DataError: if a held-out item is also one that the user has seen.
        ConfigError: for an unknown part or no cut-offs.
    """
    values = rank_users(
        score,
        held_out,
        users,
        num_items=num_items,
        ks=ks,
        sampled=sampled,
        seed=seed,
        part=part,
        block_mib=block_mib,
    )
    return sum_up(values, bootstrap, num_items, groups or {})


def rank_users(
    score: Scorer,
    held_out: HeldOut,
    users: NDArray[np.int64] | None,
    *,
    num_items: int,
    ks: Sequence[int],
    sampled: int,
    seed: int,
    part: str,
    block_mib: int = BLOCK_MIB,
) -> UserValues:
    """Rank as `evaluate_users` does, and keep the values of each user apart.

    Args:
        score: as there.
        held_out: as there.
        users: as there.
        num_items: as there.
        ks: as there.
        sampled: as there.
        seed: as there.
        part: as there.
        block_mib: as there.

    Returns:
        The values of the E users with relevant items.

    Raises:
        ModelError: as there.
        DataError: as there.
        ConfigError: as there.
    """
    _check_request(part, ks)
    chosen, indptr, items, _ = select(held_out, users)
    draws = _Draws(seed, PARTS[part], sampled, list_length(ks))
    full, few = np.empty(len(items), np.int64), np.empty(len(items), np.int64)
    lists = [np.zeros(0, np.int64)]
    for begin, end in user_blocks(len(chosen), num_items, block_mib):
        own = slice(indptr[begin], indptr[end])
        rows = np.repeat(np.arange(end - begin), np.diff(indptr[begin : end + 1]))
        scores, seen = _candidate_scores(score, held_out, chosen[begin:end], num_items)
        addresses = held_out.address(chosen[begin:end])
        full[own], few[own], listed = _rank_block(scores, seen, addresses, rows, items[own], draws)
        lists.append(begin * num_items + listed)
    ranks = {"full": full} | ({f"sampled{sampled}": few} if sampled else {})
    metrics = _prefixed({name: user_metrics(r, indptr, ks) for name, r in ranks.items()})
    counts = {protocol: np.ones(len(chosen)) for protocol in ranks}
    listed_by, items_listed = np.divmod(np.concatenate(lists), num_items)
    return UserValues(chosen, metrics, counts, listed_by, items_listed)


def rank_all(
    score: Scorer,
    held_out: HeldOut,
    candidates: Candidates,
    *,
    num_items: int,
    seed: int,
    part: str,
    block_mib: int = BLOCK_MIB,
) -> NDArray[np.int64]:
    """Rank every held-out item of all users among the candidates of its user.

    Args:
        score: the system, called on blocks of users.
        held_out: relevant and seen items; items that a user has seen are no candidates.
        candidates: local users int64 [b] -> bool [b, I], what is ranked for each.
        num_items: I.
        seed: seed of ties.
        part: "valid" or "test".
        block_mib: memory of a block of users.

    Returns:
        int64 [W], the ranks of `held_out.items`, from 1.

    Raises:
        ModelError: if scores are not finite or have the wrong shape.
        DataError: if a held-out item is no candidate.
        ConfigError: for an unknown part.
    """
    _check_request(part, (1,))
    ranks, users, indptr = np.empty(len(held_out.items), np.int64), held_out.users, held_out.indptr
    draws = _Draws(seed, PARTS[part], 0, 1)
    for begin, end in user_blocks(len(users), num_items, block_mib):
        own, block = slice(indptr[begin], indptr[end]), users[begin:end]
        rows = np.repeat(np.arange(end - begin), np.diff(indptr[begin : end + 1]))
        scores, _ = _candidate_scores(score, held_out, block, num_items)
        scores[~candidates(block)] = -np.inf
        addresses = held_out.address(block)
        items = held_out.items[own]
        _check_unseen(scores[rows, items], addresses[rows], items)
        ties = keys(draws.seed, draws.part, addresses, Purpose.TIES)
        ranks[own] = full_ranks(scores, rows, items, ties)
    return ranks


def list_length(ks: Sequence[int]) -> int:
    """Return the length of the lists in which recommended items are counted."""
    return 10 if 10 in ks else ks[0]


def _prefixed(nested: Mapping[str, Mapping[str, NDArray]]) -> dict[str, NDArray]:
    return {f"{a}.{b}": values for a, inner in nested.items() for b, values in inner.items()}


def _check_request(part: str, ks: Sequence[int]) -> None:
    if part not in PARTS:
        raise ConfigError(f"unknown part {part!r} to evaluate.{nearest(part, PARTS)}")
    if not ks or min(ks) < 1:
        raise ConfigError(f"evaluate.k = {list(ks)}: expected at least one cut-off of at least 1")


def user_blocks(
    num_users: int, num_items: int, block_mib: int = BLOCK_MIB
) -> Iterator[tuple[int, int]]:
    """Yield the first user of each block that is ranked at once, and the one after its last."""
    step = max(1, (block_mib << 20) // (_BYTES_PER_CELL * num_items))
    for begin in range(0, num_users, step):
        yield begin, min(begin + step, num_users)


def _candidate_scores(
    score: Scorer, held_out: HeldOut, block: NDArray[np.int64], num_items: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return scores [b, I] with seen items at minus infinity, and these cells (flat)."""
    scores = np.array(score(block), np.float32, order="C")  # a copy: it is written to
    if scores.shape != (len(block), num_items):
        raise ModelError(
            f"scores have shape {scores.shape}, expected [users, items] = {(len(block), num_items)}"
        )
    check_finite(scores, "scores")
    lengths = held_out.seen_indptr[block + 1] - held_out.seen_indptr[block]
    rows = np.repeat(np.arange(len(block)), lengths)
    seen = rows * num_items + held_out.seen_items[expand(held_out.seen_indptr, block)]
    scores.reshape(-1)[seen] = -np.inf
    return scores, seen


def _rank_block(
    scores: NDArray[np.float32],
    seen: NDArray[np.int64],
    block: NDArray[np.int64],
    rows: NDArray[np.int64],
    items: NDArray[np.int32],
    draws: _Draws,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return full ranks [w], ranks among negatives [w] and listed cells [L] of the block."""
    num_users, num_items = scores.shape
    relevant = scores[rows, items]
    _check_unseen(relevant, block[rows], items)
    ties = keys(draws.seed, draws.part, block, Purpose.TIES)
    full = full_ranks(scores, rows, items, ties)
    listed = recommended_cells(scores, draws.list_length, ties)
    if not draws.sampled:
        return full, full, listed
    cells = np.unique(np.concatenate([seen, rows * num_items + items]))
    words = keys(draws.seed, draws.part, block, Purpose.EVALUATION_NEGATIVES)
    negatives = draw_negatives(cells, num_users, num_items, draws.sampled, words)
    theirs = np.take_along_axis(scores, negatives.astype(np.int64), axis=1)
    return full, sampled_ranks(relevant, rows, items, theirs, negatives, ties), listed


def _check_unseen(
    relevant: NDArray[np.float32], users: NDArray[np.int64], items: NDArray[np.int32]
) -> None:
    seen = np.flatnonzero(np.isneginf(relevant))
    if len(seen):
        raise DataError(
            f"item {items[seen[0]]} is held out for user {users[seen[0]]} who has also met it in "
            f"training ({len(seen)} such cases): keep one interaction of a user and an item"
        )
