"""The first session of a round with few rows: which rows the sum is to have.

Every client sends one vector over all rows of all entities.

* `secure.rows = "threshold"`: 1 for a row that it touches, 0 for the others.  The sum is
  the number of clients at each row.
* `secure.rows = "union"`: a fresh uniform element of Z_{2^32} for a row that it touches,
  from the operating system, and 0 for the others.  The sum of one or more of them is
  exactly uniform, whatever their number, so it says whether anyone touched the row and
  nothing more.  With a probability of 2**-32 it is zero all the same, and a touched row
  is left out of the round.  Non-zero elements of a prime field, the usual choice, need
  arithmetic of their own, and the chance that their sum is zero depends on how many they
  are: none for one, 1 / (p - 1) for two.

With `compress.rows` only rows that will be sent count, and which these are is known after
training alone: a client then trains for the first session, takes the row numbers and
throws the rest away, and trains again for the second.  That doubles its training; nothing
is kept in between.  Training with the same start and draws gives the same rows, up to
rounding errors where two rows are as good as equal: such a client counts at a row and
sends another, like one that is lost after the count.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from fedrec.data.batches import draw_samples
from fedrec.params import Personal, Shared
from fedrec.secure import Vector
from fedrec.secure.plan import ring_width
from fedrec.secure.shamir import Entropy
from fedrec.training.compress import top_rows
from fedrec.training.node import Setup, personal_users, train_block, training_blocks
from fedrec.training.rows import RowIndex, entities, find_touched, index_tables
from fedrec.training.secure_update import INDICATORS, Encoded

TWO_SESSIONS = ("union", "threshold")
"""Values of secure.rows that need this session."""

_MODULAR_BITS = 32


def indicator_vector(setup: Setup, shared: Shared, num_clients: int) -> Vector:
    """Describe the vector in which each client says which rows it touches.

    Args:
        setup: the prepared configuration.
        shared: the parameters, for their sizes.
        num_clients: clients in the sum, at most.
    """
    size = sum(entity_sizes(setup, shared).values())
    if setup.config.secure.rows == "union":
        return Vector(INDICATORS, size, _MODULAR_BITS, None)
    return Vector(INDICATORS, size, ring_width(num_clients, 1), 1)


def chosen_rows(setup: Setup, shared: Shared, total: NDArray) -> dict[str, NDArray[np.int64]]:
    """Return entity -> rows that take part, from the sum of the indicators, [m]."""
    section = setup.config.secure
    least = 1 if section.rows == "union" else section.tau
    parts = split_entities(setup, shared, total)
    return {entity: np.flatnonzero(part >= least) for entity, part in parts.items()}


def entity_sizes(setup: Setup, shared: Shared) -> dict[str, int]:
    """Return entity -> number of rows, in the order of the indicators."""
    sizes = {entity: len(shared.tables[table]) for table, entity in entities(setup.model).items()}
    return dict(sorted(sizes.items()))


def split_entities(setup: Setup, shared: Shared, flat: NDArray) -> dict[str, NDArray]:
    """Cut a vector over all rows of all entities, [m], into one for each entity."""
    sizes = entity_sizes(setup, shared)
    if not sizes:  # a model of dense weights alone
        return {}
    ends = np.cumsum(list(sizes.values()))
    return dict(zip(sizes, np.split(flat, ends[:-1]), strict=True))


def indicators(
    setup: Setup,
    shared: Shared,
    personal: Personal | None,
    clients: NDArray[np.int64],
    round_number: int,
    entropy: Entropy = os.urandom,
) -> Iterator[tuple[int, Encoded]]:
    """Say for each client which rows it will send in a round.

    Args:
        setup: the prepared configuration.
        shared: what the server sent.
        personal: as `touched`.
        clients: int64 [C], ascending.
        round_number: the round.
        entropy: source of the elements of "union": the operating system, except in tests.

    Yields:
        (client, {"indicators": unsigned integers [m]}), each client once.
    """
    for client, rows in touched(setup, shared, personal, clients, round_number):
        flat = rows.astype(np.uint64)
        if setup.config.secure.rows == "union":
            places = np.flatnonzero(rows)
            flat[places] = np.frombuffer(entropy(4 * len(places)), "<u4")
        yield client, {INDICATORS: flat}


def touched(
    setup: Setup,
    shared: Shared,
    personal: Personal | None,
    clients: NDArray[np.int64],
    round_number: int,
) -> Iterator[tuple[int, NDArray[np.bool_]]]:
    """Find out for each client which rows it will send in a round.

    Args:
        setup: the prepared configuration.
        shared: what the server sent.
        personal: stacked like `personal_users(setup, clients)`; needed with compress.rows.
        clients: int64 [C], ascending.
        round_number: the round.

    Yields:
        (client, bool [m] over all rows of all entities), each client once.
    """
    sizes, seen = entity_sizes(setup, shared), [np.zeros(0, np.int64)]
    starts = dict(zip(sizes, np.cumsum([0, *sizes.values()])[:-1], strict=True))
    for block in training_blocks(setup, clients):
        seen.append(block)
        if personal is None or not setup.config.compress.rows:
            index = _sampled_rows(setup, shared, block, round_number)
        else:
            index = _largest_rows(setup, shared, personal, clients, block, round_number)
        for at, client in enumerate(block.tolist()):
            flat = np.zeros(sum(sizes.values()), bool)
            for entity, rows in index.items():
                first, last = np.searchsorted(rows.client, (at, at + 1))
                flat[starts[entity] + rows.ids[first:last]] = True
            yield client, flat
    for client in np.setdiff1d(clients, np.concatenate(seen)).tolist():
        yield client, np.zeros(sum(sizes.values()), bool)


def _sampled_rows(
    setup: Setup, shared: Shared, block: NDArray[np.int64], round_number: int
) -> Mapping[str, RowIndex]:
    """Return entity -> rows that training touches, which follow from the samples alone."""
    method, seed = setup.method.at(round_number), setup.config.run.seed
    samples = draw_samples(setup.population, block, seed, round_number, method.sampling)
    if method.statistics is not None:
        return {"item": find_touched(samples, ("item",), setup.population.num_items).index}
    found = index_tables(setup.model, shared, samples)
    return {entity: touched.index for entity, touched in found.items()}


def _largest_rows(
    setup: Setup,
    shared: Shared,
    personal: Personal,
    clients: NDArray[np.int64],
    block: NDArray[np.int64],
    round_number: int,
) -> Mapping[str, RowIndex]:
    """Return entity -> rows that are left of a trained update."""
    mine = np.searchsorted(personal_users(setup, clients), personal_users(setup, block))
    update, _ = train_block(setup, shared, personal.take(mine), block, round_number)
    index = top_rows(update, setup.config.compress.rows).index
    of_table = entities(setup.model)
    return {of_table[table]: rows for table, rows in index.items() if table in of_table}
