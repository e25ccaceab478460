"""A split and partitioned data set, laid out for vectorised training and ranking.

Interactions become compressed rows (CSR) over *local users*.  A local user
belongs to exactly one client: with user clients it is the client, with merchant
clients it is a customer as one merchant knows them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from fedrec.data.funnel import ANY, levels, reached
from fedrec.data.interactions import Catalogue, Interactions, Split
from fedrec.data.partition import Partition

_CHUNK = 1 << 20  # numbers that are looked at at a time, where arrays may be mapped files


@dataclass(frozen=True, eq=False)
class HeldOut:
    """The users that are ranked in one part, and what counts as relevant.

    Attributes:
        users: int64 [E], local users with a held-out item, ascending.
        indptr: int64 [E+1], relevant items of users[e] are items[indptr[e]:indptr[e+1]].
        items: int32 [W], held-out items.
        labels: float32 [W], their rating, or 1 for implicit feedback.
        seen_indptr: int64 [U+1], over all local users.
        seen_items: int32, items that a user has met before and that are not ranked:
            training items, and for the test part also the validation items.
        addresses: int64 [U], as in `Population`.
    """

    users: NDArray[np.int64]
    indptr: NDArray[np.int64]
    items: NDArray[np.int32]
    labels: NDArray[np.float32]
    seen_indptr: NDArray[np.int64]
    seen_items: NDArray[np.int32]
    addresses: NDArray[np.int64] | None = None

    def address(self, users: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return what addresses the draws of some users, int64."""
        return users if self.addresses is None else self.addresses[users]


