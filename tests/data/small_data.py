"""Small data sets for the tests of the data room."""

from __future__ import annotations

from typing import Any

import numpy as np

from fedrec.config import Config
from fedrec.data.interactions import Catalogue, Dataset, Interactions


def config(**keys: Any) -> Config:
    """A configuration; section__key=value."""
    return Config().with_({name.replace("__", ".", 1): value for name, value in keys.items()})


def names(word: str, number: int) -> np.ndarray:
    return np.array([f"{word}{n}" for n in range(number)], dtype=object)


def dataset(
    pairs: list[tuple[int, int]],
    time: list[float] | None = None,
    rating: list[float] | None = None,
    merchant: list[int] | None = None,
    event: list[int] | None = None,
    attributes: dict | None = None,
) -> Dataset:
    """A data set of (user, item) pairs; ids are u0, u1, ... and i0, i1, ..."""
    user, item = (np.array(column, dtype=np.int32) for column in zip(*pairs, strict=True))
    rows = Interactions(
        user=user,
        item=item,
        rating=None if rating is None else np.array(rating, dtype=np.float32),
        timestamp=None if time is None else np.array(time, dtype=np.float64),
        merchant=None if merchant is None else np.array(merchant, dtype=np.int32),
        event=None if event is None else np.array(event, dtype=np.int8),
    )
    items = Catalogue(names("i", int(item.max()) + 1), attributes or {})
    merchants = None if merchant is None else Catalogue(names("m", max(merchant) + 1))
    return Dataset("small", rows, items, Catalogue(names("u", int(user.max()) + 1)), merchants)


def rows_of(data: Dataset) -> list[tuple[str, str]]:
    """The (user id, item id) pairs of a data set, in order."""
    rows = data.interactions
    return list(zip(data.users.ids[rows.user], data.items.ids[rows.item], strict=True))
