"""Item-item models that are solved: alone, pooled, and as a mixture of own and federated.

A merchant's own EASE (Steck, WWW 2019) needs only the Gram matrix of its own customers.
The pooled one is that of all rows in one place: the federated model is the same, as the
Gram matrix is a sum.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from fedrec.config import Config
from fedrec.config_merchants import numbers_of
from fedrec.merchants.chosen import Candidate
from fedrec.merchants.mixed import mixtures
from fedrec.merchants.ranked import Field
from fedrec.models.item_item import ItemItem
from fedrec.params import Personal, Shared
from fedrec.training.ease import ease_weights, gram_matrix, near_gram_matrix
from fedrec.training.node import Setup
from fedrec.training.scorer import Scorer
from fedrec.training.scoring import make_scorer


@dataclass(frozen=True)
class Way:
    """How an EASE is solved and used.

    Attributes:
        ridge: of the model.
        near: whether what was met close together, and of late, counts more, as
            `baseline.ease_window` and `ease_decay` say; False: all counts alike.
    """

    ridge: float
    near: bool

    @property
    def label(self) -> str:
        """For a reader."""
        return f"ridge {self.ridge:g}" + (", near" if self.near else "")


def ways(config: Config) -> tuple[Way, ...]:
    """Return the ways that a merchant's own and the pooled model may be solved, to choose from.

    Plain EASE is among them also where the federated model is none, as what is best for all
    data need not be best for few.
    """
    base, ridges = config.baseline, numbers_of(config, "ridges")
    kinds = (True, False) if base.ease_window or base.ease_decay else (False,)
    return tuple(Way(ridge, near) for near in kinds for ridge in ridges)


def own_candidates(field: Field) -> list[Candidate]:
    """Return each merchant's own EASE, solved in each way."""
    shops = range(len(field.names))
    return [
        Candidate(way.label, own_scorer(field, dict.fromkeys(shops, way)))
        for way in ways(field.setup.config)
    ]


def own_scorer(field: Field, way_of: Mapping[int, Way]) -> Scorer:
    """Return a scorer of customers by the model of their own merchant.

    Args:
        field: merchants and customers; users stand merchant by merchant.
        way_of: how each merchant's model is solved.
    """
    setup = field.setup

    @lru_cache(maxsize=1)
    def of_shop(shop: int) -> Scorer:
        users = np.flatnonzero(field.merchant == shop)
        return _solved(setup, users, way_of[shop])

    def score(users: NDArray[np.int64]) -> NDArray[np.float32]:
        out = np.zeros((len(users), setup.population.num_items), np.float32)
        for shop in np.unique(field.merchant[users]):
            mine = field.merchant[users] == shop
            out[mine] = of_shop(int(shop))(users[mine])
        return out

    return score


def pooled_candidates(field: Field) -> list[Candidate]:
    """Return EASE of all rows in one place, solved in each way; customers are not linked."""
    setup = field.setup
    everyone = np.arange(setup.population.num_users)
    return [Candidate(way.label, _solved(setup, everyone, way)) for way in ways(setup.config)]


def mixed_candidates(field: Field, federated: Scorer, alone: NDArray[np.int64]) -> list[Candidate]:
    """Return mixtures of the federated model with each merchant's own.

    Args:
        field: merchants and customers.
        federated: scorer of the federated model.
        alone: int64 [M], which of the ways each merchant's own model is solved.
    """
    known = ways(field.setup.config)
    own = own_scorer(field, {shop: known[place] for shop, place in enumerate(alone.tolist())})
    return mixtures(own, federated, numbers_of(field.setup.config, "mixtures"))


def _solved(setup: Setup, users: NDArray[np.int64], way: Way) -> Scorer:
    """Return the scorer of the EASE of some users, solved for the items that they met."""
    from scipy.sparse import csr_matrix

    population, window = setup.population, setup.config.baseline.ease_window
    shape = (population.num_users, population.num_items)
    ones = np.ones(len(population.items))
    met = csr_matrix((ones, population.items, population.indptr), shape)[users]
    items = np.unique(met.indices)
    places = np.searchsorted(items, met.indices)
    near = csr_matrix((met.data, places, met.indptr), (len(users), len(items)))
    gram = near_gram_matrix(near, window) if way.near and window else gram_matrix(near)
    table = np.zeros((population.num_items, population.num_items), np.float32)
    table[np.ix_(items, items)] = ease_weights(gram, way.ridge)
    decay = setup.config.baseline.ease_decay if way.near else 0.0
    model = ItemItem(recent=setup.config.model.recent, decay=decay)
    everyone = np.arange(population.num_users)
    return make_scorer(model, Shared({"item": table}), Personal({}), everyone, population)
