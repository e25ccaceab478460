"""Methods that sum statistics instead of gradients, and solve at the server.

A client's contribution is an update like any other: rows of a table with their ids, and
dense weights.  So it is bounded, masked, noised and summed like any other; only its shape
is not that of the model, and the server does not step along the sum but solves with it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fedrec.data.batches import Samples
from fedrec.data.population import Population
from fedrec.data.touched import RowIndex
from fedrec.params import Personal, Shared

if TYPE_CHECKING:
    import scipy.sparse as sp

PAIR_BYTES = 8
"""Column and value of an element that is not zero: int32 and float32."""

ROW_BYTES = 8
"""Id and number of elements of a row: int32 each."""


@dataclass(frozen=True, eq=False)
class Contribution:
    """What C clients add to the sums.

    Attributes:
        index: whose row of which item each one is.
        rows: table name -> float32 [T, d].
        weights: name -> float32 [C, ...].
        sent: float64 [C], bytes that each client's contribution takes in clear.
    """

    index: RowIndex
    rows: Mapping[str, NDArray[np.float32]]
    weights: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    sent: NDArray[np.float64] | None = None


class Statistics(Protocol):
    """What clients sum, and what the server makes of the sum."""

    @property
    def rounds(self) -> int:
        """Rounds that make up one sum; the server solves after the last of them."""
        ...

    def zeros(self, shared: Shared) -> Shared:
        """Return an empty sum, which the shapes of contributions follow from."""
        ...

    def at(self, round_number: int) -> Statistics:
        """Return what is summed in a round (from 1)."""
        ...

    def rows(self, num_items: int) -> NDArray[np.int64] | None:
        """Return the rows that take part in the round, ascending; None for all."""
        ...

    def costs(self, population: Population) -> NDArray[np.int64]:
        """Return the elements of each client's contribution, int64 [num_clients]."""
        ...

    def contribute(self, shared: Shared, personal: Personal, samples: Samples) -> Contribution:
        """Return what clients add, each for itself.

        Args:
            shared: what the server sent.
            personal: the clients' personal parameters [C, ...].
            samples: their interactions.
        """
        ...

    def solve(self, shared: Shared, sums: Shared) -> Shared:
        """Return the new shared parameters.

        Args:
            shared: the old ones.
            sums: the whole sum, shaped like `zeros(shared)`, float64.
        """
        ...


class SparseChanges(Mapping[str, NDArray]):
    """Rows of some tables that hold few elements, written out where someone asks for them.

    Args:
        sparse: table name -> sparse [T, d]; float32, or float64 where clients were added up.
    """

    def __init__(self, sparse: Mapping[str, sp.csr_matrix]) -> None:
        self.sparse = sparse
        self._dense: dict[str, NDArray] = {}

    def __getitem__(self, table: str) -> NDArray:
        if table not in self._dense:
            self._dense[table] = np.asarray(self.sparse[table].todense())
        return self._dense[table]

    def __iter__(self) -> Iterator[str]:
        return iter(self.sparse)

    def __len__(self) -> int:
        return len(self.sparse)


def add_sparse(total: NDArray[np.float64], more: sp.csr_matrix) -> None:
    """Add a sparse matrix to a dense one of its shape, in place."""
    whole: Any = more.tocsr()
    whole.sum_duplicates()  # each element once, so that += adds all of them
    row = np.repeat(np.arange(whole.shape[0]), np.diff(whole.indptr))
    total[row, whole.indices] += whole.data


def sums_like(statistics: Statistics | None, shared: Shared) -> Shared:
    """Return parameters of the shape of a client's update: `shared`, or an empty sum."""
    return shared if statistics is None else statistics.zeros(shared)
