"""Whom and what a gain is looked at for: new customers, and head and tail items."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from fedrec.merchants.gains import Values
from fedrec.merchants.ranked import CUTS, METRICS, Field

Ranks = Mapping[str, Sequence[NDArray[np.int64]]]

LIST = CUTS[-1]
"""Length of the lists in which items of a group are looked for."""


def by_customer(field: Field, ranks: Ranks) -> dict[str, Values]:
    """Return each metric of each customer, means over seeds.

    Args:
        field: merchants and customers.
        ranks: system -> int64 [W] for each seed.
    """
    found = {name: [field.measure(one) for one in of_seeds] for name, of_seeds in ranks.items()}
    ones = np.ones(len(field.tested()))
    return {
        metric: Values(
            {n: np.mean([m[metric] for m in seeds], axis=0) for n, seeds in found.items()}, ones
        )
        for metric in METRICS
    }


def head_items(field: Field, share: float) -> NDArray[np.bool_]:
    """Return each merchant's most popular items, which make up a share of its training rows.

    Args:
        field: merchants and customers.
        share: between 0 and 1.

    Returns:
        bool [M, I].
    """
    population = field.setup.population
    shops, items = field.sells.shape
    owner = np.repeat(field.merchant, np.diff(population.indptr))
    counts = np.zeros((shops, items))
    np.add.at(counts, (owner, population.items), 1.0)
    order = np.argsort(-counts, axis=1, kind="stable")
    sorted_counts = np.take_along_axis(counts, order, axis=1)
    before = np.cumsum(sorted_counts, axis=1) - sorted_counts
    inside = before < share * counts.sum(axis=1, keepdims=True)
    head = np.zeros((shops, items), bool)
    np.put_along_axis(head, order, inside & (sorted_counts > 0), axis=1)
    return head


def found_items(field: Field, ranks: Ranks, wanted: NDArray[np.bool_]) -> Values:
    """Return how many of the wanted held-out items stand in each customer's list of 20.

    Args:
        field: merchants and customers.
        ranks: system -> int64 [W] for each seed.
        wanted: bool [W].

    Returns:
        Sums of items found (means over seeds), and counts of items wanted.
    """
    held = field.part("test")
    owner = np.repeat(np.arange(len(held.users)), np.diff(held.indptr))

    def total(of_item: NDArray) -> NDArray[np.float64]:
        return np.bincount(owner, of_item * wanted, len(held.users)).astype(np.float64)

    sums = {
        name: np.mean([total((one <= LIST).astype(np.float64)) for one in of_seeds], axis=0)
        for name, of_seeds in ranks.items()
    }
    return Values(sums, total(np.ones(len(held.items))))


def new_customers(field: Field, most: int) -> NDArray[np.bool_]:
    """Return the tested customers with at most so many training items, bool [E]."""
    known = np.diff(field.setup.population.indptr)[field.part("test").users]
    return known <= most
