"""The graph of users and items as one sum over clients, and propagation with it.

LightGCN (He et al., SIGIR 2020) is linear.  Two of its layers, from items to users and
back, multiply the item table by ``P = D_i^-1/2 X^T D_u^-1 X D_i^-1/2``, where X holds who
met what, and D how many: P is symmetric.  The server needs X only through
``sum_u x_u x_u^T / |x_u|`` and the number of users of each item: one sum over clients,
which travels like the Gram matrix of EASE (`fedrec.training.gram`), folded, masked, and in
blocks of rows if wished, with one more column for the counts.

Clients receive ``Z = A Q`` with ``A = sum_k P^k / (K + 1)``, k = 0..K, and send the gradient
of Z; that of Q is A times it, as A is symmetric.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fedrec.data.batches import Samples
from fedrec.data.population import Population
from fedrec.params import Personal, Shared
from fedrec.training.gram import TABLE, folded_width, gram_rows, unfold
from fedrec.training.statistics import PAIR_BYTES, ROW_BYTES, Contribution, SparseChanges

if TYPE_CHECKING:
    import scipy.sparse as sp

GRAPH_CLIP = 1.5
"""Elements of a contribution are at most 1; a secure sum takes them up to this."""

_BLOCK_BYTES = 64 << 20
_DENSE = 0.1  # above this share of non-zeros a dense product is faster


@dataclass(frozen=True, eq=False)
class Propagation:
    """The linear map A of K hops between items.

    Attributes:
        matrix: P, float32 [I, I], sparse or not.
        hops: K.
    """

    matrix: Any
    hops: int

    def __call__(self, table: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return A times a table, float32 [I, d]; its transpose is the same."""
        at = table.astype(np.float32)
        total = at.copy()
        for _ in range(self.hops):
            at = np.asarray(self.matrix @ at, np.float32)
            total += at
        return total / np.float32(self.hops + 1)


@dataclass(frozen=True)
class GraphSums:
    """The graph: what is summed in the first rounds of a graph model.

    Attributes:
        rounds: blocks of rows, one a round.
        hops: K, hops between items that are averaged over.
        block: the block of the round, from 0.
    """

    rounds: int = 1
    hops: int = 1
    block: int = 0

    def at(self, round_number: int) -> GraphSums:
        """See `Statistics.at`."""
        return replace(self, block=(round_number - 1) % self.rounds)

    def zeros(self, shared: Shared) -> Shared:
        """See `Statistics.zeros`: the folded pairs and a column of counts, [I, I // 2 + 2]."""
        size = len(shared.tables[TABLE])
        return Shared({TABLE: np.zeros((size, folded_width(size) + 1), np.float32)})

    def rows(self, num_items: int) -> NDArray[np.int64] | None:
        """See `Statistics.rows`."""
        if self.rounds == 1:
            return None
        ends = [num_items * part // self.rounds for part in (self.block, self.block + 1)]
        return np.arange(*ends, dtype=np.int64)

    def costs(self, population: Population) -> NDArray[np.int64]:
        """See `Statistics.costs`."""
        return population.samples_of_client * (folded_width(population.num_items) + 1)

    def contribute(self, shared: Shared, personal: Personal, samples: Samples) -> Contribution:
        """See `Statistics.contribute`: ``x_u x_u^T / |x_u|`` and x_u, of clients of one user."""
        import scipy.sparse as sp

        size = len(shared.tables[TABLE])
        index, rows = gram_rows(samples, size, self.rows(size))
        cell = np.unique(samples.client * size + samples.fields["item"])
        met = np.bincount(cell // size, minlength=samples.num_clients)
        share = (1.0 / np.maximum(met, 1)).astype(np.float32)
        rows = sp.diags_array(share[index.client], dtype=np.float32) @ rows
        counts = sp.csr_matrix(np.ones((len(index.ids), 1), np.float32))
        rows = sp.hstack([rows, counts], "csr")
        number = np.bincount(index.client, minlength=index.num_clients)
        pairs = np.bincount(index.client, np.diff(rows.indptr), index.num_clients)
        sent = (number * ROW_BYTES + pairs * PAIR_BYTES).astype(np.float64)
        return Contribution(index, SparseChanges({TABLE: rows}), {}, sent)

    def propagation(self, folded: NDArray) -> Propagation:
        """Return the map that a whole sum, [I, I // 2 + 2], describes."""
        return Propagation(normalised(folded), self.hops)

    def solve(self, shared: Shared, sums: Shared) -> Shared:
        """See `Statistics.solve`: the base table, propagated."""
        propagate = self.propagation(sums.tables[TABLE])
        return Shared({TABLE: propagate(shared.tables[TABLE])}, shared.weights)


def normalised(folded: NDArray) -> sp.csr_matrix | NDArray[np.float32]:
    """Return P, float32 [I, I], of the sum of all contributions.

    Args:
        folded: [I, I // 2 + 2], pairs and, last, the users of each item.

    Returns:
        Sparse where few of its elements are not zero.
    """
    import scipy.sparse as sp

    size = len(folded)
    met = np.maximum(np.rint(folded[:, -1].astype(np.float64)), 1.0)
    scale = 1.0 / np.sqrt(met)
    step = max(1, _BLOCK_BYTES // (32 * max(size, 1)))
    parts = []
    for begin in range(0, size, step):
        end = min(begin + step, size)
        block = unfold(folded[:, :-1], begin, end) * scale[begin:end, None] * scale
        parts.append(sp.csr_matrix(block.astype(np.float32)))
    matrix = sp.vstack(parts, "csr")
    if matrix.nnz <= _DENSE * size * size:
        return matrix
    dense: NDArray[np.float32] = np.asarray(matrix.todense(), np.float32)
    return dense
