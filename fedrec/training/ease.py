"""EASE: an item-item model in closed form (Steck, WWW 2019).

It needs the data only through the Gram matrix ``X^T X``, a sum over users: one
round of summing, secure or not, gives exactly the centralised model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fedrec.errors import ConfigError

if TYPE_CHECKING:
    import scipy.sparse as sp

_MAX_ITEMS = 30_000  # the Gram matrix and its inverse then take 14 GiB
_USERS = 64  # whose pairs are written out at a time
_STEP = 512  # rows and columns that are copied at a time


def gram_matrix(train: sp.csr_matrix) -> NDArray[np.float64]:
    """Return ``X^T X``, float64 [I, I], of sparse rows of users [U, I]."""
    rows = train.astype(np.float64)
    return np.asarray((rows.T @ rows).todense())


def near_gram_matrix(train: sp.csr_matrix, window: float) -> NDArray[np.float64]:
    """Return ``sum_u X_u^T K_u X_u``, float64 [I, I], with K_ij = exp(-|i - j| / window).

    Args:
        train: sparse [U, I] whose rows hold their items in the order of time.
        window: in interactions.
    """
    import scipy.sparse as sp

    from fedrec.training.gram import near_pairs

    total = np.zeros((train.shape[1], train.shape[1]))
    for start in range(0, train.shape[0], _USERS):
        part = train[start : start + _USERS]  # which keeps the order within a row
        found = near_pairs(part.indptr.astype(np.int64), np.arange(part.nnz), window)
        if found is not None:
            row, other, weight = found
            cells = (weight.astype(np.float64), (part.indices[row], part.indices[other]))
            total += sp.csr_matrix(cells, total.shape).toarray()
    return total


def recent_rows(train: sp.csr_matrix, decay: float) -> sp.csr_matrix:
    """Return rows in which an item met n interactions ago counts exp(-n / decay).

    Args:
        train: sparse [U, I] whose rows hold their items in the order of time.
        decay: in interactions; 0: all count 1.

    Returns:
        sparse float32 [U, I].
    """
    import scipy.sparse as sp

    age = np.repeat(train.indptr[1:], np.diff(train.indptr)) - 1 - np.arange(train.nnz)
    mass = np.exp(-age / decay) if decay else np.ones(train.nnz)
    return sp.csr_matrix((mass.astype(np.float32), train.indices, train.indptr), train.shape)


def ease_weights(gram: NDArray[np.float64], l2: float) -> NDArray[np.float32]:
    """Return the item-item weights of EASE (Steck 2019, eq. 8).

    With ``P = (G + l2 I)^-1``, ``B_ij = -P_ij / P_jj`` off the diagonal and 0 on it.

    Args:
        gram: float64 [I, I], ``X^T X``.
        l2: the ridge, above 0.

    Returns:
        float32 [I, I]; the score of item j for a row x is ``x @ B[:, j]``.

    Raises:
        ConfigError: if there are too many items for a dense inverse.
    """
    from scipy.linalg import lapack

    size = len(gram)
    if size > _MAX_ITEMS:
        raise ConfigError(
            f"EASE inverts a dense matrix of all {size} items ({2 * size**2 * 8 / 2**30:.0f} GiB); "
            f"it is limited to {_MAX_ITEMS}: leave it out, or merge items (data.level)"
        )
    regularised = np.array(gram, np.float64).T  # LAPACK works in place on columns
    regularised[np.diag_indices(size)] += l2
    factor, failed = lapack.dpotrf(regularised, lower=1, overwrite_a=1)
    if not failed:
        factor, failed = lapack.dpotri(factor, lower=1, overwrite_c=1)
    if failed:
        raise ConfigError(f"EASE: the Gram matrix is singular with baseline.ease_l2 = {l2:g}")
    weights = np.empty((size, size), np.float32)
    scale = -np.diag(factor)
    for begin in range(0, size, _STEP):  # only the lower triangle of the inverse is filled
        end = min(begin + _STEP, size)
        below = np.tril(factor[begin:, begin:end])
        weights[begin:, begin:end] = below / scale[begin:end]
        weights[begin:end, end:] = (below[end - begin :] / scale[end:, None]).T
        square = below[: end - begin]
        square = square + np.tril(square, -1).T
        weights[begin:end, begin:end] = square / scale[begin:end]
    weights[np.diag_indices(size)] = 0.0
    return weights


def nearest_positive(gram: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the positive semi-definite matrix nearest to a symmetric one, float64 [I, I].

    Its negative eigenvalues become zero (Higham 1988).  A Gram matrix has none; one with
    noise has, and this takes off a part of the noise.
    """
    values, vectors = np.linalg.eigh(gram)
    kept = values > 0
    left = vectors[:, kept] * values[kept]
    return left @ vectors[:, kept].T
