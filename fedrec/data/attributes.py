"""Typed attributes of items and users, from the columns that people keep."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fedrec.data.interactions import Attribute
from fedrec.data.readers import as_words, encode_ids

if TYPE_CHECKING:
    import pandas as pd

_MAX_CATEGORIES = 1000
"""A text column with more distinct values than this is text, not a category."""


def to_category(words: Sequence[str | None] | NDArray) -> Attribute:
    """Return a category attribute; None and empty strings are missing (-1)."""
    import pandas as pd

    ids, codes = encode_ids(pd.Series(words, dtype=object))
    return Attribute("category", codes, tuple(ids))


def to_number(values: Sequence[float] | NDArray) -> Attribute:
    """Return a number attribute, float32, NaN where missing."""
    return Attribute("number", np.asarray(values, dtype=np.float32))


def to_tags(lists: Sequence[Sequence[str]]) -> Attribute:
    """Return a tags attribute from one list of tags for each entity."""
    vocabulary = tuple(sorted({tag for tags in lists for tag in tags}))
    place = {tag: column for column, tag in enumerate(vocabulary)}
    values = np.zeros((len(lists), len(vocabulary)), dtype=bool)
    rows = [row for row, tags in enumerate(lists) for _ in tags]
    values[rows, [place[tag] for tags in lists for tag in tags]] = True
    return Attribute("tags", values, vocabulary)


def to_text(words: Sequence[str | None] | NDArray) -> Attribute:
    """Return a text attribute; missing text is the empty string."""
    return Attribute("text", np.array([word or "" for word in words], dtype=object))


def guess_attribute(values: pd.Series) -> Attribute:
    """Type a column of an own file by what it holds.

    Numbers become "number"; strings of which at least a tenth carry a ``|``
    become "tags"; up to 1,000 distinct strings, and fewer than half as many as
    there are rows, become "category"; all else is "text".

    Args:
        values: a column over N entities.

    Returns:
        the attribute over the same N entities.
    """
    import pandas as pd

    boolean = pd.api.types.is_bool_dtype(values)
    if pd.api.types.is_numeric_dtype(values) and not boolean:
        return to_number(values.to_numpy(np.float32, na_value=np.nan))
    words = as_words(values)
    present = words.dropna()
    if len(present) and present.str.contains("|", regex=False).mean() >= 0.1:
        return to_tags([[t.strip() for t in (w or "").split("|") if t.strip()] for w in words])
    distinct = present.nunique()
    if distinct <= _MAX_CATEGORIES and (distinct <= 20 or distinct * 2 < len(present)):
        return to_category(words.to_numpy())
    return to_text(words.to_numpy())
