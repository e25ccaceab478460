"""A merchant that joins a federation at some moment, and what it can recommend then."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedrec.coldstart.merchants import (
    OwnRows,
    SharedWeights,
    mixed,
    own_rows,
    own_weights,
    shared_weights,
)
from fedrec.coldstart.similar_merchants import Groups, group_merchants, profile_of
from fedrec.coldstart.weeks import WEEK, Trade, among
from fedrec.config import Config, integers
from fedrec.data.population import HeldOut
from fedrec.errors import DataError
from fedrec.evaluation.evaluator import rank_users
from fedrec.evaluation.reduction import sum_up
from fedrec.evaluation.sums import EvaluationSums
from fedrec.training.ease import gram_matrix

BIGGEST = 10
Keys = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Moment:
    """Merchants at the moment when one of them joins, and what is then to be found.

    Attributes:
        trade: all merchants.
        config: for the cut-offs, the seed and the bootstrap.
        begin: the moment, in seconds; the weeks to be found begin here.
        end: of these weeks.
        part: "valid" or "test".
        category: int64 [I], of each item.
        shift: added to the numbers of people, so that those of two markets are not the same.
        on_sale: whether only what the merchant sells is ranked, which it knows.
    """

    trade: Trade
    config: Config
    begin: float
    end: float
    part: str
    category: NDArray[np.int64]
    shift: int = 0
    on_sale: bool = False

    @cached_property
    def grams(self) -> list[NDArray[np.float32]]:
        """What each merchant adds to the sum, [M] of float32 [I, I]."""
        rows = (self.past(m) for m in range(BIGGEST))
        return [gram_matrix(r).astype(np.float32) for r in rows]

    def past(self, merchant: int) -> Any:
        """Return all that a merchant has sold so far, sparse [n, I]."""
        return self.trade.rows(merchant, -np.inf, self.begin)

    def own(self, merchant: int, weeks: int) -> Any:
        """Return its last weeks, sparse [n, I]."""
        return self.trade.rows(merchant, self.begin - weeks * WEEK, self.begin)

    @cached_property
    def customers(self) -> list[int]:
        """How many customers each merchant has had so far."""
        return [int((np.diff(self.past(m).indptr) > 0).sum()) for m in range(BIGGEST)]

    @cached_property
    def asked(self) -> dict[int, HeldOut]:
        """What is to be found at each merchant that sells anything new."""
        found = {}
        for merchant in range(BIGGEST):
            try:
                found[merchant] = self.trade.asked(merchant, self.begin, self.end)
            except DataError:
                continue
        return found

    @cached_property
    def solved(self) -> dict[Any, SharedWeights]:
        """Shared models, kept: two newcomers that join without each other share one."""
        return {}

    def federation(
        self, absent: Iterable[int], l2: float, more: Iterable[int], extra: float
    ) -> SharedWeights:
        """Return the model of all merchants but some; some others count more, by `extra`."""
        twice = frozenset(more) if extra else frozenset()
        key = (frozenset(absent), l2, twice, extra if twice else 0.0)
        if key not in self.solved:
            factor = {m: 1.0 + extra * (m in twice) for m in range(BIGGEST) if m not in key[0]}
            total = sum(f * self.grams[m] for m, f in factor.items())
            customers = sum(f * self.customers[m] for m, f in factor.items())
            self.solved[key] = shared_weights(np.asarray(total), round(customers), l2)
        return self.solved[key]

    def ranked(self, merchant: int, scores: NDArray[np.float32]) -> EvaluationSums:
        """Rank for the customers who are asked, by their scores [E, I]."""
        asked = self.asked[merchant]
        if self.on_sale:
            scores = among(scores, self.trade.on_sale(merchant))
        values = rank_users(
            lambda users: scores[np.searchsorted(asked.users, users)], asked, None,
            num_items=self.trade.num_items, ks=integers(self.config, "evaluate.k"), sampled=0,
            seed=self.config.run.seed, part=self.part,
        )  # fmt: skip
        people = self.shift + self.trade.person[values.users]
        replicates = self.config.evaluate.bootstrap if self.part == "test" else 0
        found = sum_up(replace(values, users=people), replicates, 0, {})
        return replace(found, recommended=np.zeros(0, np.int64))  # markets have unlike items


@dataclass(frozen=True, eq=False)
class Newcomer:
    """A merchant that joins a federation without some others."""

    at: Moment
    merchant: int
    absent: tuple[int, ...]

    def shared(self, l2: float, group: int = -1, extra: float = 0.0) -> SharedWeights:
        """Return the others' model, in which a group may count more."""
        more = [m for m, place in self.members.items() if place == group] if extra else []
        return self.at.federation(self.absent, l2, more, extra)

    @cached_property
    def groups(self) -> Groups:
        """The others, cut into groups by secure sums."""
        profiles = np.stack([self.profile(self.at.past(m)) for m in self.others])
        return group_merchants(profiles, seed=self.at.config.run.seed)

    @cached_property
    def others(self) -> list[int]:
        """Who has trained."""
        return [m for m in range(BIGGEST) if m not in self.absent]

    @cached_property
    def members(self) -> dict[int, int]:
        """The group of each of the others, which it knows itself."""
        return {m: self.groups.of_member(self.profile(self.at.past(m))) for m in self.others}

    def profile(self, rows: Any) -> NDArray[np.float64]:
        """Return the shares of categories in sales."""
        return profile_of(rows, self.at.category)

    @cached_property
    def decomposed(self) -> dict[int, OwnRows]:
        """The newcomer's own weeks, decomposed, kept."""
        return {}

    @cached_property
    def kept(self) -> dict[Any, NDArray[np.float32]]:
        """Scores of the customers who are asked, kept."""
        return {}

    def own(self, weeks: int) -> OwnRows:
        """Return its last weeks, decomposed."""
        if weeks not in self.decomposed:
            self.decomposed[weeks] = own_rows(self.at.own(self.merchant, weeks))
        return self.decomposed[weeks]

    def scores(self, system: str, weeks: int, keys: Keys) -> NDArray[np.float32]:
        """Return the scores of a strategy for the customers who are asked, [E, I].

        Without a week of its own the newcomer has nothing else than the shared model.
        """
        if system == "mixture":
            both = (self.scores(n, weeks, keys) for n in ("own", "federated"))
            return mixed(*both, keys["share"] if weeks else 0.0)
        system = system if weeks or system == "own" else "federated"
        names = {"own": ("own",), "federated": ("l2",), "fine-tuned": ("l2", "pull"),
                 "similar": ("l2", "pull", "extra")}[system]  # fmt: skip
        key = (system, weeks, *(keys[n] for n in names))
        if key not in self.kept:
            self.kept[key] = self._scores(system, weeks, keys)
        return self.kept[key]

    def _scores(self, system: str, weeks: int, keys: Keys) -> NDArray[np.float32]:
        mine, asked = self.at.trade.customers(self.merchant), self.at.asked[self.merchant].users
        rows = self.at.own(self.merchant, weeks)[np.searchsorted(mine, asked)]
        if system == "own":
            if not weeks:
                return np.zeros(rows.shape, np.float32)
            return own_weights(self.own(weeks), keys["own"]).scores(rows)
        shared = self.shared(keys["l2"])
        if system == "similar":
            group = self.groups.nearest(self.profile(self.at.own(self.merchant, weeks)))
            shared = self.shared(keys["l2"], group, keys["extra"])
        if system == "federated":
            return shared.scores(rows)
        return own_weights(self.own(weeks), keys["pull"], shared).scores(rows)

    def ranked(self, system: str, weeks: int, keys: Keys) -> EvaluationSums:
        """Rank what is to be found with a strategy."""
        return self.at.ranked(self.merchant, self.scores(system, weeks, keys))
