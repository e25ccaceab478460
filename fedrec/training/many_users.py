"""Clients that host many users, such as merchants: one model, and vectors of each user."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fedrec.data.batches import Samples
from fedrec.params import Personal, Shared
from fedrec.training.cohort import CohortUpdate
from fedrec.training.control import controlled, drift_of, without_controls
from fedrec.training.local import train_cohort
from fedrec.training.pooled import PREFIX, first_user, with_users

if TYPE_CHECKING:
    from fedrec.training.node import Setup


def train_many_users(
    setup: Setup, shared: Shared, personal: Personal, clients: NDArray[np.int64], samples: Samples
) -> tuple[CohortUpdate, Personal]:
    """Train a block of such clients; the vectors of their users are rows that stay with them.

    Args:
        setup: the prepared configuration.
        shared: what the server sent.
        personal: `values` stacked over the users of the clients, `own` over these.
        clients: int64 [C], ascending.
        samples: their samples of the round.

    Returns:
        The updates, and the new personal parameters.

    Raises:
        ConfigError: for a method of control variates without them.
    """
    users = setup.population.users_of(clients)
    shared, control = without_controls(shared)
    drift = drift_of(control, personal.own) if setup.method.controls else None
    local = {**samples.fields, "user": np.searchsorted(users, samples.fields["user"])}
    samples = replace(samples, fields=local)
    vectors = {n: v for n, v in personal.values.items() if n in setup.model.personal_vectors}
    owner = setup.population.client_of_user[users]
    heads = {
        n: v[first_user(owner, clients)] for n, v in personal.values.items() if n not in vectors
    }
    update = train_cohort(
        setup.trainee,
        with_users(setup.model, shared, vectors),
        Personal(heads),
        samples,
        setup.method,
        drift=drift,
    )
    new = {n: v for n, v in vectors.items() if PREFIX + n not in update.index}
    for name, value in vectors.items():
        if name in new:  # its own attributes, which nobody trains
            continue
        moved = value.copy()
        moved[update.index[PREFIX + name].ids] += update.rows[PREFIX + name]
        new[name] = moved
    for name, value in update.personal.values.items():
        new[name] = value[np.searchsorted(clients, owner)]
    rows = {t: update.rows[t] for t in shared.tables}
    index = {t: update.index[t] for t in shared.tables}
    update = replace(update, rows=rows, index=index)
    if drift is None:
        return update, Personal(new, personal.own)
    update, own = controlled(update, drift, personal.own, setup.method.phases[-1])
    return update, Personal(new, own)
