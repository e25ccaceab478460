"""A graph of users, from the similarity of what their clients have made of the tables.

Zhang et al., "GPFedRec: Graph-guided personalization for federated recommendation"
(KDD 2024): the server compares the clients' item tables, joins each client with those
that are more similar to it than usual, and gives it the mean table of its neighbours,
towards which it is pulled in the next round.

A client's table is what the server sent plus the few rows that the client changed, so
no table of a client is ever written out: with received rows q and changes d_u,
``<t_u, t_v> = <q, q> + <q, d_u> + <q, d_v> + <d_u, d_v>``.  Products of changes are taken
item by item, among the clients that changed it; by TensorFlow, which is quick with small
products, where a BLAS with threads may take fifty times as long.  Items that many clients
changed are multiplied together, as if all had: finding the clients would take longer.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from fedrec.params import Guides, Shared
from fedrec.robust.updates import Updates

COMMON = 0.25  # share of clients from which on an item's products are taken of all of them
COMMON_MEANS = 0.5  # and its means
GROUP = 64  # items that are multiplied together


def similarities(updates: Updates, shared: Shared) -> NDArray[np.float32]:
    """Return the cosine similarities of the clients' tables, float32 [C, C].

    The paper takes the cosine similarity; the published code compares cosine
    distances as if they were similarities, and so joins each client with those that
    are least like it.  Here it is as in the paper.

    Args:
        updates: of C clients, each a change of the tables that it received.
        shared: what the clients received.
    """
    received = side_by_side(updates, shared)
    count = len(updates.clients)
    with_received = np.einsum("td,td->t", updates.rows, received[updates.ids])
    along = np.bincount(updates.client, with_received, count)
    inner = np.zeros((count, count), np.float32)
    common, others = by_item(updates, COMMON)
    for group in common:
        block = _block(updates, group)
        inner += block @ block.T  # which numpy knows to be symmetric: half of the products
    for clients, places in others:
        rows = updates.rows[places]
        products = tf.matmul(rows, rows, transpose_b=True).numpy()
        inner[clients[:, None], clients] += products
    whole = float((received.astype(np.float64) ** 2).sum())
    inner += (whole + along[:, None] + along).astype(np.float32)
    norm = np.sqrt(np.maximum(np.diag(inner), np.finfo(np.float32).tiny))
    result: NDArray[np.float32] = inner / (norm[:, None] * norm)
    return result


def neighbours(similarity: NDArray[np.float32], factor: float) -> NDArray[np.bool_]:
    """Return who is a neighbour of whom, bool [C, C]: row u marks the neighbours of client u.

    Neighbours of a client are all whose similarity to it is above `factor` times the
    mean of its similarities, alike in weight; itself too, as nobody is more like it.
    Where nobody is above, it is its only neighbour.

    Args:
        similarity: float32 [C, C].
        factor: of the mean.
    """
    limit = factor * similarity.mean(1, dtype=np.float64)
    joined = similarity > limit[:, None]
    alone = np.flatnonzero(~joined.any(1))
    joined[alone, alone] = True
    return joined


def guides_of(updates: Updates, shared: Shared, joined: NDArray[np.bool_]) -> Guides:
    """Return the mean of the neighbours' tables, in the rows that each client has changed.

    Args:
        updates: of C clients.
        shared: what they received.
        joined: bool [C, C], the neighbours of each, one or more.
    """
    means = np.empty_like(updates.rows)
    common, others = by_item(updates, COMMON_MEANS)
    for clients, places in others:
        of_these = joined.take(clients, 0).take(clients, 1).astype(np.float32)
        means[places] = tf.matmul(of_these, updates.rows[places]).numpy()
    everyone = joined.astype(np.float32) if common else None
    for group in common:
        every = tf.matmul(everyone, _block(updates, group)).numpy()
        every = every.reshape(len(joined), len(group), -1)
        for number, (clients, places) in enumerate(group):
            means[places] = every[clients, number]
    means /= joined.sum(1, dtype=np.float32)[updates.client, None]
    means += side_by_side(updates, shared)[updates.ids]
    rows, at = {}, 0
    for name, width in updates.widths.items():
        rows[name] = np.ascontiguousarray(means[:, at : at + width])
        at += width
    return Guides(updates.clients, updates.client, updates.ids, rows)


Item = tuple[NDArray[np.int64], NDArray[np.int64]]


def by_item(updates: Updates, share: float) -> tuple[list[list[Item]], list[Item]]:
    """Return, for each item that anyone changed, the clients that did (positions), and where.

    Args:
        updates: of C clients.
        share: of the clients, from which on an item is common.

    Returns:
        Groups of common items; and all other items.
    """
    order = np.argsort(updates.ids, kind="stable")
    ends = np.cumsum(np.bincount(updates.ids, minlength=updates.num_items))
    found = [(updates.client[p], p) for p in np.split(order, ends[:-1]) if len(p)]
    least = share * len(updates.clients)
    common = [item for item in found if len(item[1]) > least]
    groups = [common[at : at + GROUP] for at in range(0, len(common), GROUP)]
    return groups, [item for item in found if len(item[1]) <= least]


def _block(updates: Updates, group: list[Item]) -> NDArray[np.float32]:
    """Return the changes of some items side by side, 0 where a client has none, [C, n * D]."""
    width = updates.rows.shape[1]
    block = np.zeros((len(updates.clients), len(group), width), np.float32)
    for number, (clients, places) in enumerate(group):
        block[clients, number] = updates.rows[places]
    return block.reshape(len(block), -1)


def side_by_side(updates: Updates, shared: Shared) -> NDArray[np.float32]:
    """Return the tables that the clients received, in the order of the updates' columns."""
    tables = [shared.tables[name].reshape(updates.num_items, -1) for name in updates.widths]
    return np.concatenate(tables, 1)
