"""Strategies for a merchant that joins a federation: what it recommends to its customers.

The others share one item-item model, EASE (Steck, WWW 2019), whose Gram matrix is a secure
sum over them.  The newcomer has w weeks of its own.  It may train on these alone, take the
shared model as it is, start from it (fine-tuning), or mix both.  A merchant has few
customers in its first weeks: n rows, where n is far below the I items.  All matrices here
are [n, I] but the shared one, which is downloaded once.

Fine-tuning in closed form: of all B with a zero diagonal, the one that minimises
``|X - X B|^2 + pull |B - A|^2``, where A are the shared weights.  With ``P = (X'X + pull)^-1``
setting the gradient to zero gives ``B = I + pull P A - P diag(c)``, ``c_j = (1 + pull (P A)_jj)
/ P_jj``; A = 0 is EASE of the merchant's own rows.  By the identity of Woodbury ``pull P = I -
X' (pull + X X')^-1 X``; with ``X X' = V S V'`` and ``U = V' X`` that is ``I - U' (pull + S)^-1 U``,
so one decomposition of a matrix [n, n] serves every pull.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fedrec.errors import ConfigError
from fedrec.training.ease import ease_weights

if TYPE_CHECKING:
    import scipy.sparse as sp

Matrix = NDArray[np.float32]

_FALLBACK = 1e-6
"""Popularity decides where nothing else does, as for a customer without a history."""


@dataclass(frozen=True)
class MerchantStrategy:
    """A way for a merchant to begin.

    Attributes:
        name: its name in tables.
        what: one line for a reader.
        privacy: what leaves a merchant, of the newcomer and of the others.
        downloads: whether the newcomer receives the shared weights.
    """

    name: str
    what: str
    privacy: str
    downloads: bool = True


_SUM = "of the others the secure sum of their pairs of items is known"
MERCHANT_STRATEGIES: dict[str, MerchantStrategy] = {
    s.name: s
    for s in (
        MerchantStrategy("own", "a model of its own weeks alone", "nothing leaves", False),
        MerchantStrategy("federated", "the shared model as it is",
                         f"nothing leaves the newcomer; {_SUM}"),
        MerchantStrategy("fine-tuned", "the shared model, pulled towards its own weeks",
                         f"nothing leaves the newcomer; {_SUM}"),
        MerchantStrategy("mixture", "the scores of both, weighted as validation at other "
                         "merchants says", f"nothing leaves the newcomer; {_SUM}, and the mean of "
                         "their validation figures"),
        MerchantStrategy("similar", "as fine-tuned, from a model in which the group of merchants "
                         "that is most like it counts more", "nothing leaves the newcomer, which "
                         f"finds its group itself; {_SUM}, for each group of at least three, and "
                         "the mean profile of each"),
    )
}  # fmt: skip
"""Name -> strategy."""


@dataclass(frozen=True, eq=False)
class SharedWeights:
    """The model of merchants that train together.

    Attributes:
        weights: float32 [I, I], with a zero diagonal.
        rates: float32 [I], the share of all customers that bought each item.
    """

    weights: Matrix
    rates: NDArray[np.float32]

    def scores(self, rows: sp.csr_matrix) -> Matrix:
        """Return the scores of customers of these rows (sparse [b, I]), float32 [b, I]."""
        return np.asarray(rows @ self.weights, np.float32) + _FALLBACK * self.rates


def shared_weights(gram: NDArray, customers: int, l2: float) -> SharedWeights:
    """Solve the shared model from the sum over merchants.

    Args:
        gram: float [I, I], the sum of ``X'X``; its diagonal counts customers of items.
        customers: how many customers were summed over.
        l2: ridge of EASE.
    """
    rates = np.diag(gram).astype(np.float32) / np.float32(max(customers, 1))
    return SharedWeights(ease_weights(np.asarray(gram, np.float64), l2), rates)


@dataclass(frozen=True, eq=False)
class OwnRows:
    """A merchant's customers, decomposed.

    Attributes:
        rows: X, sparse float32 [n, I], those who have bought anything.
        turn: V', float64 [n, n].
        basis: U = V' X, float64 [n, I].
        strength: the diagonal of S, float64 [n].
    """

    rows: sp.csr_matrix
    turn: NDArray[np.float64]
    basis: NDArray[np.float64]
    strength: NDArray[np.float64]


def own_rows(rows: sp.csr_matrix) -> OwnRows:
    """Decompose the rows of a merchant's customers, sparse [n, I] of ones."""
    rows = rows[np.diff(rows.indptr) > 0].astype(np.float64)
    strength, vectors = np.linalg.eigh(np.asarray((rows @ rows.T).todense()))
    return OwnRows(rows, vectors.T, vectors.T @ rows, np.maximum(strength, 0.0))


@dataclass(frozen=True, eq=False)
class OwnWeights:
    """A model of a merchant's own rows, perhaps pulled towards the shared one.

    Its weights are ``B = A + diag(1 - scale) - U' correction``, and are never written out.

    Attributes:
        start: the shared model A; None: 0.
        basis: U, float32 [n, I].
        scale: float32 [I], ``c / pull``.
        correction: float32 [n, I], ``(pull + S)^-1 (U A - U diag(scale))``.
        rates: float32 [I], as in `SharedWeights`.
    """

    start: SharedWeights | None
    basis: Matrix
    scale: NDArray[np.float32]
    correction: Matrix
    rates: NDArray[np.float32]

    def scores(self, rows: sp.csr_matrix) -> Matrix:
        """Return the scores of customers of these rows (sparse [b, I]), float32 [b, I]."""
        found = np.asarray(rows.multiply(1.0 - self.scale).todense(), np.float32)
        found -= np.asarray(rows @ self.basis.T, np.float32) @ self.correction
        if self.start is not None:
            found += np.asarray(rows @ self.start.weights, np.float32)
        return found + _FALLBACK * self.rates


def own_weights(own: OwnRows, pull: float, start: SharedWeights | None = None) -> OwnWeights:
    """Train on a merchant's own rows, in closed form.

    Args:
        own: its customers, n of them.
        pull: weight of the squared distance from the start, above 0: the ridge of EASE where
            there is none.  Popularity starts from the shared one as if `pull` customers had
            shown it.
        start: the shared model; None: the merchant is alone.

    Raises:
        ConfigError: if `pull` is not above 0.
    """
    if not pull > 0:
        raise ConfigError(f"a merchant's own model needs a pull above 0, got {pull:g}")
    weight = 1.0 / (own.strength + pull)
    cover = 1.0 - weight @ np.square(own.basis)  # pull P_jj
    moved, before = np.zeros_like(own.basis), 0.0 * cover
    if start is not None:
        moved = own.turn @ (own.rows @ start.weights)  # U A
        before = before + pull * start.rates
    scale = (1.0 - weight @ (own.basis * moved)) / cover
    correction = weight[:, None] * (moved - own.basis * scale)
    counts = np.asarray(own.rows.sum(0)).ravel()
    customers = len(own.strength) + (0.0 if start is None else pull)
    rates = (counts + before) / max(customers, 1.0)
    return OwnWeights(
        start,
        own.basis.astype(np.float32),
        scale.astype(np.float32),
        correction.astype(np.float32),
        rates.astype(np.float32),
    )


def mixed(own: Matrix, shared: Matrix, share: float) -> Matrix:
    """Return scores of both: ``share`` of its own, the rest of the shared ones."""
    return np.float32(share) * own + np.float32(1.0 - share) * shared
