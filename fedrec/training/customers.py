"""Merchants that train each customer by itself, and send the sum of bounded updates.

Where privacy is that of a customer (`privacy.unit`), a merchant trains its customers as clients,
all in one call of `train_cohort`, has each one's update bounded, and adds them up: the sum is
all that leaves it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from fedrec.config import Config
from fedrec.config_protection import CUSTOMER
from fedrec.data.batches import Samples
from fedrec.errors import ConfigError
from fedrec.models.recommender import Recommender
from fedrec.params import Personal, Shared
from fedrec.training.aggregate import ROW_ID_BYTES
from fedrec.training.cohort import CohortUpdate
from fedrec.training.local import train_cohort
from fedrec.training.rows import RowIndex
from fedrec.training.statistics import PAIR_BYTES, ROW_BYTES, SparseChanges

if TYPE_CHECKING:
    from fedrec.training.node import Setup


def train_customers(
    setup: Setup,
    shared: Shared,
    personal: Personal,
    clients: NDArray[np.int64],
    samples: Samples,
    bounded: Callable[[CohortUpdate], CohortUpdate],
) -> tuple[CohortUpdate, Personal]:
    """Train each customer of some merchants from what was received, and add up by merchant.

    Args:
        setup: the prepared configuration.
        shared: what the server sent.
        personal: stacked like the users of the clients.
        clients: int64 [C], merchants, ascending.
        samples: of the merchants, with the column "user".
        bounded: bounds the updates of customers.

    Returns:
        The sums of bounded updates, on the axis C, and the customers' new personal parameters.
    """
    users = setup.population.users_of(clients)
    owner = np.searchsorted(clients, setup.population.client_of_user[users])
    update = train_cohort(setup.model, shared, personal, by_user(samples, users), setup.method)
    return by_owner(bounded(update), owner, len(clients)), update.personal


def check_customers(config: Config, model: Recommender) -> None:
    """Refuse customers that train by themselves, with a model of which a merchant keeps layers.

    Raises:
        ConfigError: naming the layers and what to change.
    """
    if config.privacy.unit != CUSTOMER:
        return
    personal = model.init_personal(np.zeros(1, np.int64), config.run.seed)
    heads = sorted(set(personal.values) - set(model.personal_vectors))
    if heads:
        raise ConfigError(
            f"privacy.unit = 'customer' with model.name = {config.model.name!r}: "
            f"{', '.join(heads)} would be of a merchant, and each customer trains by itself. Use "
            "model.name = 'mf'"
        )


def by_user(samples: Samples, users: NDArray[np.int64]) -> Samples:
    """Return the samples of merchants as samples of their customers.

    Args:
        samples: with the column "user".
        users: int64 [U], ascending: all whose samples there may be.
    """
    client = np.searchsorted(users, samples.fields["user"])
    order = np.argsort(client, kind="stable")
    return replace(
        samples,
        client=client[order],
        fields={name: column[order] for name, column in samples.fields.items()},
        label=samples.label[order],
        weight=samples.weight[order],
        order=samples.order[order],
        num_clients=len(users),
        touched=None,
        query=None if samples.query is None else samples.query[order],
    )


def by_owner(update: CohortUpdate, owner: NDArray[np.int64], count: int) -> CohortUpdate:
    """Add up the updates of customers by merchant, in float64: rounding would know others.

    Counts and norms of customers become means over a merchant's customers, so that a merchant
    weighs as a client does in what is told of a round.

    Args:
        update: of U customers.
        owner: int64 [U], position of each one's merchant.
        count: C, merchants.

    Returns:
        The updates of C merchants; personal parameters stay those of customers.
    """
    users = np.maximum(np.bincount(owner, minlength=count), 1)
    samples = _add_up(owner, update.samples, count)
    loss = _add_up(owner, update.samples * update.loss, count) / np.maximum(samples, 1e-12)
    told = {name: _add_up(owner, v, count) / users for name, v in update.metrics.items()}
    one_of = (owner, np.arange(len(owner)))
    to_merchant = sp.csr_matrix((np.ones(len(owner)), one_of), (count, len(owner)))
    weights: dict[str, NDArray] = {
        name: (to_merchant @ value.reshape(len(owner), -1)).reshape(count, *value.shape[1:])
        for name, value in update.weights.items()
    }
    found: dict[int, tuple[RowIndex, sp.csr_matrix]] = {}
    for index in update.index.values():  # tables over the same ids share one index
        if id(index) not in found:
            found[id(index)] = _merged(index, owner, count)
    merged = {t: found[id(index)] for t, index in update.index.items()}
    where = {t: index for t, (index, _) in merged.items()}
    rows: Mapping[str, NDArray] = {}
    sent = update.sent
    if isinstance(update.rows, SparseChanges):
        few = {t: (merged[t][1] @ m).tocsr() for t, m in update.rows.sparse.items()}
        rows, sent = SparseChanges(few), _sent_few(few, where, count)
    else:
        rows = {t: merged[t][1] @ update.rows[t] for t in update.rows}
        sent = _sent_whole(rows, where, weights, count)
    whole = replace(update, rows=rows, index=where, weights=weights, sent=sent)
    return replace(whole, samples=samples, loss=loss, metrics=told)


def _add_up(owner: NDArray[np.int64], values: NDArray, count: int) -> NDArray[np.float64]:
    return np.bincount(owner, values, count).astype(np.float64)


def _merged(
    index: RowIndex, owner: NDArray[np.int64], count: int
) -> tuple[RowIndex, sp.csr_matrix]:
    """Return which rows merchants touch, and what adds their customers' rows, [T', T]."""
    key = owner[index.client] * index.num_rows + index.ids
    found, place = np.unique(key, return_inverse=True)
    client, ids = np.divmod(found, index.num_rows)
    shape = (len(found), len(key))
    adder = sp.csr_matrix((np.ones(len(key)), (place, np.arange(len(key)))), shape)
    return RowIndex(client.astype(np.int32), ids, index.num_rows, count), adder


def _sent_few(
    few: dict[str, sp.csr_matrix], index: dict[str, RowIndex], count: int
) -> NDArray[np.float64]:
    """Return the bytes of each merchant's rows of few elements, float64 [C]."""
    total = np.zeros(count)
    for table, matrix in few.items():
        each = ROW_BYTES + PAIR_BYTES * np.diff(matrix.indptr)
        total += np.bincount(index[table].client, each, count)
    return total


def _sent_whole(
    rows: Mapping[str, NDArray],
    where: Mapping[str, RowIndex],
    weights: Mapping[str, NDArray],
    count: int,
) -> NDArray[np.float64]:
    """Return the bytes of each merchant's rows and weights in float32, float64 [C]."""
    total = np.full(count, 4.0 * sum(v[0].size for v in weights.values()))
    for index in {id(one): one for one in where.values()}.values():
        width = sum(rows[t][:1].size for t, one in where.items() if one is index)
        total += np.bincount(index.client, minlength=count) * (ROW_ID_BYTES + 4.0 * width)
    return total
