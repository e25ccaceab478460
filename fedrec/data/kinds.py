"""Identifiers and types of columns that come piece by piece."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fedrec.data.readers import as_words, id_order

if TYPE_CHECKING:
    import pandas as pd


def kind_of(values: pd.Series) -> str:
    """Return the kind of a piece: int, uint, float, flag, date, word, or empty."""
    from pandas.api import types

    if types.is_bool_dtype(values):
        return "flag"
    if types.is_integer_dtype(values):
        return "uint" if types.is_unsigned_integer_dtype(values) else "int"
    if values.isna().all():
        return "empty"
    if types.is_float_dtype(values):
        return "float"
    if types.is_datetime64_any_dtype(values):
        return "date"
    return "flag" if types.infer_dtype(values, skipna=True) == "boolean" else "word"


def forced_type(kinds: Collection[str]) -> str | None:
    """Return the type that all pieces must be read with; None if they agree as they are.

    Args:
        kinds: of the pieces of a column.
    """
    found = set(kinds)
    if len(found) == 1 or (len(found) == 2 and "empty" in found and not found & {"int", "uint"}):
        return None
    if found == {"int", "uint"}:
        return "uint64"
    return "float64" if found <= {"int", "uint", "float", "empty"} else "str"


@dataclass
class Distinct:
    """The distinct identifiers of a column, gathered piece by piece, then numbered.

    `numbered` gives a copy that knows `ids` (object [M], in the order of `encode_ids`)
    and with which `codes` looks up others.
    """

    integers: bool = True
    missing: bool = False
    numbers: NDArray | None = None
    words: set[str] = field(default_factory=set)
    ids: NDArray[np.object_] | None = None
    place: NDArray[np.int32] | None = None
    _index: Any = None

    def add(self, values: pd.Series) -> None:
        """Take in the identifiers of a piece."""
        kind = kind_of(values)
        self.missing |= bool(values.isna().any())
        self.integers &= kind in ("int", "uint")
        if kind in ("int", "uint", "float"):
            new = np.unique(_numbers(values.dropna(), kind))
            self.numbers = new if self.numbers is None else np.union1d(self.numbers, new)
        else:
            self.words.update(as_words(values.drop_duplicates()).dropna())

    def numbered(self) -> Distinct:
        """Put the identifiers in order."""
        import pandas as pd

        if self.numbers is None:
            words = np.array(list(self.words), dtype=object)
            ids = words[id_order(words)]
            return Distinct(ids=ids, _index=pd.Index(ids, dtype=object))
        count = len(self.numbers)
        if self.integers and not self.missing:
            ids = self.numbers.astype(str).astype(object)
            return Distinct(numbers=self.numbers, ids=ids, place=np.arange(count, dtype=np.int32))
        words = as_words(pd.Series(self.numbers)).to_numpy()
        order = id_order(words)
        place = np.empty(count, np.int32)
        place[order] = np.arange(count, dtype=np.int32)
        return Distinct(numbers=self.numbers, ids=words[order], place=place)

    def codes(self, values: pd.Series) -> NDArray[np.int32]:
        """Return the numbers of identifiers, int32 [N]; -1 where one is missing."""
        import pandas as pd

        if self.numbers is None or self.place is None:
            codes, distinct = pd.factorize(values)
            known = self._index.get_indexer(pd.Index(as_words(pd.Series(distinct)), dtype=object))
            place: NDArray[np.int32] = np.append(known, -1).astype(np.int32)
            return place[codes]
        found = np.full(len(values), -1, np.int32)
        present = values.notna().to_numpy()
        numbers = _numbers(values[present], kind_of(values))
        found[present] = self.place[np.searchsorted(self.numbers, numbers)]
        return found


def _numbers(values: pd.Series, kind: str) -> NDArray:
    """Return numbers as encode_ids reads them: integers as int64, others as float64."""
    return values.to_numpy(np.int64 if kind in ("int", "uint") else np.float64)
