"""A merchant that joins when a run has trained: its rows, and what is to be found.

`coldstart.merchant` takes its rows out before anything is cleaned, counted or split
(`fedrec.data.merchants.leave_out`), so that no part of the run sees it.  Here they are read
again, for items that the others know.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from fedrec.coldstart.measure import told_sums
from fedrec.coldstart.weeks import WEEK, Trade, among, trade_of
from fedrec.config import Config, integers
from fedrec.data.interactions import Dataset, Interactions
from fedrec.data.load import load_dataset, load_raw
from fedrec.data.merchants import place_of
from fedrec.data.population import HeldOut
from fedrec.errors import DataError
from fedrec.evaluation.evaluator import rank_users
from fedrec.evaluation.reduction import sum_up
from fedrec.evaluation.sums import EvaluationSums
from fedrec.training.scorer import Scorer

if TYPE_CHECKING:
    import scipy.sparse as sp

Json = dict[str, Any]


@dataclass(frozen=True)
class Served:
    """How a newcomer with some weeks of its own serves its customers.

    Attributes:
        scorers: strategy -> scorer of its local customers.
        settings: strategy -> what was set for these weeks, in words; empty: nothing is.
    """

    scorers: Mapping[str, Scorer]
    settings: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Ways:
    """The strategies of a newcomer, for one kind of model.

    Attributes:
        strategies: name -> what it is, and what is known of whom.
        served: weeks of its own -> how it serves then.
        notes: lines for the reader.
    """

    strategies: Mapping[str, tuple[str, str]]
    served: Callable[[int], Served]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Newcomer:
    """A merchant on the day it joins.

    Attributes:
        config: of the run.
        trade: its rows, of items that the run knows; the only merchant in it.
        unknown: how many of its rows are of items that none of the others sells.
    """

    config: Config
    trade: Trade
    unknown: int

    @property
    def begin(self) -> float:
        """The moment when it joins, in seconds: before the weeks to be found."""
        return self.trade.end - self.config.coldstart.merchant_weeks * WEEK

    @cached_property
    def asked(self) -> HeldOut:
        """What its customers buy for the first time in the last weeks.

        Raises:
            DataError: if nobody buys anything new then.
        """
        return self.trade.asked(0, self.begin, self.trade.end)

    def own(self, weeks: int) -> sp.csr_matrix:
        """Return what it sold in its own weeks before it joins, sparse [customers, I]."""
        return self.trade.rows(0, self.begin - weeks * WEEK, self.begin)

    def shown(self, scorer: Scorer) -> Scorer:
        """Return the scorer of what may be shown (`coldstart.merchant_items`)."""
        if self.config.coldstart.merchant_items == "all":
            return scorer
        on_sale = self.trade.on_sale(0)
        return lambda users: among(scorer(users), on_sale)

    def ranked(self, scorer: Scorer, shift: int = 0) -> EvaluationSums:
        """Rank what is to be found; return its sums, with bootstrap replicates over people.

        Args:
            scorer: of its local customers.
            shift: added to the numbers of people, so that those of two data sets differ.
        """
        config = self.config
        values = rank_users(
            self.shown(scorer), self.asked, None, num_items=self.trade.num_items,
            ks=integers(config, "evaluate.k"), sampled=0, seed=config.run.seed, part="test",
        )  # fmt: skip
        values = replace(values, users=shift + self.trade.person[values.users])
        return sum_up(values, config.evaluate.bootstrap, self.trade.num_items, {})

    def measured(self, scorer: Scorer) -> dict[str, list[float]]:
        """Rank what is to be found; return metric -> mean and interval over customers."""
        return told_sums(self.ranked(scorer))


def newcomer(config: Config) -> Newcomer:
    """Read the rows of `coldstart.merchant`.

    Raises:
        DataError: if the data have no such merchant, no times, or none of its rows is of an
            item that the others sell.
    """
    raw, known = load_raw(config.data), load_dataset(config).items
    place = place_of(raw, config.coldstart.merchant)
    rows = _good(raw.interactions, config.data.min_rating)
    rows = rows.take(np.asarray(rows.merchant) == place)
    number = {str(name): at for at, name in enumerate(known.ids)}
    named = np.array([number.get(str(name), -1) for name in raw.items.ids], np.int64)
    item = np.where(rows.item >= 0, named[rows.item], -1)
    kept = replace(rows, item=item.astype(np.int32)).take(item >= 0)
    if not len(kept):
        raise DataError(
            f"coldstart.merchant = {config.coldstart.merchant!r} sells no item that any of the "
            "others sells: the shared model says nothing of its catalogue"
        )
    one = replace(kept, merchant=np.zeros(len(kept), np.int32))
    merchants = raw.merchants and raw.merchants.take(np.array([place]))
    dataset = Dataset(raw.name, one, known, raw.users, merchants)
    return Newcomer(config, trade_of(dataset), int((item < 0).sum()))


def _good(rows: Interactions, least: float) -> Interactions:
    """Return the rows that count as purchases where ratings do not tell otherwise."""
    if least <= 0 or rows.rating is None:
        return rows
    return rows.take(np.greater_equal(rows.rating, least))
