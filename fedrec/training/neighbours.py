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
        scale = np.outer(norms[part], norms) + shrink
        dots = np.divide(dots, scale, out=np.zeros_like(dots), where=scale > 0)
        dots[np.arange(len(dots)), np.arange(begin, part.stop)] = 0.0
        blocks.append(_keep_best(dots, k))
    return sp.vstack(blocks, format="csr")


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
