"""Nearest neighbours among items or users, by cosine or Pearson similarity.

Similarities are shrunk, ``s = x.y / (|x| |y| + shrink)``, so that a few common
entries do not make strangers alike (Ferrari Dacrema et al., RecSys 2019), and
only the k best positive ones of each row are kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import scipy.sparse as sp

_BLOCK_BYTES = 64 << 20  # dense similarities held at once


def similarity(rows: sp.csr_matrix, k: int, shrink: float, *, centred: bool) -> sp.csr_matrix:
    """Return the k most similar other rows of each row.

    Args:
        rows: sparse [N, D].
        k: neighbours kept; ties are broken by number.
        shrink: added to the product of the norms.
        centred: subtract each row's mean over all D entries first, absent ones
            counting as 0: cosine becomes Pearson's correlation (the phi
            coefficient for binary rows).

    Returns:
        sparse float32 [N, N], positive similarities with an empty diagonal.
    """
    import scipy.sparse as sp

    rows = rows.astype(np.float64).tocsr()
    num, width = rows.shape
    sums = np.asarray(rows.sum(axis=1)).ravel()
    squares = np.asarray(rows.multiply(rows).sum(axis=1)).ravel()
    offset = sums / np.sqrt(width) if centred else np.zeros(num)
    norms = np.sqrt(np.maximum(squares - offset**2, 0.0))
    columns = rows.T.tocsc()
    step = max(1, _BLOCK_BYTES // (8 * max(num, 1)))
    blocks = []
    for begin in range(0, max(num, 1), step):
        part = slice(begin, min(begin + step, num))
        dots = (rows[part] @ columns).toarray() - np.outer(offset[part], offset)
        blocks.append(_most_alike(dots, norms, begin, k, shrink))
    return sp.vstack(blocks, format="csr")


def similar_items(gram: NDArray[np.float64], k: int, shrink: float) -> sp.csr_matrix:
    """Return the k most similar other items of each item by cosine, from the Gram matrix.

    Args:
        gram: float64 [I, I], ``X^T X`` of rows of users.
        k: as for `similarity`.
        shrink: as for `similarity`.

    Returns:
        sparse float32 [I, I], as ``similarity(X.T, k, shrink, centred=False)``.
    """
    import scipy.sparse as sp

    norms = np.sqrt(np.maximum(np.diag(gram), 0.0))
    step = max(1, _BLOCK_BYTES // (8 * max(len(gram), 1)))
    blocks = [
        _most_alike(gram[begin : begin + step].copy(), norms, begin, k, shrink)
        for begin in range(0, max(len(gram), 1), step)
    ]
    return sp.vstack(blocks, format="csr")


def _most_alike(
    dots: NDArray[np.float64], norms: NDArray[np.float64], begin: int, k: int, shrink: float
) -> sp.csr_matrix:
    """Divide products of the rows from `begin` on with all rows by their norms; keep k of each."""
    own = np.arange(begin, begin + len(dots))
    scale = np.outer(norms[own], norms) + shrink
    alike = np.divide(dots, scale, out=np.zeros_like(dots), where=scale > 0)
    alike[np.arange(len(alike)), own] = 0.0
    return _keep_best(alike, k)


def _keep_best(dense: NDArray[np.float64], k: int) -> sp.csr_matrix:
    """Keep the k best positive entries of each row, as sparse float32."""
    import scipy.sparse as sp

    width = dense.shape[1]
    k = min(k, width)
    # a stable order makes the choice among equal similarities reproducible
    best = np.argsort(-dense, axis=1, kind="stable")[:, :k]
    values = np.take_along_axis(dense, best, axis=1)
    rows, place = np.nonzero(values > 0)
    cells = (values[rows, place].astype(np.float32), (rows, best[rows, place]))
    return sp.csr_matrix(cells, shape=dense.shape)
