"""One hop of a graph that stays at home: a client's vector is made of its own items' rows.

``e_u = |N_u|^-1/2 sum_i z_i`` over the training items of the client (He et al., SIGIR 2020,
eq. 3, with the side of the items left to the server).  Forward it makes personal values,
backward the gradient of e_u goes back to the rows that it was made of.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from fedrec.data.batches import Samples
from fedrec.params import Personal, Shared
from fedrec.training.rows import FactoredRows, Factors, Touched

if TYPE_CHECKING:
    from fedrec.training.cohort import CohortUpdate

TABLE = "item"


def own_items(samples: Samples, touched: Touched) -> NDArray[np.int64]:
    """Return which touched rows are training items of their client, ascending, int64 [n].

    Args:
        samples: positives stand in the field "item".
        touched: the rows of the items.
    """
    return np.unique(touched.places[TABLE]).astype(np.int64)


def user_vectors(shared: Shared, samples: Samples, touched: Touched) -> Personal:
    """Return "user", e_u float32 [C, d], and "share", ``|N_u|^-1/2`` float32 [C, 1].

    Args:
        shared: what the server sent.
        samples: of C clients of one user each.
        touched: the rows of the items that they touch.
    """
    table, own = shared.tables[TABLE], own_items(samples, touched)
    client, item = touched.index.client[own], touched.index.ids[own]
    count = np.bincount(client, minlength=samples.num_clients)
    share = (1.0 / np.sqrt(np.maximum(count, 1))).astype(np.float32)
    shape = (samples.num_clients, len(table))
    graph = sp.csr_matrix((share[client], (client, item)), shape)
    return Personal({"user": np.asarray(graph @ table, np.float32), "share": share[:, None]})


def spread(
    update: CohortUpdate, samples: Samples, touched: Touched, received: Personal
) -> CohortUpdate:
    """Hand the change of each e_u on to the rows that it was made of, and drop what was made.

    Args:
        update: of C clients, whose "user" has moved along its gradient.
        samples: of the round.
        touched: the rows of the items.
        received: what `user_vectors` returned.

    Returns:
        The update without personal values.
    """
    own = own_items(samples, touched)
    client, share = touched.index.client[own], received.values["share"][:, 0]
    moved = update.personal.values["user"] - received.values["user"]
    every = np.arange(samples.num_clients, dtype=np.int32)
    back = Factors(own, client, share[client], every, moved)
    rows: Mapping[str, NDArray[np.float32]]
    if isinstance(update.rows, FactoredRows):
        factors = {TABLE: [*update.rows.factors[TABLE], back]}
        rows = FactoredRows(factors, update.index)
    else:
        rows = {TABLE: update.rows[TABLE] + back.dense(len(touched.index.ids))}
    return replace(update, rows=rows, personal=Personal({}))
