"""What each merchant's customers bought later, and how a system ranks it for them.

A merchant recommends what it sells: a held-out item is ranked among the items of that
merchant which the customer has not met there.  What it sells is told by its training rows
alone, as else nothing but held-out items would stand among the untouched ones; held-out
items that are new to the merchant are left out.  All systems rank the same items for the
same customers, whatever they were trained on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fedrec.data.population import HeldOut
from fedrec.errors import DataError
from fedrec.evaluation.evaluator import rank_all
from fedrec.evaluation.ranking import user_metrics
from fedrec.training.node import Setup
from fedrec.training.scorer import Scorer

CUTS = (10, 20)
PRIMARY, SECONDARY = "ndcg@10", "recall@20"
METRICS = (PRIMARY, SECONDARY, "hr@10")
"""What is measured; a decision looks at the first, and the two first are tested."""


@dataclass(frozen=True, eq=False)
class Field:
    """Merchants, their customers and what is ranked for them.

    Attributes:
        setup: the prepared configuration.
        names: the M merchants.
        sells: bool [M, I], what each sells.
        merchant: int64 [U], the merchant of each local user.
        person: int64 [U], who a local user is, whatever the merchant.
        parts: "valid" and "test": what is held out of what the merchants sell.
    """

    setup: Setup
    names: tuple[str, ...]
    sells: NDArray[np.bool_]
    merchant: NDArray[np.int64]
    person: NDArray[np.int64]
    parts: Mapping[str, HeldOut]

    def part(self, part: str) -> HeldOut:
        """Return what is held out in "valid" or "test"."""
        return self.parts[part]

    def tested(self, part: str = "test") -> NDArray[np.int64]:
        """Return the merchant of each user of a part, int64 [E]."""
        return self.merchant[self.part(part).users]

    def rank(self, score: Scorer, part: str) -> NDArray[np.int64]:
        """Return the rank of each held-out item of a part, int64 [W]."""
        return rank_all(
            score,
            self.part(part),
            lambda users: self.sells[self.merchant[users]],
            num_items=self.setup.population.num_items,
            seed=self.setup.config.run.seed,
            part=part,
        )

    def measure(self, ranks: NDArray[np.int64], part: str = "test") -> dict[str, NDArray]:
        """Return each metric of each user, float64 [E].

        Args:
            ranks: int64 [W], as `rank` returns them.
            part: whose they are.
        """
        found = user_metrics(ranks, self.part(part).indptr, CUTS)
        return {name: found[name] for name in METRICS}


def field_of(setup: Setup) -> Field:
    """Return the merchants of a configuration whose clients are merchants.

    A customer of several merchants is one person, told by the id before the last "@".

    Raises:
        DataError: if nothing is held out that its merchant has sold before.
    """
    population = setup.population
    data = population.split.dataset
    owner, sells = population.client_of_user, population.sold
    names = () if data.merchants is None else tuple(map(str, data.merchants.ids))
    people = [str(name).rpartition("@")[0] for name in data.users.ids]
    _, person = np.unique(np.array(people, dtype=object), return_inverse=True)
    parts = {p: _sold(population.held_out(p), sells, owner) for p in ("valid", "test")}
    for part, held in parts.items():
        if not len(held.items):
            raise DataError(
                f"no {part} item is one that its merchant has sold before: use more data"
            )
    return Field(setup, names, sells, owner, person.astype(np.int64), parts)


def _sold(held: HeldOut, sells: NDArray[np.bool_], merchant: NDArray[np.int64]) -> HeldOut:
    """Return a part without items that are new to the merchant."""
    owner = np.repeat(held.users, np.diff(held.indptr))
    kept = sells[merchant[owner], held.items]
    counts = np.bincount(owner[kept], minlength=len(merchant))
    users = np.flatnonzero(counts)
    indptr = np.concatenate([[0], np.cumsum(counts[users])]).astype(np.int64)
    return replace(
        held, users=users, indptr=indptr, items=held.items[kept], labels=held.labels[kept]
    )
