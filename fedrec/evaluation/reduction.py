"""From the values of single users to sums: the last step before leaving a node."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedrec.data.population import HeldOut, expand
from fedrec.errors import ModelError
from fedrec.evaluation.bootstrap import bootstrap_sums
from fedrec.evaluation.sums import EvaluationSums


@dataclass(frozen=True, eq=False)
class UserValues:
    """What an evaluation finds for each user; only sums of it leave a node.

    Attributes:
        users: int64 [E], local users, ascending.
        metrics: "<protocol>.<metric>" -> float64 [E].
        counts: protocol -> float64 [E], what a user counts for.
        listed_by: int64 [L], position in `users` of whom an item is recommended to, ascending.
        listed: int64 [L], these items; empty if nothing was ranked.
    """

    users: NDArray[np.int64]
    metrics: Mapping[str, NDArray[np.float64]]
    counts: Mapping[str, NDArray[np.float64]]
    listed_by: NDArray[np.int64]
    listed: NDArray[np.int64]

    @property
    def table(self) -> NDArray[np.float64]:
        """All metrics, then all counts, float64 [M + P, E]."""
        return np.stack([*self.metrics.values(), *self.counts.values()])


def select(
    held_out: HeldOut, users: NDArray[np.int64] | None
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int32], NDArray[np.float32]]:
    """Return the users to evaluate and their held-out items.

    Args:
        held_out: all users with held-out items.
        users: int64 [E'], wanted users; None for all.

    Returns:
        int64 [E] users, int64 [E + 1] row pointers, int32 [W] items, float32 [W] labels.
    """
    if users is None:
        return held_out.users, held_out.indptr, held_out.items, held_out.labels
    index = _places(held_out.users, users)
    entries = expand(held_out.indptr, index)
    lengths = held_out.indptr[index + 1] - held_out.indptr[index]
    indptr = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return held_out.users[index], indptr, held_out.items[entries], held_out.labels[entries]


def _places(everyone: NDArray[np.int64], wanted: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the places of some in an ascending array that may be much longer, ascending."""
    if not len(everyone):
        return np.zeros(0, np.int64)
    wanted = np.unique(wanted)
    place = np.searchsorted(everyone, wanted)
    found: NDArray[np.int64] = place[everyone[np.minimum(place, len(everyone) - 1)] == wanted]
    return found


def check_finite(values: NDArray, what: str) -> None:
    """Raise ModelError, naming `what`, if a value is NaN or infinite."""
    if values.size and not (np.isfinite(values.min()) and np.isfinite(values.max())):
        raise ModelError(
            f"{what} are not finite (NaN or infinity): the model diverged; lower the learning rate"
        )


def sum_up(
    values: UserValues, bootstrap: int, num_items: int, groups: Mapping[str, NDArray[np.int32]]
) -> EvaluationSums:
    """Reduce values of users to sums, replicates and group sums.

    Args:
        values: of E users.
        bootstrap: replicates B; 0 for none.
        num_items: I, of which it is counted how often each is recommended; 0 if nothing
            was ranked.
        groups: name -> int32 [U], non-zero for members.

    Returns:
        The sums.
    """
    names = [*values.metrics, *values.counts]
    table, split, users = values.table, len(values.metrics), values.users
    sums = table.sum(axis=1)
    replicates = bootstrap_sums(table, users, bootstrap) if bootstrap else table[:0]
    of_groups: dict[str, float] = {}
    for group, mask in groups.items():
        inside = table[:split, mask[users] != 0]
        of_groups[f"{group}.count"] = float(inside.shape[1])
        for name, total in zip(names, inside.sum(axis=1), strict=False):
            of_groups[f"{group}.{name}"] = float(total)
    return EvaluationSums(
        values=dict(zip(names[:split], sums[:split].tolist(), strict=True)),
        counts=dict(zip(names[split:], sums[split:].tolist(), strict=True)),
        replicates=dict(zip(names, replicates[:split], strict=False)),
        replicate_counts=dict(zip(names[split:], replicates[split:], strict=False)),
        recommended=np.bincount(values.listed, minlength=num_items),
        groups=of_groups,
    )
