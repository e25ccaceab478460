"""Matrix factorisation on a device: the user's vector in closed form, one event at a time.

Hu, Koren and Volinsky (ICDM 2008): ``p = A^-1 b`` with ``A = Q^T Q + alpha sum_j q_j q_j^T +
ridge I`` and ``b = (1 + alpha) sum_j q_j`` over the items j that were met.  One more item
changes A by a matrix of rank one, whose inverse follows from the last one (Sherman and
Morrison, Annals of Mathematical Statistics 1950) in d^2 products.  A score falls apart
into the items that were met (their section 5): ``q_i^T A^-1 (1 + alpha) q_j``.

Ratings: ``r - mean - b_j`` is regressed on (q_j, 1), whose last element is the user's bias
(Koren, Bell and Volinsky, Computer 2009), with the same ridge.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedrec.config import Config
from fedrec.params import Shared
from fedrec.serving.past import Past
from fedrec.serving.reasons import EXACT, Shares

Matrix = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class RidgeState:
    """The normal equations of one user.

    Attributes:
        inverse: A^-1, float64 [d, d].
        right: b, float64 [d].
    """

    inverse: Matrix
    right: NDArray[np.float64]

    @property
    def vector(self) -> NDArray[np.float64]:
        """p, float64 [d]."""
        return self.inverse @ self.right


@dataclass(frozen=True, eq=False)
class Ridge:
    """The user side of matrix factorisation.

    Attributes:
        table: float32 [I, d], what is regressed on; with a column of ones for ratings.
        base: A without any history, float64 [d, d].
        weight: what an item adds to A, times q q^T.
        gain: what an item adds to b, times q and its target.
        offset: float32 [I], score without the user; None: 0.
        limits: of ratings, to which scores are clipped; None without ratings.
    """

    table: NDArray[np.float32]
    base: Matrix
    weight: float
    gain: float
    offset: NDArray[np.float32] | None = None
    limits: tuple[float, float] | None = None

    how = "closed form: ridge regression, updated by one item at a time"
    attributes: tuple[str, ...] = ()

    def of_user(self, attributes: Mapping[str, Any]) -> Ridge:
        """See `Adaptation`: no attribute is read."""
        return self

    def start(self, past: Past) -> RidgeState:
        """Solve for a whole history."""
        rows: Matrix = self.table[past.items].astype(np.float64)
        left = self.base + self.weight * rows.T @ rows
        inverse = np.linalg.inv(left).astype(np.float64)
        return RidgeState(inverse, self.gain * (self._targets(past) @ rows))

    def grown(self, state: RidgeState, past: Past) -> RidgeState:
        """Return the state after the last event of a past, which was not in it."""
        row = self.table[past.items[-1]].astype(np.float64)
        beside = state.inverse @ row
        scale = self.weight / (1.0 + self.weight * float(row @ beside))
        inverse = state.inverse - scale * np.outer(beside, beside)
        return RidgeState(inverse, state.right + self.gain * self._targets(past)[-1] * row)

    def as_stranger(self, config: Config) -> Ridge:
        """Return what strategies for strangers fit with: the same closed form."""
        return self

    def fitted(self, past: Past, begin: Mapping[str, NDArray]) -> dict[str, NDArray]:
        """Return the user's vector; it follows from the past alone."""
        return {"user": self.start(past).vector.astype(np.float32)}

    def scored(self, values: Mapping[str, NDArray], past: Past) -> NDArray[np.float32]:
        """Return the scores of all items with a vector, float32 [I]."""
        found: NDArray[np.float32] = self.table @ values["user"]
        return found

    def _targets(self, past: Past) -> NDArray[np.float64]:
        if self.offset is None:
            return np.ones(len(past))
        return past.labels.astype(np.float64) - self.offset[past.items]

    def scores(self, state: RidgeState, past: Past) -> NDArray[np.float32]:
        """Return the scores of all items, float32 [I]."""
        found = self.table @ state.vector.astype(np.float32)
        if self.offset is not None:
            found += self.offset
        if self.limits is not None:
            found = np.clip(found, *self.limits)
        result: NDArray[np.float32] = found
        return result

    def shares(self, state: RidgeState, past: Past, items: NDArray[np.int64]) -> Shares:
        """Return the share of each item that was met; of ratings, those before clipping."""
        mine = self.table[past.items] * (self.gain * self._targets(past))[:, None]
        history = self.table[items].astype(np.float64) @ state.inverse @ mine.T
        other = {} if self.offset is None else {("start", ""): self.offset[items]}
        return Shares(history, other, EXACT)


def implicit_ridge(table: NDArray[np.float32], alpha: float, ridge: float) -> Ridge:
    """Return the user side for implicit feedback.

    Args:
        table: float32 [I, d], the item table Q.
        alpha: weight of an item that was met, on top of 1.
        ridge: of the equations.
    """
    q = table.astype(np.float64)
    return Ridge(table, q.T @ q + ridge * np.eye(q.shape[1]), alpha, 1.0 + alpha)


def rating_ridge(shared: Shared, ridge: float, limits: tuple[float, float]) -> Ridge:
    """Return the user side for ratings.

    Args:
        shared: tables "item" [I, d] and "item_bias" [I, 1], weight "mean".
        ridge: of the equations.
        limits: lowest and highest rating.
    """
    item, bias = shared.tables["item"], shared.tables["item_bias"][:, 0]
    table = np.concatenate([item, np.ones((len(item), 1), np.float32)], 1)
    offset = bias + np.float32(shared.weights["mean"])
    return Ridge(table, ridge * np.eye(table.shape[1]), 1.0, 1.0, offset, limits)
