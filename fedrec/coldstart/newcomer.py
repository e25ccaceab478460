"""A merchant that joins when a run has trained: what it could recommend on its last weeks.

`coldstart.merchant` takes its rows out before anything is cleaned, counted or split
(`fedrec.data.merchants.leave_out`), so that no part of the run sees it.  Here they are read
again, for items that the others know.  Numbers that a strategy needs are fixed by the
configuration; nothing is chosen by what is measured.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fedrec.coldstart.measure import told_sums
from fedrec.coldstart.merchants import (
    MERCHANT_STRATEGIES,
    Matrix,
    SharedWeights,
    mixed,
    own_rows,
    own_weights,
    shared_weights,
)
from fedrec.coldstart.similar_merchants import FEWEST, group_merchants, profile_of
from fedrec.coldstart.weeks import WEEK, Trade, trade_of
from fedrec.config import Config, integers
from fedrec.config_newcomer import own_weeks
from fedrec.data.interactions import Dataset
from fedrec.data.load import load_dataset, load_raw
from fedrec.data.merchants import place_of
from fedrec.data.population import HeldOut, Population
from fedrec.errors import DataError
from fedrec.evaluation.evaluator import rank_users
from fedrec.evaluation.reduction import sum_up
from fedrec.params import Shared
from fedrec.training.ease import gram_matrix
from fedrec.training.node import load_population

if TYPE_CHECKING:
    import scipy.sparse as sp

Json = dict[str, Any]
MORE = 2.0
"""What the merchants of the group that is most like the newcomer count on top of 1."""


@dataclass(frozen=True, eq=False)
class Newcomer:
    """A merchant on the day it joins.

    Attributes:
        config: of the run.
        trade: its rows, of items that the run knows; the only merchant in it.
        shared: the model of the others.
        unknown: how many of its rows are of items that none of the others sells.
    """

    config: Config
    trade: Trade
    shared: SharedWeights
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

    def scores(self, name: str, weeks: int, similar: SharedWeights | None) -> Matrix:
        """Return the scores of a strategy for the customers who are asked, float32 [E, I].

        Args:
            name: of the strategy.
            weeks: of its own; without one it has the shared model alone.
            similar: the model in which merchants like it count more.
        """
        own, pull = self.own(weeks), self.config.coldstart.merchant_pull
        rows, shared = own[self.asked.users], self.shared
        if not own.nnz:
            return np.zeros(rows.shape, np.float32) if name == "own" else shared.scores(rows)
        if name == "federated":
            return shared.scores(rows)
        mine = own_rows(own)
        if name in ("fine-tuned", "similar"):
            start = similar if name == "similar" and similar is not None else shared
            return own_weights(mine, pull, start).scores(rows)
        alone = own_weights(mine, self.config.baseline.ease_l2).scores(rows)
        customers = mine.rows.shape[0]
        if name == "own":
            return alone
        return mixed(alone, shared.scores(rows), customers / (customers + pull))

    def measured(self, scores: Matrix) -> dict[str, list[float]]:
        """Rank what is to be found; return metric -> mean and interval over customers."""
        asked, config = self.asked, self.config
        values = rank_users(
            lambda users: scores[np.searchsorted(asked.users, users)], asked, None,
            num_items=self.trade.num_items, ks=integers(config, "evaluate.k"), sampled=0,
            seed=config.run.seed, part="test",
        )  # fmt: skip
        return told_sums(sum_up(values, config.evaluate.bootstrap, self.trade.num_items, {}))


def newcomer(config: Config, weights: Matrix, population: Population) -> Newcomer:
    """Read the rows of `coldstart.merchant`, and put the others' model beside them.

    Raises:
        DataError: if the data have no such merchant, no times, or none of its rows is of an
            item that the others sell.
    """
    raw, known = load_raw(config.data), load_dataset(config).items
    place = place_of(raw, config.coldstart.merchant)
    rows = raw.interactions.take(np.asarray(raw.interactions.merchant) == place)
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
    customers = int((np.diff(population.indptr) > 0).sum())
    rates = population.item_counts.astype(np.float32) / np.float32(max(customers, 1))
    return Newcomer(config, trade_of(dataset), SharedWeights(weights, rates), int((item < 0).sum()))


def check_merchant(config: Config) -> None:
    """Refuse a newcomer of whom nothing could be measured, before anything is trained.

    Raises:
        DataError: as `newcomer`, or if its customers buy nothing new in its last weeks.
    """
    if config.coldstart.merchant:
        population = load_population(config)
        none = np.zeros((0, 0), np.float32)
        _ = newcomer(config, none, population).asked


def measure_merchant(config: Config, shared: Shared) -> Json:
    """Measure the strategies of a merchant that joins.

    Args:
        config: with `coldstart.merchant`.
        shared: the model that the others have trained.

    Returns:
        "merchant", "customers" (whose purchases are to be found), "test_weeks", "unknown_rows",
        "weeks", "curves" (strategy -> weeks -> metric -> mean and interval), "strategies" (what
        each is, and what is known of whom) and "notes".

    Raises:
        DataError: as `check_merchant`.
    """
    population = load_population(config)
    new = newcomer(config, shared.tables["item"], population)
    similar, note = _similar(new, population)
    names = [n for n in MERCHANT_STRATEGIES if n != "similar" or similar is not None]
    curves = {
        name: {str(w): new.measured(new.scores(name, w, similar)) for w in own_weeks(config)}
        for name in names
    }
    facts = {n: MERCHANT_STRATEGIES[n] for n in names}
    return {
        "merchant": config.coldstart.merchant,
        "customers": len(new.asked.users),
        "test_weeks": config.coldstart.merchant_weeks,
        "unknown_rows": new.unknown,
        "weeks": [str(w) for w in own_weeks(config)],
        "curves": curves,
        "strategies": {
            n: {"what": _what(s.name, s.what, config), "privacy": _privacy(s.name, s.privacy)}
            for n, s in facts.items()
        },
        "notes": [note] if note else [],
    }


def _what(name: str, what: str, config: Config) -> str:
    pull = config.coldstart.merchant_pull
    if name == "mixture":
        return f"the scores of both; its own count n / (n + {pull:g}) with n customers"
    return what


def _privacy(name: str, privacy: str) -> str:
    return MERCHANT_STRATEGIES["federated"].privacy if name == "mixture" else privacy


def _similar(new: Newcomer, population: Population) -> tuple[SharedWeights | None, str]:
    """Return the model in which merchants like the newcomer count more, or why there is none."""
    owner, rows = _owners(population)
    categories = _categories(population)
    if owner is None or categories is None:
        return (
            None,
            "similar is left out: it needs items with a category, and merchants in the rows",
        )
    others = np.unique(owner)
    if len(others) < FEWEST:
        return None, f"similar is left out: it groups at least {FEWEST} merchants"
    sold = [_rows_of(population, rows, owner == m) for m in others]
    secure = new.config.secure.mode
    groups = group_merchants(
        np.stack([profile_of(one, categories) for one in sold]),
        seed=new.config.run.seed,
        mode="semi-honest" if secure == "off" else secure,
    )
    profile = profile_of(new.own(max(own_weeks(new.config))), categories)
    mine = groups.nearest(profile)
    members = [groups.of_member(profile_of(one, categories)) == mine for one in sold]
    factor = [1.0 + MORE * member for member in members]
    gram = sum(f * gram_matrix(one) for f, one in zip(factor, sold, strict=True))
    number = sum(f * (np.diff(r.indptr) > 0).sum() for f, r in zip(factor, sold, strict=True))
    l2 = new.config.baseline.ease_l2
    return shared_weights(np.asarray(gram), round(float(number)), l2), ""


def _owners(population: Population) -> tuple[NDArray | None, Any]:
    """Return the merchant of each training row, if rows name one, and the rows."""
    rows = population.split.part("train")
    return rows.merchant, rows


def _rows_of(population: Population, rows: Any, mine: NDArray[np.bool_]) -> sp.csr_matrix:
    """Return what the customers of one merchant bought, sparse [customers, I] of ones."""
    import scipy.sparse as sp

    customer, place = np.unique(rows.user[mine], return_inverse=True)
    ones = np.ones(len(place), np.float32)
    shape = (len(customer), population.num_items)
    return sp.csr_matrix((ones, (place, rows.item[mine])), shape)


def _categories(population: Population) -> NDArray[np.int64] | None:
    """Return the category of each item, by the attribute of fewest values; None without."""
    known = population.split.dataset.items.attributes.values()
    found = [a for a in known if a.kind == "category" and len(a.vocabulary) > 1]
    if not found:
        return None
    return min(found, key=lambda a: len(a.vocabulary)).values.astype(np.int64)
