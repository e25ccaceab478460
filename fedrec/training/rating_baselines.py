"""Baselines that predict ratings, for explicit feedback.

Each starts from biases, ``b_ui = mean + item bias + user bias``, and the
neighbourhood methods add the weighted mean of the neighbours' deviations from
their biases (Koren, ACM TKDD 2010, sections 2.1 and 2.2).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fedrec.config_baselines import BaselineSection
from fedrec.training.neighbours import similarity
from fedrec.training.scorer import Scorer

if TYPE_CHECKING:
    import scipy.sparse as sp

RatingFit = Callable[["sp.csr_matrix", BaselineSection], Scorer]

_ITEM_DAMPING = 25.0  # Koren 2010, section 2.1: a bias from n ratings is shrunk by n / (n + 25)
_USER_DAMPING = 10.0
_TRUST = 0.3  # neighbours whose similarities sum to this count as much as the biases


def biases(ratings: sp.csr_matrix) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
    """Return the mean rating and the damped biases of users and items.

    Args:
        ratings: sparse [U, I]; stored entries are ratings, of any value.

    Returns:
        The mean, float64 [U] user biases and float64 [I] item biases; both are 0
        for those without ratings.
    """
    num_users, num_items = ratings.shape
    user = np.repeat(np.arange(num_users), np.diff(ratings.indptr))
    item, values = ratings.indices, ratings.data.astype(np.float64)
    mean = float(values.mean()) if len(values) else 0.0

    def damped(who: NDArray, residual: NDArray, size: int, damping: float) -> NDArray[np.float64]:
        count = np.bincount(who, minlength=size)
        return np.bincount(who, residual, minlength=size) / (count + damping)

    of_item = damped(item, values - mean, num_items, _ITEM_DAMPING)
    of_user = damped(user, values - mean - of_item[item], num_users, _USER_DAMPING)
    return mean, of_user, of_item


def _bias(ratings: sp.csr_matrix, options: BaselineSection) -> Scorer:
    del options
    mean, of_user, of_item = biases(ratings)
    return lambda users: (mean + of_user[users, None] + of_item).astype(np.float32)


def _user_knn(centred: bool) -> RatingFit:
    """Neighbours by the cosine of ratings, or by Pearson: centred at each user's mean."""

    def fit(ratings: sp.csr_matrix, options: BaselineSection) -> Scorer:
        base, residual, known = _bias(ratings, options), _residuals(ratings), _support(ratings)
        rows = _centred(ratings) if centred else ratings
        alike = similarity(rows, options.rating_knn_k, options.knn_shrink, centred=False)

        def score(users: NDArray[np.int64]) -> NDArray[np.float32]:
            near = alike[users]
            return base(users) + _ratio((near @ residual).toarray(), (near @ known).toarray())

        return score

    return fit


def _item_knn(ratings: sp.csr_matrix, options: BaselineSection) -> Scorer:
    """Neighbours by the adjusted cosine: ratings centred at users' means (Sarwar 2001)."""
    base, residual, known = _bias(ratings, options), _residuals(ratings), _support(ratings)
    by_item = _centred(ratings).T.tocsr()
    alike = similarity(by_item, options.rating_knn_k, options.knn_shrink, centred=False).T.tocsr()

    def score(users: NDArray[np.int64]) -> NDArray[np.float32]:
        total, weight = residual[users] @ alike, known[users] @ alike
        return base(users) + _ratio(total.toarray(), weight.toarray())

    return score


def _ratio(total: NDArray, weight: NDArray) -> NDArray[np.float32]:
    return (total / (weight + _TRUST)).astype(np.float32)


def _with_values(ratings: sp.csr_matrix, values: NDArray) -> sp.csr_matrix:
    import scipy.sparse as sp

    return sp.csr_matrix((values, ratings.indices, ratings.indptr), shape=ratings.shape)


def _support(ratings: sp.csr_matrix) -> sp.csr_matrix:
    return _with_values(ratings, np.ones(len(ratings.data), np.float32))


def _residuals(ratings: sp.csr_matrix) -> sp.csr_matrix:
    mean, of_user, of_item = biases(ratings)
    user = np.repeat(np.arange(ratings.shape[0]), np.diff(ratings.indptr))
    values = ratings.data - mean - of_user[user] - of_item[ratings.indices]
    return _with_values(ratings, values.astype(np.float32))


def _centred(ratings: sp.csr_matrix) -> sp.csr_matrix:
    """Subtract from each rating the mean of its user's ratings."""
    length = np.diff(ratings.indptr)
    user = np.repeat(np.arange(ratings.shape[0]), length)
    means = np.bincount(user, ratings.data, minlength=len(length)) / np.maximum(length, 1)
    return _with_values(ratings, ratings.data - means[user])


RATING_BASELINES: dict[str, RatingFit] = {
    "bias": _bias,
    "item-knn": _item_knn,
    "user-knn-cosine": _user_knn(centred=False),
    "user-knn-pearson": _user_knn(centred=True),
}
"""Name -> how it is fitted, on rows of ratings [U, I]; it scores by predicted ratings."""
