"""Baselines that are not federated: what a federated system is measured against.

With implicit feedback they rank, and look at which items a user met; with
explicit feedback they predict ratings (`rating_baselines`).  All look at training
interactions only.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fedrec.config import Config
from fedrec.config_baselines import BaselineSection
from fedrec.errors import ConfigError, MissingExtraError, nearest
from fedrec.rng import NO_CLIENT, Purpose, draw, keys, uniform
from fedrec.training.scorer import Scorer

if TYPE_CHECKING:
    import scipy.sparse as sp

_THREADS_FROM = 1_000_000  # fewer interactions than this are solved faster by one thread

Fit = Callable[["sp.csr_matrix", BaselineSection, int], Scorer]


def fit_baseline(name: str, train: sp.csr_matrix, config: Config, seed: int) -> Scorer:
    """Fit a baseline on the pooled training interactions.

    Args:
        name: a key of `BASELINES`, or with explicit feedback of `RATING_BASELINES`.
        train: sparse [U, I], training interactions, those of a user in the order of
            time; the values are ratings, and are not looked at with implicit feedback.
        config: hyper-parameters in its section `baseline`, and `data.feedback`.
        seed: of the baselines that draw (random, ials).

    Returns:
        The scorer of the users 0 to U - 1; its scores are predicted ratings with
        explicit feedback.

    Raises:
        ConfigError: for an unknown name, or a baseline that predicts no ratings.
        MissingExtraError: if the package `implicit` is needed and not installed.
    """
    if config.data.feedback == "explicit":
        return _fit_ratings(name, train.tocsr(), config.baseline)
    if name not in BASELINES:
        raise ConfigError(f"unknown baseline {name!r}.{nearest(name, BASELINES)}")
    options = config.baseline
    if name == "ease" and (options.ease_window or options.ease_decay):
        return _near_ease(train.tocsr(), options)
    support = train.astype(np.float32).tocsr(copy=True)
    support.sum_duplicates()
    support.data = np.ones_like(support.data)
    return BASELINES[name](support, options, seed)


def _fit_ratings(name: str, train: sp.csr_matrix, options: BaselineSection) -> Scorer:
    from fedrec.training.rating_baselines import RATING_BASELINES

    if name in BASELINES and name not in RATING_BASELINES:
        raise ConfigError(
            f"the baseline {name!r} ranks and predicts no ratings; with data.feedback = "
            f"'explicit' choose from: {', '.join(RATING_BASELINES)}"
        )
    if name not in RATING_BASELINES:
        raise ConfigError(f"unknown baseline {name!r}.{nearest(name, RATING_BASELINES)}")
    return RATING_BASELINES[name](train, options)


def _random(train: sp.csr_matrix, options: BaselineSection, seed: int) -> Scorer:
    del options
    items = np.arange(train.shape[1])

    def score(users: NDArray[np.int64]) -> NDArray[np.float32]:
        key = keys(seed, 0, users, Purpose.BASELINE)
        return uniform(draw(key[:, None], items)).astype(np.float32)

    return score


def _popularity(train: sp.csr_matrix, options: BaselineSection, seed: int) -> Scorer:
    del options, seed
    counts = np.asarray(train.sum(axis=0), np.float32).ravel()
    return lambda users: np.broadcast_to(counts, (len(users), len(counts)))


def _ease(train: sp.csr_matrix, options: BaselineSection, seed: int) -> Scorer:
    del seed
    from fedrec.training.ease import ease_weights, gram_matrix

    weights = ease_weights(gram_matrix(train), options.ease_l2)
    return lambda users: train[users] @ weights


def _near_ease(train: sp.csr_matrix, options: BaselineSection) -> Scorer:
    """EASE in which what was met close together, and what was met of late, counts more."""
    from scipy.sparse import csr_matrix

    from fedrec.training.ease import ease_weights, gram_matrix, near_gram_matrix, recent_rows

    ones = csr_matrix((np.ones(train.nnz), train.indices, train.indptr), train.shape)
    window = options.ease_window
    gram = near_gram_matrix(ones, window) if window else gram_matrix(ones)
    weights = ease_weights(gram, options.ease_l2)
    recent = recent_rows(train, options.ease_decay)
    return lambda users: recent[users] @ weights


def _ials(train: sp.csr_matrix, options: BaselineSection, seed: int) -> Scorer:
    """Implicit-feedback ALS (Hu, Koren and Volinsky 2008), confidence 1 + alpha."""
    try:
        from implicit.cpu.als import AlternatingLeastSquares
        from threadpoolctl import threadpool_limits
    except ImportError:
        raise MissingExtraError("implicit", "baselines", "the baseline 'ials'") from None
    start = int(keys(seed, 0, np.array([NO_CLIENT]), Purpose.BASELINE)[0] >> np.uint64(33))
    with threadpool_limits(1, "blas"):  # the package spreads rows over threads itself
        model = AlternatingLeastSquares(
            factors=options.ials_dim,
            regularization=options.ials_l2,
            iterations=options.ials_epochs,
            alpha=1.0,  # the package's alpha scales the data, which is the confidence itself
            random_state=start,
            num_threads=1 if train.nnz < _THREADS_FROM else 0,
        )
        model.fit(train * np.float32(1.0 + options.ials_alpha), show_progress=False)
    user_vectors, item_vectors = model.user_factors, model.item_factors
    return lambda users: user_vectors[users] @ item_vectors.T


def _item_knn(train: sp.csr_matrix, options: BaselineSection, seed: int) -> Scorer:
    """Sum of an item's similarities to the user's items (Sarwar et al. 2001)."""
    del seed
    from fedrec.training.neighbours import similarity

    alike = similarity(train.T.tocsr(), options.knn_k, options.knn_shrink, centred=False)
    to_item = alike.T.tocsr()
    return lambda users: (train[users] @ to_item).toarray()


def _user_knn(centred: bool) -> Fit:
    """Sum of the similarities of the neighbours who met an item (Resnick et al. 1994)."""

    def fit(train: sp.csr_matrix, options: BaselineSection, seed: int) -> Scorer:
        del seed
        from fedrec.training.neighbours import similarity

        sizes = (options.user_knn_k, options.user_knn_shrink)
        alike = similarity(train, *sizes, centred=centred)
        return lambda users: (alike[users] @ train).toarray()

    return fit


BASELINES: dict[str, Fit] = {
    "random": _random,
    "popularity": _popularity,
    "ease": _ease,
    "ials": _ials,
    "item-knn": _item_knn,
    "user-knn-cosine": _user_knn(centred=False),
    "user-knn-pearson": _user_knn(centred=True),
}
"""Name -> how it is fitted, on binary training rows [U, I]."""
