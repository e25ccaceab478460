"""The Gram matrix X^T X as a sum over clients, and the models that follow from it.

EASE (Steck, WWW 2019) and item neighbours by cosine (Sarwar et al., WWW 2001) need the
interactions of all users only through the I x I matrix G = sum_u x_u x_u^T of how many
users met both of two items.  Each client sends its own x_u x_u^T, the server takes the
sum and solves: what comes out is the centralised model.

G is symmetric, so each pair of items travels once.  The table of the sum is G folded:
row i holds the pairs (i, i + d mod I) for d = 0 .. I // 2, which are all pairs, each once.
(If I is even the pairs with d = I / 2 would come twice; they stand in the lower half of the
rows alone.)  A client fills the rows of its own items and no others.  With n items the
folded contribution has n (n + 1) / 2 ones, so its L2 norm is sqrt(n (n + 1) / 2).

What a user met close together may count more: with a window w a pair of items that the user
met n interactions apart counts exp(-n / w) instead of 1.  This kernel of positions is
positive definite, so the sum is too, and EASE is solved from it all the same.  Nothing but
the sum leaves the clients, and a contribution's norm is at most that of ones.

In one round all rows are summed.  For many items the rows can be cut into blocks, one a
round: a masked vector holds one block at a time.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fedrec.data.batches import Samples
from fedrec.data.population import Population
from fedrec.data.touched import RowIndex
from fedrec.params import Personal, Shared
from fedrec.training.statistics import PAIR_BYTES, ROW_BYTES, Contribution, SparseChanges

if TYPE_CHECKING:
    import scipy.sparse as sp

TABLE = "item"
_BLOCK_BYTES = 64 << 20


def folded_width(num_items: int) -> int:
    """Return the columns of the folded Gram matrix of I items."""
    return num_items // 2 + 1


def unfold(folded: NDArray, begin: int, end: int) -> NDArray[np.float64]:
    """Return the rows begin .. end - 1 of the Gram matrix.

    Args:
        folded: [I, I // 2 + 1], row i holds the pairs (i, i + d mod I).
        begin: first row.
        end: the row after the last.

    Returns:
        float64 [end - begin, I].
    """
    num_items = len(folded)
    first = np.arange(begin, end)[:, None]
    other = np.arange(num_items)[None, :]
    ahead = (other - first) % num_items
    mine = _holds(first, ahead, num_items)
    row = np.where(mine, first, other)
    column = np.where(mine, ahead, num_items - ahead)
    return folded[row, column].astype(np.float64)


def gram_of(folded: NDArray) -> NDArray[np.float64]:
    """Return the whole Gram matrix, float64 [I, I], of its folded form."""
    size = len(folded)
    out = np.empty((size, size))
    step = max(1, _BLOCK_BYTES // (32 * max(size, 1)))
    for begin in range(0, size, step):
        end = min(begin + step, size)
        out[begin:end] = unfold(folded, begin, end)
    return out


def _holds(item: NDArray, ahead: NDArray, num_items: int) -> NDArray[np.bool_]:
    """Whether the row of an item holds its pair with the item that is so many ahead."""
    upper_half = (2 * ahead == num_items) & (2 * item >= num_items)
    return (2 * ahead <= num_items) & ~upper_half


@dataclass(frozen=True)
class GramSums:
    """The Gram matrix, and the item-item model that is solved from it.

    Attributes:
        kind: "ease" or "item-knn".
        rounds: blocks of rows, one a round.
        l2: EASE: ridge.
        k: item-knn: neighbours.
        shrink: item-knn: shrinkage.
        noisy: whether the sum carries noise: it is then made positive semi-definite first.
        block: the block of the round, from 0.
        window: EASE: two items met n interactions apart count exp(-n / window); 0: all 1.
    """

    kind: str
    rounds: int = 1
    l2: float = 300.0
    k: int = 20
    shrink: float = 10.0
    noisy: bool = False
    block: int = 0
    window: float = 0.0

    def at(self, round_number: int) -> GramSums:
        """See `Statistics.at`."""
        return replace(self, block=(round_number - 1) % self.rounds)

    def zeros(self, shared: Shared) -> Shared:
        """See `Statistics.zeros`: a folded Gram matrix, float32 [I, I // 2 + 1]."""
        size = len(shared.tables[TABLE])
        return Shared({TABLE: np.zeros((size, folded_width(size)), np.float32)})

    def rows(self, num_items: int) -> NDArray[np.int64] | None:
        """See `Statistics.rows`."""
        if self.rounds == 1:
            return None
        ends = [num_items * part // self.rounds for part in (self.block, self.block + 1)]
        return np.arange(*ends, dtype=np.int64)

    def costs(self, population: Population) -> NDArray[np.int64]:
        """See `Statistics.costs`."""
        return population.samples_of_client * folded_width(population.num_items)

    def contribute(self, shared: Shared, personal: Personal, samples: Samples) -> Contribution:
        """See `Statistics.contribute`: x_u x_u^T, or their sum over the users of a client."""
        size = len(shared.tables[TABLE])
        index, rows = gram_rows(samples, size, self.rows(size), self.window)
        number = np.bincount(index.client, minlength=index.num_clients)
        pairs = np.bincount(index.client, np.diff(rows.indptr), index.num_clients)
        sent = (number * ROW_BYTES + pairs * PAIR_BYTES).astype(np.float64)
        return Contribution(index, SparseChanges({TABLE: rows}), {}, sent)

    def solve(self, shared: Shared, sums: Shared) -> Shared:
        """See `Statistics.solve`: item-item weights, float32 [I, I], or neighbours [I, 2 k].

        The first k columns of neighbours are their numbers, the others their similarities.

        Raises:
            ConfigError: if the matrix is too large, or not positive definite.
        """
        from fedrec.training.ease import ease_weights, nearest_positive
        from fedrec.training.neighbours import similar_items

        gram = gram_of(sums.tables[TABLE])
        if self.noisy:
            gram = nearest_positive(gram)
        if self.kind == "ease":
            return Shared({TABLE: ease_weights(gram, self.l2)})
        return Shared({TABLE: as_table(similar_items(gram, self.k, self.shrink), self.k)})


def gram_rows(
    samples: Samples,
    num_items: int,
    wanted: NDArray[np.int64] | None = None,
    window: float = 0.0,
) -> tuple[RowIndex, sp.csr_matrix]:
    """Return the folded rows of each client's own Gram matrix.

    Args:
        samples: interactions of C clients, with a column "user" if a client has several.
        num_items: I.
        wanted: rows that are returned, ascending; None for all.
        window: see `GramSums`; a user's samples are in the order of time.

    Returns:
        Whose row each one is, and sparse float32 [T, I // 2 + 1].
    """
    import scipy.sparse as sp

    column = samples.fields.get("user", samples.client)
    whose, first, user = np.unique(column, return_index=True, return_inverse=True)
    owner = samples.client[first]
    # an item counts once, where it was met first
    cell, met_at = np.unique(user * num_items + samples.fields["item"], return_index=True)
    user, item = np.divmod(cell, num_items)
    chosen = np.arange(len(item)) if wanted is None else np.flatnonzero(np.isin(item, wanted))
    key, place = np.unique(owner[user[chosen]] * num_items + item[chosen], return_inverse=True)
    client, ids = np.divmod(key, num_items)
    bounds = np.searchsorted(user, np.arange(len(whose) + 1))
    near = near_pairs(bounds, met_at, window, chosen)
    if near is None:
        ones = np.ones(len(item), np.float32)
        met = sp.csr_matrix((ones, item, bounds), (len(whose), num_items))
        mine = (ones[chosen], (place, user[chosen]))
        pairs = (sp.csr_matrix(mine, (len(key), len(whose))) @ met).tocoo()
    else:
        row, other, weight = near
        pairs = sp.coo_matrix((weight, (place[row], item[other])), (len(key), num_items))
    ahead = (pairs.col - ids[pairs.row]) % num_items
    held = _holds(ids[pairs.row], ahead, num_items)
    cells = (pairs.data[held], (pairs.row[held], ahead[held]))
    rows = sp.csr_matrix(cells, (len(ids), folded_width(num_items)))
    return RowIndex(client.astype(np.int32), ids, num_items, samples.num_clients), rows


def near_pairs(
    bounds: NDArray[np.int64], time: NDArray, window: float, rows: NDArray[np.int64] | None = None
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]] | None:
    """Return all pairs of a user's interactions, weighted by how far apart they are.

    Args:
        bounds: int64 [U+1], the interactions of user u are bounds[u] .. bounds[u + 1] - 1.
        time: [N], what orders the interactions of a user.
        window: w of the weight exp(-n / w) of a pair that is n interactions apart.
        rows: int64 [M], first interactions of the pairs, ascending; None for all.

    Returns:
        Place among `rows` int64 [P], second interaction int64 [P] and weight float32 [P];
        None if the window is 0: all weights are 1 then.
    """
    if not window:
        return None
    count = np.diff(bounds)
    user = np.repeat(np.arange(len(count)), count)
    order = np.lexsort((time, user))
    age = np.empty(len(user), np.int64)
    age[order] = np.arange(len(user)) - bounds[user[order]]
    rows = np.arange(len(user)) if rows is None else rows
    many = count[user[rows]]
    row = np.repeat(np.arange(len(rows)), many)
    first = np.repeat(bounds[user[rows]] - (np.cumsum(many) - many), many)
    other = first + np.arange(len(row))
    gap = np.abs(age[rows[row]] - age[other])
    return row, other, np.exp(-gap / window).astype(np.float32)


def as_table(alike: sp.csr_matrix, k: int) -> NDArray[np.float32]:
    """Return the neighbours of each item as float32 [I, 2 k]: numbers, then similarities.

    Rows with fewer than k neighbours end in item 0 with a similarity of 0.
    """
    size, counts = alike.shape[0], np.diff(alike.indptr)
    table = np.zeros((size, 2 * k), np.float32)
    row = np.repeat(np.arange(size), counts)
    place = np.arange(len(row)) - np.repeat(alike.indptr[:-1], counts)
    table[row, place] = alike.indices
    table[row, k + place] = alike.data
    return table
