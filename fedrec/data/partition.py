"""Who is a client: each user, each merchant, or synthetic groups of users."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fedrec import rng
from fedrec.config import Config
from fedrec.data.interactions import Dataset, Truth
from fedrec.data.split import from_latest
from fedrec.errors import DataError


@dataclass(frozen=True, eq=False)
class Partition:
    """A data set whose every user belongs to exactly one client.

    Attributes:
        dataset: the data set; its users may be renumbered (see `partition`).
        client_of_user: int64 [U], the client of each user of `dataset`.
        num_clients: C.
        names: the C names of the clients.
    """

    dataset: Dataset
    client_of_user: NDArray[np.int64]
    num_clients: int
    names: tuple[str, ...]


def partition(dataset: Dataset, config: Config) -> Partition:
    """Assign users to clients by `clients.unit`.

    "user": every user is a client.  "merchant": every merchant is a client, and
    a user who shops with several becomes one local user of each, with the id
    ``user@merchant``, because merchants neither see nor link each other's
    customers.  "dirichlet": see `dirichlet_groups`.

    Args:
        dataset: cleaned; for merchants, cleaned per merchant.
        config: its `clients` section, and `split.seed` for "dirichlet".

    Raises:
        DataError: if the data has no merchants, or fewer users than clients.
    """
    if config.clients.unit == "merchant":
        return by_merchant(dataset)
    if config.clients.unit == "dirichlet":
        clients, alpha = config.clients.num, config.clients.alpha
        groups = dirichlet_groups(dataset, clients, alpha, config.split.seed)
        return Partition(dataset, groups, clients, tuple(f"group-{c}" for c in range(clients)))
    users = dataset.num_users
    return Partition(dataset, np.arange(users), users, tuple(map(str, dataset.users.ids)))


def by_merchant(dataset: Dataset) -> Partition:
    """Make every merchant a client and every (merchant, user) pair a local user.

    Local users are numbered by merchant, then by user.

    Raises:
        DataError: if the data has no merchants.
    """
    rows = dataset.interactions
    if rows.merchant is None or dataset.merchants is None:
        raise DataError(
            f"clients.unit = 'merchant' needs data with merchants, which {dataset.name!r} does "
            f"not have. Use complete-journey or marketplace, or name data.merchant_column."
        )
    key = rows.merchant.astype(np.int64) * dataset.num_users + rows.user
    pairs, local = np.unique(key, return_inverse=True)
    merchant, user = np.divmod(pairs, dataset.num_users)
    users = dataset.users.take(user)
    shops = dataset.merchants.ids[merchant]
    ids = np.array([f"{u}@{m}" for u, m in zip(users.ids, shops, strict=True)], dtype=object)
    truth = dataset.truth and Truth(
        dataset.truth.user_vectors[user], dataset.truth.item_vectors, dataset.truth.item_bias
    )
    keyed = replace(
        dataset,
        interactions=replace(rows, user=local.astype(np.int32)),
        users=replace(users, ids=ids),
        truth=truth,
    )
    names = tuple(map(str, dataset.merchants.ids))
    return Partition(keyed, merchant, len(names), names)


def dirichlet_groups(dataset: Dataset, clients: int, alpha: float, seed: int) -> NDArray[np.int64]:
    """Group users into clients of equal size and unlike taste.

    The construction of Hsu et al. 2019 ("Measuring the effects of non-identical
    data distribution for federated visual classification"), with users in the
    place of images: each client draws its mixture of labels from
    Dirichlet(alpha * prior), then draws users label by label without
    replacement.  A user's label is the item group that the user favours most
    against the average user (`favourite_group`).

    Args:
        dataset: cleaned.
        clients: C, the number of clients.
        alpha: concentration; small values make unlike clients.
        seed: of the draws.

    Returns:
        int64 [U], the client of each user.

    Raises:
        DataError: if there are fewer users than clients.
    """
    users = dataset.num_users
    if users < clients:
        raise DataError(
            f"clients.num = {clients} groups need at least as many users; "
            f"{dataset.name!r} has {users}. Set clients.num lower."
        )
    label = favourite_group(dataset)
    counts = np.bincount(label)
    keys = rng.keys(seed, 0, np.arange(users), rng.Purpose.PARTITION)
    shuffled = np.lexsort((keys, label))  # users by label, in random order within
    start = np.cumsum(counts) - counts
    taken = np.zeros_like(counts)
    group = np.empty(users, dtype=np.int64)
    for client in range(clients):
        generator = rng.generator(seed, 1, client, rng.Purpose.PARTITION)
        mixture = generator.dirichlet(alpha * np.maximum(counts / users, 1e-9) * len(counts))
        need = users // clients + (client < users % clients)
        wanted = _fill(need, mixture, counts - taken, generator)
        for g in np.flatnonzero(wanted):
            first = start[g] + taken[g]
            group[shuffled[first : first + wanted[g]]] = client
        taken += wanted
    return group


def _fill(
    need: int,
    mixture: NDArray[np.float64],
    left: NDArray[np.int64],
    generator: np.random.Generator,
) -> NDArray[np.int64]:
    """Draw `need` users over labels by `mixture`, never more than are `left`."""
    wanted = np.zeros_like(left)
    while need > 0:
        weights = np.where(left > wanted, np.nan_to_num(mixture), 0.0)
        if weights.sum() <= 0:  # the mixture's labels are exhausted: take what there is
            weights = np.maximum(left - wanted, 0).astype(np.float64)
        draw = generator.multinomial(need, weights / weights.sum())
        draw = np.minimum(draw, left - wanted)
        wanted += draw
        need -= int(draw.sum())
    return wanted


def favourite_group(dataset: Dataset) -> NDArray[np.int64]:
    """Return the item group that each user favours most against the average.

    Groups are the values of the first tags or category attribute with at most
    100 values; without one, ten groups of items by popularity.  Only the earlier
    half of a history counts, so that what leave-last-out holds out has no part
    in who trains with whom.

    Args:
        dataset: cleaned.

    Returns:
        int64 [U], labels from 0.
    """
    rows = dataset.interactions
    place, length = from_latest(rows)
    early = rows.take((place >= (length + 1) // 2) | (length < 3))
    member = _item_groups(dataset, early.item)
    favour = np.zeros((dataset.num_users, member.shape[1]))
    for group in range(member.shape[1]):
        weights = member[early.item, group]
        favour[:, group] = np.bincount(early.user, weights, minlength=dataset.num_users)
    share = favour / np.maximum(favour.sum(axis=1, keepdims=True), 1e-12)
    average = np.maximum(share.mean(axis=0), 1e-12)
    _, label = np.unique(np.argmax(share / np.sqrt(average), axis=1), return_inverse=True)
    return label.astype(np.int64)


def _item_groups(dataset: Dataset, seen: NDArray[np.int32]) -> NDArray[np.float64]:
    for attribute in dataset.items.attributes.values():
        if attribute.kind == "tags" and 2 <= len(attribute.vocabulary) <= 100:
            tags = attribute.values.astype(np.float64)
            return tags / np.maximum(tags.sum(axis=1, keepdims=True), 1.0)
        if attribute.kind == "category" and 2 <= len(attribute.vocabulary) <= 100:
            return (attribute.values[:, None] == np.arange(len(attribute.vocabulary))).astype(
                np.float64
            )
    popularity = np.bincount(seen, minlength=dataset.num_items)
    rank = np.argsort(np.argsort(-popularity, kind="stable"), kind="stable")
    return (rank[:, None] * 10 // dataset.num_items == np.arange(10)).astype(np.float64)
