"""Low-rank updates: each client sends its rows in a random subspace that all know.

For every round and table a basis A [r, d] of orthonormal rows follows from the seed of
the run.  A client with the update U [I, d] sends B = U A^T [I, r]; the server takes the
sum of all B and goes back with B A, which is U projected on the subspace.  The map is
linear, so it composes with a sum in any ring.  It never lengthens an update, as A is
orthonormal: a clipped update stays within its clip norm, and noise for that norm on each
element of B hides a client as noise on U would.

After CoLR (Nguyen et al., "Towards efficient communication and secure federated
recommendation system via low-rank training", WWW 2024).  There a client trains inside
the subspace, A held fixed; here it trains as always, whatever the method and the model,
and its finished update is projected.  What lies outside the subspace is lost for the round
and comes back, in part, in another round's subspace.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from fedrec.config import Config
from fedrec.params import PartialSum, SparseRows
from fedrec.rng import Purpose, generator
from fedrec.training.cohort import CohortUpdate

Bases = dict[str, NDArray[np.float64]]


def update_rank(config: Config) -> int:
    """Return r of a run; 0 if updates are sent in full."""
    if config.secure.mode == "off":
        return config.compress.rank
    return config.secure.rank if config.secure.rows == "low-rank" else 0


def bases(config: Config, tables: Mapping[str, tuple[int, ...]], round_number: int) -> Bases:
    """Return the bases of a round.

    Args:
        config: of the run.
        tables: table name -> shape [I, d].
        round_number: the round.

    Returns:
        Table name -> float64 [r, d], orthonormal rows; tables no wider than r are left out,
        and sent in full.
    """
    rank, found = update_rank(config), {}
    for number, (name, shape) in enumerate(sorted(tables.items())):
        if rank and len(shape) == 2 and shape[1] > rank:
            draw = generator(config.run.seed, round_number, number, Purpose.SUBSPACE)
            columns, upper = np.linalg.qr(draw.standard_normal((shape[1], rank)))
            found[name] = (columns * np.sign(np.diag(upper))).T  # one basis for every LAPACK
    return found


def project(update: CohortUpdate, found: Bases) -> CohortUpdate:
    """Return updates with rows [T, r] in place of [T, d], as far as there are bases."""
    rows = {
        name: (value @ found[name].T).astype(np.float32) if name in found else value
        for name, value in update.rows.items()
    }
    return replace(update, rows=rows)


def expand(rows: NDArray, name: str, found: Bases) -> NDArray:
    """Return rows [R, d] from [R, r]; rows of a table without a basis as they are."""
    return rows @ found[name] if name in found else rows


def within(total: PartialSum, found: Bases) -> PartialSum:
    """Project a sum on the subspace in which its clients sent their updates.

    Updates have no part outside, so all that this takes off is noise.
    """
    tables = dict(total.tables)
    for name, basis in found.items():
        own = total.tables[name]
        tables[name] = SparseRows(own.ids, own.rows @ basis.T @ basis)
    return replace(total, tables=tables)
