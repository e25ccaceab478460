"""Models whose score is a sum over the history: item-item models and LightGCN.

There are no user parameters: a new event is one more term, and the terms are the reasons.
EASE (Steck, WWW 2019): ``sum_j m_j B_ji``; item neighbours (Sarwar et al., WWW 2001): the
same over the k neighbours of i; LightGCN (He et al., SIGIR 2020): ``n^-1/2 sum_j z_j z_i``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedrec.models.item_item import ItemItem
from fedrec.serving.past import Past
from fedrec.serving.reasons import EXACT, Shares

Table = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class ItemItemSums:
    """EASE or item neighbours.

    Attributes:
        model: how the history counts.
        table: as the model has it: float32 [I, I], or [I, 2 k].
    """

    model: ItemItem
    table: Table

    how = "the history is the state: scores are sums over it"
    attributes: tuple[str, ...] = ()

    def of_user(self, attributes: Mapping[str, Any]) -> ItemItemSums:
        """See `Adaptation`: no attribute is read."""
        return self

    def start(self, past: Past) -> None:
        """There is no state beside the history."""

    def grown(self, state: None, past: Past) -> None:
        """See `start`."""

    def scores(self, state: None, past: Past) -> Table:
        """Return the scores of all items, float32 [I]."""
        mass, items = self._mass(past), past.items
        if not self.model.neighbours:
            result: Table = mass @ self.table[items]
            return result
        met = np.zeros(len(self.table), np.float32)
        met[items] = mass
        alike = self.table[:, self.model.neighbours :]
        summed: Table = np.einsum("ik,ik->i", alike, met[self._numbers(slice(None))])
        return summed

    def _mass(self, past: Past) -> Table:
        """Return what each item of the history counts, float32 [n]."""
        age = np.arange(len(past) - 1, -1, -1, dtype=np.float32)
        decay, recent = self.model.decay, self.model.recent
        mass = np.exp(-age / decay) if decay else np.ones_like(age)
        return np.where(age < recent, mass, 0.0).astype(np.float32) if recent else mass

    def _numbers(self, items: NDArray[np.int64] | slice) -> NDArray[np.int32]:
        return self.table[items, : self.model.neighbours].astype(np.int32)

    def shares(self, state: None, past: Past, items: NDArray[np.int64]) -> Shares:
        """Return the term of each item of the history."""
        mass = self._mass(past)
        if not self.model.neighbours:
            return Shares(self.table[np.ix_(past.items, items)].T * mass, {}, EXACT)
        alike = self.table[items, self.model.neighbours :]
        same = self._numbers(items)[:, None] == past.items[:, None]  # [k items, n, k neighbours]
        return Shares((same * alike[:, None]).sum(-1) * mass, {}, EXACT)


@dataclass(frozen=True, eq=False)
class GraphSums:
    """LightGCN.

    Attributes:
        table: float32 [I, d], the items' vectors as clients received them.
    """

    table: Table

    how = "the history is the state: the user's vector is a sum over it"
    attributes: tuple[str, ...] = ()

    def of_user(self, attributes: Mapping[str, Any]) -> GraphSums:
        """See `Adaptation`: no attribute is read."""
        return self

    def start(self, past: Past) -> None:
        """There is no state beside the history."""

    def grown(self, state: None, past: Past) -> None:
        """See `start`."""

    def _share(self, past: Past) -> np.float32:
        return np.float32(max(len(past), 1) ** -0.5)

    def scores(self, state: None, past: Past) -> Table:
        """Return the scores of all items, float32 [I]."""
        user = self.table[past.items].sum(0) * self._share(past)
        result: Table = self.table @ user
        return result

    def shares(self, state: None, past: Past, items: NDArray[np.int64]) -> Shares:
        """Return the term of each item of the history."""
        products = self.table[items] @ self.table[past.items].T
        return Shares(products * self._share(past), {}, EXACT)