@dataclass(frozen=True, eq=False)
class Population:
    """All clients with their training interactions and their held-out items.

    Attributes:
        num_items: I.
        num_users: U, local users.
        num_clients: number of clients.
        indptr: int64 [U+1], training rows of local user u.
        items: int32 [T], training items, in the order of time within a user.
        labels: float32 [T], rating, or 1 for implicit feedback.
        client_of_user: int64 [U].
        valid: users ranked in validation.
        test: users ranked in the test.
        split: where all of it comes from.
        levels: int8 [T], how far each training interaction got (`fedrec.data.funnel`); None
            for data without events.
        addresses: int64 [U], what addresses the draws of local users; None: their numbers.
            Merchants that keep their rows count their own users.
        shops: int64 [U], whose customer each local user is, where clients are pooled; None:
            its client's.
    """

    num_items: int
    num_users: int
    num_clients: int
    indptr: NDArray[np.int64]
    items: NDArray[np.int32]
    labels: NDArray[np.float32]
    client_of_user: NDArray[np.int64]
    valid: HeldOut
    test: HeldOut
    split: Split
    levels: NDArray[np.int8] | None = None
    addresses: NDArray[np.int64] | None = None
    shops: NDArray[np.int64] | None = None

    def address(self, users: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return what addresses the draws of some local users, int64."""
        return users if self.addresses is None else self.addresses[users]

    @property
    def shop_of_user(self) -> NDArray[np.int64]:
        """Whose customer each local user is, int64 [U]."""
        return self.client_of_user if self.shops is None else self.shops

    @cached_property
    def sold(self) -> NDArray[np.bool_]:
        """Which items each merchant has training interactions with, bool [merchants, I]."""
        shops = self.shop_of_user
        sells = np.zeros((int(shops.max(initial=-1)) + 1, self.num_items), bool)
        sells[np.repeat(shops, np.diff(self.indptr)), self.items] = True
        return sells

    @cached_property
    def new_items(self) -> NDArray[np.int64]:
        """Items that nobody has a training interaction with, int64, ascending."""
        met = np.zeros(self.num_items, bool)
        met[self.items] = True
        return np.flatnonzero(~met)

    @cached_property
    def catalogue(self) -> Catalogue:
        """The items; where some are held out entirely, nothing is counted or scaled by them."""
        items = self.split.dataset.items
        if self.split.protocol != "cold-items":
            return items
        known = np.ones(self.num_items, bool)
        known[self.new_items] = False
        return replace(items, known=known)

    def held_out(self, part: str) -> HeldOut:
        """Return the part "valid" or "test"."""
        return {"valid": self.valid, "test": self.test}[part]

    def users_of(self, clients: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the local users of `clients` (int64 [C]), ascending, int64."""
        if self.user_clients:
            return clients if (clients[1:] > clients[:-1]).all() else np.unique(clients)
        chosen = np.zeros(self.num_clients, bool)
        chosen[clients] = True
        return np.flatnonzero(chosen[self.client_of_user])

    @cached_property
    def user_clients(self) -> bool:
        """Whether every client is one user, of the same number."""
        if self.num_clients != self.num_users:
            return False
        pieces = ((at, self.client_of_user[at : at + _CHUNK]) for at in _starts(self.num_users))
        return all((piece == np.arange(at, at + len(piece))).all() for at, piece in pieces)

    @property
    def item_counts(self) -> NDArray[np.int64]:
        """Training interactions of each item, int64 [I]."""
        counts = np.zeros(self.num_items, np.int64)
        for at in _starts(len(self.items)):
            counts += np.bincount(self.items[at : at + _CHUNK], minlength=self.num_items)
        return counts

    @property
    def samples_of_client(self) -> NDArray[np.int64]:
        """Training interactions of each client, int64 [num_clients]."""
        counts = np.diff(self.indptr)
        if self.user_clients:
            return counts
        return np.bincount(self.client_of_user, counts, self.num_clients).astype(np.int64)


def _starts(length: int) -> range:
    return range(0, length, _CHUNK)


def csr(
    users: NDArray, num_users: int, *columns: NDArray
) -> tuple[NDArray[np.int64], list[NDArray]]:
    """Sort columns by user, keeping the order within a user.

    Args:
        users: int [N].
        num_users: U.
        columns: arrays of length N.

    Returns:
        int64 [U+1] row pointers, and the sorted columns.
    """
    order = np.argsort(users, kind="stable")
    indptr = np.zeros(num_users + 1, np.int64)
    np.cumsum(np.bincount(users, minlength=num_users), out=indptr[1:])
    return indptr, [column[order] for column in columns]


def expand(indptr: NDArray[np.int64], rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the positions of all entries of some CSR rows, row by row.

    Args:
        indptr: int64 [U+1].
        rows: int64 [M], rows to list, in this order.

    Returns:
        int64 [sum of the lengths].
    """
    lengths = indptr[rows + 1] - indptr[rows]
    ends = np.cumsum(lengths)
    total = int(ends[-1]) if len(ends) else 0
    return np.arange(total) + np.repeat(indptr[rows] - (ends - lengths), lengths)


def _labels(part: Interactions, explicit: bool) -> NDArray[np.float32]:
    if explicit and part.rating is not None:
        return part.rating.astype(np.float32)
    return np.ones(len(part), np.float32)


def _in_time(part: Interactions) -> Interactions:
    if part.timestamp is None:
        return part
    return part.take(np.argsort(part.timestamp, kind="stable"))


def _held_out(
    part: Interactions, seen: list[Interactions], num_users: int, explicit: bool
) -> HeldOut:
    indptr, (items, labels) = csr(part.user, num_users, part.item, _labels(part, explicit))
    users = np.flatnonzero(np.diff(indptr))
    compact = np.concatenate([indptr[users], indptr[-1:]])
    seen_indptr, (seen_items,) = csr(
        np.concatenate([p.user for p in seen]), num_users, np.concatenate([p.item for p in seen])
    )
    return HeldOut(users, compact, items, labels, seen_indptr, seen_items)


def build_population(
    partition: Partition, split: Split, *, explicit: bool, train_event: str = ANY
) -> Population:
    """Lay a partition and its split out as a population.

    Args:
        partition: clients and their local users.
        split: split of `partition.dataset`.
        explicit: whether labels are ratings.
        train_event: only interactions that got this far are trained on; the others of the
            training part still count as seen, so that what is ranked stays the same.

    Returns:
        The population.

    Raises:
        DataError: if an event is asked of data without events.
    """
    num_users, num_items = split.dataset.num_users, split.dataset.num_items
    train, valid, test = (_in_time(split.part(p)) for p in ("train", "valid", "test"))
    trained = train.take(reached(train, train_event, split.dataset.name))
    far = levels(trained)
    columns: list[NDArray] = [trained.item, _labels(trained, explicit)]
    columns += [] if far is None else [far]
    indptr, (items, labels, *rest) = csr(trained.user, num_users, *columns)
    return Population(
        num_items=num_items,
        num_users=num_users,
        num_clients=partition.num_clients,
        indptr=indptr,
        items=items.astype(np.int32),
        labels=labels,
        client_of_user=partition.client_of_user,
        valid=_held_out(valid, [train], num_users, explicit),
        test=_held_out(test, [train, valid], num_users, explicit),
        split=split,
        levels=rest[0] if rest else None,
    )
