"""Implicit ALS by sums: the normal equations of all items, added up over clients.

Hu, Koren and Volinsky (ICDM 2008) alternate between users and items.  A user's vector
p_u needs its own interactions and the item table: the client solves for it, and it stays
there.  An item's vector needs sums over users:

    (P^T P + alpha sum_u p_u p_u^T + ridge I) q_i = (1 + alpha) sum_u p_u

with P^T P over all users and the other sums over those who met item i.  So a client adds
the same row ``[alpha p p^T, (1 + alpha) p]`` to the row of each of its items, and
``p p^T`` to a weight that is common to all items; the server adds up and solves.  Symmetric
matrices travel as their upper triangle: d (d + 1) / 2 + d elements a row.

What comes out of R rounds are R sweeps of the centralised algorithm.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedrec.data.batches import Samples
from fedrec.data.population import Population
from fedrec.data.touched import find_touched
from fedrec.params import Personal, Shared
from fedrec.training.rows import FactoredRows, Factors
from fedrec.training.statistics import Contribution

TABLE, COMMON, VECTOR = "item", "gram", "user"
_BLOCK_ELEMENTS = 1 << 22  # of the matrices that are solved at once


def triangle(dim: int) -> int:
    """Return the elements of the upper triangle of a symmetric matrix [d, d]."""
    return dim * (dim + 1) // 2


@dataclass(frozen=True)
class NormalSums:
    """The normal equations of all items.

    Attributes:
        dim: d.
        alpha: weight of an interaction on top of 1.
        ridge: ridge of the equations.
    """

    dim: int
    alpha: float
    ridge: float

    rounds = 1

    def at(self, round_number: int) -> NormalSums:
        """See `Statistics.at`: every round sums all of them."""
        return self

    def zeros(self, shared: Shared) -> Shared:
        """See `Statistics.zeros`: a table [I, d (d + 1) / 2 + d] and a weight [d (d + 1) / 2]."""
        size, common = len(shared.tables[TABLE]), triangle(self.dim)
        table = np.zeros((size, common + self.dim), np.float32)
        return Shared({TABLE: table}, {COMMON: np.zeros(common, np.float32)})

    def rows(self, num_items: int) -> NDArray[np.int64] | None:
        """See `Statistics.rows`: all."""
        return None

    def costs(self, population: Population) -> NDArray[np.int64]:
        """See `Statistics.costs`."""
        return population.samples_of_client * (triangle(self.dim) + self.dim)

    def contribute(self, shared: Shared, personal: Personal, samples: Samples) -> Contribution:
        """See `Statistics.contribute`; personal vectors are those of this round."""
        vectors = personal.values[VECTOR]
        first, second = np.triu_indices(self.dim)
        products = vectors[:, first] * vectors[:, second]
        index = find_touched(samples, ("item",), len(shared.tables[TABLE])).index
        own = np.concatenate([self.alpha * products, (1.0 + self.alpha) * vectors], axis=1)
        factors = Factors(
            np.arange(len(index.ids)),
            index.client,
            np.ones(len(index.ids), np.float32),
            np.arange(len(vectors), dtype=np.int32),
            own.astype(np.float32),
        )
        rows = FactoredRows({TABLE: [factors]}, {TABLE: index})
        return Contribution(index, rows, {COMMON: products.astype(np.float32)})

    def solve(self, shared: Shared, sums: Shared) -> Shared:
        """See `Statistics.solve`: the item table, float32 [I, d]."""
        table, common = sums.tables[TABLE], triangle(self.dim)
        base = self._whole(sums.weights[COMMON][None])[0] + self.ridge * np.eye(self.dim)
        out = np.empty((len(table), self.dim), np.float32)
        step = max(1, _BLOCK_ELEMENTS // self.dim**2)
        for at in range(0, len(table), step):
            part = table[at : at + step].astype(np.float64)
            left = base + self._whole(part[:, :common])
            out[at : at + step] = np.linalg.solve(left, part[:, common:, None])[..., 0]
        return Shared({TABLE: out})

    def _whole(self, upper: NDArray) -> NDArray[np.float64]:
        """Return symmetric matrices [n, d, d] of their upper triangles [n, d (d + 1) / 2]."""
        first, second = np.triu_indices(self.dim)
        whole = np.zeros((len(upper), self.dim, self.dim))
        whole[:, first, second] = upper
        whole[:, second, first] = upper
        return whole
