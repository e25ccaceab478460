"""What a data set is: interactions, and typed attributes of items and users."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from fedrec.errors import DataError


@dataclass(frozen=True, eq=False)
class Attribute:
    """One attribute of all entities of a kind; exactly one form is filled.

    Attributes:
        kind: "category", "number", "tags" (several categories each) or "text".
        values: for "category" int32 [N] codes (-1 missing), for "number"
            float32 [N] (NaN missing), for "tags" bool [N, V], for "text" object [N].
        vocabulary: names of the codes or tags; empty for "number" and "text".
    """

    kind: str
    values: NDArray
    vocabulary: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Catalogue:
    """Entities of one kind (items, users or merchants) with their attributes.

    Attributes:
        ids: object [N], the identifiers of the source, as strings; or what reads like it.
        attributes: name -> Attribute over the same N entities.
        known: bool [N], the entities that means, scales and common values are taken from;
            None for all.  What is to be met only later decides on no number.
    """

    ids: NDArray
    attributes: dict[str, Attribute] = field(default_factory=dict)
    known: NDArray[np.bool_] | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, index: NDArray[np.int64]) -> Catalogue:
        """Return the entities `index` (int64 [M]) with their attributes."""
        return Catalogue(
            self.ids[index],
            {n: replace(a, values=a.values[index]) for n, a in self.attributes.items()},
            None if self.known is None else self.known[index],
        )


@dataclass(frozen=True, eq=False)
class Interactions:
    """Columns of equal length N; users, items and merchants are numbered from 0.

    Attributes:
        user: int32 [N].
        item: int32 [N].
        rating: float32 [N], or None for implicit feedback.
        timestamp: float64 [N] in seconds, or None if the order of rows is the time.
        merchant: int32 [N], or None.
        event: int8 [N] index into `EVENTS`, or None.
    """

    user: NDArray[np.int32]
    item: NDArray[np.int32]
    rating: NDArray[np.float32] | None = None
    timestamp: NDArray[np.float64] | None = None
    merchant: NDArray[np.int32] | None = None
    event: NDArray[np.int8] | None = None

    def __len__(self) -> int:
        return len(self.user)

    def __post_init__(self) -> None:
        for name, column in self.columns().items():
            if len(column) != len(self.user):
                raise DataError(
                    f"column {name!r} has {len(column)} rows where 'user' has {len(self.user)}"
                )

    def columns(self) -> dict[str, NDArray]:
        """Return the columns that are present, by name."""
        names = ("user", "item", "rating", "timestamp", "merchant", "event")
        return {n: getattr(self, n) for n in names if getattr(self, n) is not None}

    def take(self, index: NDArray) -> Interactions:
        """Return the rows `index` (int64 [M] or bool [N]) of every column."""
        return Interactions(**{name: column[index] for name, column in self.columns().items()})


EVENTS = ("view", "cart", "purchase")


@dataclass(frozen=True, eq=False)
class Truth:
    """The generator's own preferences, known for synthetic data only.

    Attributes:
        user_vectors: float32 [U, f].
        item_vectors: float32 [I, f].
        item_bias: float32 [I].  The true utility of item i for user u is
            ``user_vectors[u] @ item_vectors[i] + item_bias[i]``.
    """

    user_vectors: NDArray[np.float32]
    item_vectors: NDArray[np.float32]
    item_bias: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Dataset:
    """A cleaned data set.

    Attributes:
        name: the name in the registry, or that of the file.
        interactions: the rows.
        items: catalogue of the I items.
        users: profile of the U users.
        merchants: catalogue of the merchants, or None.
        account: what cleaning did, one line a step, nothing dropped silently.
        truth: true preferences (synthetic data only).
    """

    name: str
    interactions: Interactions
    items: Catalogue
    users: Catalogue
    merchants: Catalogue | None = None
    account: tuple[str, ...] = ()
    truth: Truth | None = None

    @property
    def num_users(self) -> int:
        """U, the number of users."""
        return len(self.users)

    @property
    def num_items(self) -> int:
        """I, the number of items."""
        return len(self.items)


@dataclass(frozen=True, eq=False)
class Split:
    """Which interactions may be trained on, and which are held out.

    Attributes:
        dataset: the data set that was split.
        train: int64 [T], rows of `dataset.interactions` for training.
        valid: int64 [V], rows for choosing the round and hyper-parameters.
        test: int64 [W], rows for the reported figures.
        protocol: "leave-last-out", "time", "cold-users" or "cold-items".
        split_hash: first 16 hex digits of SHA-256 over the three parts.
        notes: lines for the reader, e.g. how many users are not evaluated and why.
    """

    dataset: Dataset
    train: NDArray[np.int64]
    valid: NDArray[np.int64]
    test: NDArray[np.int64]
    protocol: str
    split_hash: str
    notes: tuple[str, ...] = ()

    def part(self, name: str) -> Interactions:
        """Return the interactions of "train", "valid" or "test"."""
        return self.dataset.interactions.take(getattr(self, name))
