"""Item-item models that are solved: alone, pooled, and as a mixture of own and federated.

A merchant's own EASE (Steck, WWW 2019) needs only the Gram matrix of its own customers.
The pooled one is that of all rows in one place: the federated model is the same, as the
Gram matrix is a sum.  A merchant personalises by model interpolation (Mansour et al. 2020,
"Three approaches for personalization with applications to federated learning"): it mixes
the scores of both models, each standardised for each customer, and keeps the federated
model as it is where the share of its own is 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from fedrec.merchants.chosen import Candidate
from fedrec.merchants.ranked import Field
from fedrec.params import Personal, Shared
from fedrec.training.ease import ease_weights, gram_matrix, near_gram_matrix
from fedrec.training.node import Setup
from fedrec.training.scorer import Scorer
from fedrec.training.scoring import make_scorer

_TINY = 1e-12


def own_candidates(field: Field, ridges: tuple[float, ...]) -> list[Candidate]:
    """Return each merchant's own EASE, with each ridge."""
    shops = range(len(field.names))
    return [
        Candidate(f"ridge {ridge:g}", own_scorer(field, dict.fromkeys(shops, ridge)))
        for ridge in ridges
    ]


def own_scorer(field: Field, ridge_of: Mapping[int, float]) -> Scorer:
    """Return a scorer of customers by the model of their own merchant.

    Args:
        field: merchants and customers; users stand merchant by merchant.
        ridge_of: the ridge of each merchant.
    """
    setup = field.setup

    @lru_cache(maxsize=1)
    def of_shop(shop: int) -> Scorer:
        users = np.flatnonzero(field.merchant == shop)
        return _solved(setup, users, ridge_of[shop])

    def score(users: NDArray[np.int64]) -> NDArray[np.float32]:
        out = np.zeros((len(users), setup.population.num_items), np.float32)
        for shop in np.unique(field.merchant[users]):
            mine = field.merchant[users] == shop
            out[mine] = of_shop(int(shop))(users[mine])
        return out

    return score


def pooled_candidates(field: Field, ridges: tuple[float, ...]) -> list[Candidate]:
    """Return EASE of all rows in one place, with each ridge; customers are not linked."""
    everyone = np.arange(field.setup.population.num_users)
    return [Candidate(f"ridge {r:g}", _solved(field.setup, everyone, r)) for r in ridges]


def mixed_candidates(
    field: Field, federated: Scorer, alone: NDArray[np.int64], ridges: tuple[float, ...],
    shares: tuple[float, ...],
) -> list[Candidate]:  # fmt: skip
    """Return mixtures of the federated model with each merchant's own.

    Args:
        field: merchants and customers.
        federated: scorer of the federated model.
        alone: int64 [M], which of the ridges each merchant's own model has.
        ridges: of own models.
        shares: of the own model, from 0 to 1.
    """
    own = own_scorer(field, {shop: ridges[place] for shop, place in enumerate(alone)})
    return [Candidate(f"{share:.0%} own", mixture(own, federated, share)) for share in shares]


def mixture(own: Scorer, federated: Scorer, share: float) -> Scorer:
    """Return a scorer whose scores are ``share * z(own) + (1 - share) * z(federated)``.

    z takes off each customer's mean score and divides by the standard deviation.
    """

    def score(users: NDArray[np.int64]) -> NDArray[np.float32]:
        out = np.zeros((), np.float32)
        for part, scorer in ((share, own), (1.0 - share, federated)):
            if part:
                out = out + np.float32(part) * _standardised(scorer(users))
        return out

    return score


def _standardised(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    centred = scores - scores.mean(axis=1, keepdims=True)
    scale = np.sqrt(np.square(centred).mean(axis=1, keepdims=True))
    return centred / np.maximum(scale, _TINY)


def _solved(setup: Setup, users: NDArray[np.int64], ridge: float) -> Scorer:
    """Return the scorer of the EASE of some users, solved for the items that they met."""
    from scipy.sparse import csr_matrix

    population, window = setup.population, setup.config.baseline.ease_window
    shape = (population.num_users, population.num_items)
    ones = np.ones(len(population.items))
    met = csr_matrix((ones, population.items, population.indptr), shape)[users]
    items = np.unique(met.indices)
    near = csr_matrix((met.data, np.searchsorted(items, met.indices), met.indptr),
                      (len(users), len(items)))  # fmt: skip
    gram = near_gram_matrix(near, window) if window else gram_matrix(near)
    table = np.zeros((population.num_items, population.num_items), np.float32)
    table[np.ix_(items, items)] = ease_weights(gram, ridge)
    everyone = np.arange(population.num_users)
    return make_scorer(setup.model, Shared({"item": table}), Personal({}), everyone, population)
