"""A newcomer among merchants that share EASE: its strategies in closed form.

Numbers that a strategy needs are fixed by the configuration; nothing is chosen by what is
measured.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fedrec.coldstart.merchants import (
    MERCHANT_STRATEGIES,
    Matrix,
    SharedWeights,
    mixed,
    own_rows,
    own_weights,
    shared_weights,
)
from fedrec.coldstart.newcomer import Newcomer, Served, Ways
from fedrec.coldstart.similar_merchants import FEWEST, group_merchants, profile_of
from fedrec.config import Config
from fedrec.config_newcomer import own_weeks
from fedrec.data.population import Population
from fedrec.training.ease import gram_matrix
from fedrec.training.scorer import Scorer

if TYPE_CHECKING:
    import scipy.sparse as sp

MORE = 2.0
"""What the merchants of the group that is most like the newcomer count on top of 1."""


def ease_ways(new: Newcomer, weights: Matrix, population: Population) -> Ways:
    """Return the strategies of a merchant that joins EASE.

    Args:
        new: the merchant.
        weights: float32 [I, I], of the run.
        population: of the run.
    """
    shared = SharedWeights(weights, item_rates(population))
    similar, note = _similar(new, population)
    names = [n for n in MERCHANT_STRATEGIES if n != "similar" or similar is not None]

    def served(weeks: int) -> Served:
        scores = {n: strategy_scores(new, shared, n, weeks, similar) for n in names}
        return Served({n: _of_asked(new, found) for n, found in scores.items()})

    return Ways({n: _told(n, new.config) for n in names}, served, (note,) if note else ())


def item_rates(population: Population) -> NDArray[np.float32]:
    """Return the share of all customers that bought each item, float32 [I]."""
    customers = int((np.diff(population.indptr) > 0).sum())
    return population.item_counts.astype(np.float32) / np.float32(max(customers, 1))


def strategy_scores(
    new: Newcomer, shared: SharedWeights, name: str, weeks: int, similar: SharedWeights | None
) -> Matrix:
    """Return the scores of a strategy for the customers who are asked, float32 [E, I].

    Args:
        new: the merchant.
        shared: the model of the others.
        name: of the strategy.
        weeks: of its own; without one it has the shared model alone.
        similar: the model in which merchants like it count more.
    """
    own, pull = new.own(weeks), new.config.coldstart.merchant_pull
    rows = own[new.asked.users]
    if not own.nnz:
        return np.zeros(rows.shape, np.float32) if name == "own" else shared.scores(rows)
    if name == "federated":
        return shared.scores(rows)
    mine = own_rows(own)
    if name in ("fine-tuned", "similar"):
        start = similar if name == "similar" and similar is not None else shared
        return own_weights(mine, pull, start).scores(rows)
    alone = own_weights(mine, new.config.baseline.ease_l2).scores(rows)
    customers = mine.rows.shape[0]
    if name == "own":
        return alone
    return mixed(alone, shared.scores(rows), customers / (customers + pull))


def _of_asked(new: Newcomer, scores: Matrix) -> Scorer:
    return lambda users: scores[np.searchsorted(new.asked.users, users)]


def _told(name: str, config: Config) -> tuple[str, str]:
    """Return what a strategy is, and what is known of whom."""
    if name != "mixture":
        return MERCHANT_STRATEGIES[name].what, MERCHANT_STRATEGIES[name].privacy
    pull = config.coldstart.merchant_pull
    what = f"the scores of both; its own count n / (n + {pull:g}) with n customers"
    return what, MERCHANT_STRATEGIES["federated"].privacy


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
