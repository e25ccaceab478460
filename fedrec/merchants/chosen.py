"""Settings are chosen on validation; the test part is ranked once, by what was chosen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedrec.merchants.ranked import PRIMARY, Field
from fedrec.training.scorer import Scorer


@dataclass(frozen=True, eq=False)
class Candidate:
    """A system with one setting.

    Attributes:
        label: the setting, for a reader.
        scorer: over all local users.
    """

    label: str
    scorer: Scorer


@dataclass(frozen=True, eq=False)
class Chosen:
    """A system as its merchants use it.

    Attributes:
        labels: the setting of each of the M merchants.
        place: int64 [M], which candidate that is.
        valid: the validation metric over the customers of all merchants.
        ranks: int64 [W], ranks of the held-out test items.
    """

    labels: tuple[str, ...]
    place: NDArray[np.int64]
    valid: float
    ranks: NDArray[np.int64]


def choose(field: Field, candidates: Sequence[Candidate], rule: str) -> Chosen:
    """Choose on validation, and rank the test items with what was chosen.

    Args:
        field: merchants and customers.
        candidates: in order; of equals the first.
        rule: "together": the best over the customers of all; "each": of its own customers,
            for each merchant (the best of all where it has none in validation).
    """
    shops, users = len(field.names), field.tested("valid")
    values = np.stack(
        [field.measure(field.rank(c.scorer, "valid"), "valid")[PRIMARY] for c in candidates]
    )
    best = int(values.mean(axis=1).argmax())
    place = np.full(shops, best, np.int64)
    for shop in range(shops) if rule == "each" else ():
        own = values[:, users == shop]
        place[shop] = int(own.mean(axis=1).argmax()) if own.shape[1] else best
    valid = float(values[place[users], np.arange(len(users))].mean())
    held = field.part("test")
    of_item = place[np.repeat(field.tested(), np.diff(held.indptr))]
    ranks = np.zeros(len(held.items), np.int64)
    for number in np.unique(place).tolist():
        mine = of_item == number
        ranks[mine] = field.rank(candidates[number].scorer, "test")[mine]
    labels = tuple(candidates[number].label for number in place.tolist())
    return Chosen(labels, place, valid, ranks)
