"""What a client scores with: personal parameters derived anew, or a table of its own.

Closed-form users are solved for the received table, and those of FedRecon are
reconstructed from all training interactions of the client.  With `evaluate.table =
"personalised"` a client first trains on its own interactions as it would in the next
round, from the latest table, and scores with the rows, weights and personal parameters
that this leaves.  Where all clients train in all rounds this is exactly what they hold
after that round, before the server averages; it also serves clients that were not
drawn for long, and no client has to keep rows between rounds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from fedrec.data.population import expand
from fedrec.params import Personal, Shared
from fedrec.training.closed_form import solve_users
from fedrec.training.cohort import CohortUpdate
from fedrec.training.control import without_controls
from fedrec.training.device import train_in_parts
from fedrec.training.node import (
    Setup,
    init_personal,
    personal_users,
    train_block,
    training_blocks,
)
from fedrec.training.scoring import Scorer, compile_score, fixed_tables, histories, make_scorer

_TABLE_BYTES = 64 << 20  # tables of their own that are scored at once


def client_scorer(
    setup: Setup,
    shared: Shared,
    personal: Personal,
    clients: NDArray[np.int64],
    round_number: int,
) -> Scorer:
    """Return a scorer over the users of some clients.

    Args:
        setup: the prepared configuration.
        shared: what the server sent.
        personal: stacked like `personal_users(setup, clients)`.
        clients: int64 [C], ascending.
        round_number: the round that `shared` comes from, from 0; a client that trains
            before it scores draws the samples of the round after it.

    Returns:
        A function from local users int64 [b] to float32 [b, I].
    """
    if setup.method.controls:  # which score nothing
        shared, personal = without_controls(shared)[0], Personal(personal.values)
    if setup.config.evaluate.table == "personalised":
        return _tuned_scorer(setup, shared, personal, clients, round_number + 1)
    users = personal_users(setup, clients)
    if setup.method.before_scoring:
        own = reconstruct(setup, shared, clients, round_number + 1)
    else:
        own = derive_personal(setup, shared, personal, users)
    return make_scorer(setup.model, shared, own, users, setup.population)


def derive_personal(
    setup: Setup, shared: Shared, personal: Personal, users: NDArray[np.int64]
) -> Personal:
    """Return personal parameters as they follow from `shared`, where a method derives them.

    Closed-form methods solve them anew on the device before scoring; all others
    keep what local training left.
    """
    if not setup.method.personal_is_solved:
        return personal
    population = setup.population
    at = expand(population.indptr, users)
    owner = np.repeat(
        np.arange(len(users)), population.indptr[users + 1] - population.indptr[users]
    )
    vectors = solve_users(
        shared.tables["item"],
        owner,
        population.items[at].astype(np.int64),
        len(users),
        alpha=setup.method.sampling.alpha,
        ridge=setup.method.ridge,
    )
    return Personal({"user": vectors})


def reconstruct(
    setup: Setup,
    shared: Shared,
    clients: NDArray[np.int64],
    round_number: int,
    start: Personal | None = None,
) -> Personal:
    """Return personal parameters reconstructed from all training interactions of clients.

    Args:
        setup: the prepared configuration.
        shared: what the server sent.
        clients: int64 [C], ascending.
        round_number: whose samples are drawn.
        start: what they start from, stacked likewise; None: initial parameters.

    Returns:
        Stacked like `personal_users(setup, clients)`; of clients without interactions
        what they start from.
    """
    method = replace(setup.method, phases=setup.method.before_scoring, fresh=start is None)
    only = replace(setup, method=method)
    users, start = personal_users(setup, clients), start or init_personal(setup, clients)
    values = {name: value.copy() for name, value in start.values.items()}

    def train(block: NDArray[np.int64]) -> tuple[CohortUpdate, Personal]:
        own = start.take(np.searchsorted(users, personal_users(setup, block)))
        return train_block(only, shared, own, block, round_number)

    for block, (_, new) in train_in_parts(training_blocks(only, clients), train):
        mine = np.searchsorted(users, personal_users(setup, block))
        for name, value in new.values.items():
            values[name][mine] = value
    return Personal(values)


def _tuned_scorer(
    setup: Setup,
    shared: Shared,
    personal: Personal,
    clients: NDArray[np.int64],
    round_number: int,
) -> Scorer:
    """Score each client (of one user) with tables that it trains where it is scored."""
    run = compile_score(setup.model, own_rows=True)
    owner = setup.population.client_of_user
    step = max(1, _TABLE_BYTES // max(1, shared.num_bytes))

    def score(wanted: NDArray[np.int64]) -> NDArray[np.float32]:
        parts = []
        for at in range(0, len(wanted), step):
            users = wanted[at : at + step]
            block = owner[users]
            own = personal.take(np.searchsorted(clients, block))
            update, new = train_block(setup, shared, own, block, round_number)
            weights = {n: v + update.weights[n] for n, v in shared.weights.items()}
            parts.append(
                run(
                    _constants(weights),
                    _constants(new.values),
                    _constants(own_tables(shared, update)),
                    fixed_tables(setup.model, shared),
                    tf.constant(histories(setup.population, users, setup.model)),
                ).numpy()
            )
        return np.concatenate(parts)

    return score


def own_tables(shared: Shared, update: CohortUpdate) -> dict[str, NDArray[np.float32]]:
    """Return the table of each client, [C, I, d]: the shared one with its own changes.

    Args:
        shared: what the server sent.
        update: of C clients.
    """
    tables = {}
    for name, value in shared.tables.items():
        index = update.index[name]
        own = np.tile(value, (index.num_clients, *[1] * value.ndim))
        own[index.client, index.ids] += update.rows[name]
        tables[name] = own
    return tables


def _constants(arrays: Mapping[str, NDArray]) -> dict[str, tf.Tensor]:
    return {name: tf.constant(value) for name, value in arrays.items()}
