"""What each merchant's customers bought later, and how a system ranks it for them.

A merchant recommends what it sells: a held-out item is ranked among the items of that
merchant which the customer has not met there.  All systems rank the same items for the
same customers, whatever they were trained on.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedrec.data.merchants import sold_by
from fedrec.data.population import HeldOut
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
    """

    setup: Setup
    names: tuple[str, ...]
    sells: NDArray[np.bool_]
    merchant: NDArray[np.int64]
    person: NDArray[np.int64]

    def part(self, part: str) -> HeldOut:
        """Return what is held out in "valid" or "test"."""
        return self.setup.population.held_out(part)

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
    """
    population = setup.population
    data = population.split.dataset
    rows = data.interactions
    owner = population.client_of_user
    names = () if data.merchants is None else tuple(map(str, data.merchants.ids))
    people = [str(name).rpartition("@")[0] for name in data.users.ids]
    _, person = np.unique(np.array(people, dtype=object), return_inverse=True)
    sells = sold_by(owner[rows.user], rows.item, population.num_clients, population.num_items)
    return Field(setup, names, sells, owner, person.astype(np.int64))
