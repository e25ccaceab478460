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


def gram_matrix(train: sp.csr_matrix) -> NDArray[np.float64]:
    """Return ``X^T X``, float64 [I, I], of sparse rows of users [U, I]."""
    rows = train.astype(np.float64)
    return np.asarray((rows.T @ rows).todense())


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
    regularised = np.array(gram, np.float64)
    regularised[np.diag_indices(size)] += l2
    factor, failed = lapack.dpotrf(regularised, lower=1, overwrite_a=1)
    if not failed:
        factor, failed = lapack.dpotri(factor, lower=1, overwrite_c=1)
    if failed:
        raise ConfigError(f"EASE: the Gram matrix is singular with baseline.ease_l2 = {l2:g}")
    inverse = np.tril(factor) + np.tril(factor, -1).T
    weights = inverse / -np.diag(inverse)
    weights[np.diag_indices(size)] = 0.0
    return weights.astype(np.float32)
