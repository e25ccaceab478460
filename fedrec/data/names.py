"""Identifiers that follow from their number, made when they are asked for.

A list of five million Python strings takes about 600 MB; these take nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Numbered:
    """The names "word-1" to "word-N", read like an object array [N].

    Attributes:
        word: what all of them begin with.
        number: N.
    """

    word: str
    number: int

    def __len__(self) -> int:
        return self.number

    def __iter__(self) -> Iterator[str]:
        return (f"{self.word}-{n}" for n in range(1, self.number + 1))

    def __getitem__(self, index: Any) -> Any:
        """Return one name, or an object array of those that a slice or an index array takes."""
        chosen = np.arange(self.number)[index]
        if np.ndim(chosen) == 0:
            return f"{self.word}-{chosen + 1}"
        return np.array([f"{self.word}-{n + 1}" for n in chosen.tolist()], dtype=object)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray:
        return np.array(list(self), dtype=object if dtype is None else dtype)

    def astype(self, dtype: Any) -> NDArray:
        """Return all of them as an array of a type."""
        return np.asarray(self).astype(dtype)


@dataclass(frozen=True, eq=False)
class Packed:
    """Names that lie one after the other in a (mapped) array, read like an object array [N].

    Attributes:
        text: uint8, all names in UTF-8.
        ends: int64 [N], where each ends.
    """

    text: NDArray[np.uint8]
    ends: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.ends)

    def __iter__(self) -> Iterator[str]:
        return (self._name(n) for n in range(len(self.ends)))

    def __getitem__(self, index: Any) -> Any:
        """Return one name, or an object array of those that a slice or an index array takes."""
        chosen = np.arange(len(self.ends))[index]
        if np.ndim(chosen) == 0:
            return self._name(int(chosen))
        return np.array([self._name(n) for n in chosen.tolist()], dtype=object)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray:
        return np.array(list(self), dtype=object if dtype is None else dtype)

    def astype(self, dtype: Any) -> NDArray:
        """Return all of them as an array of a type."""
        return np.asarray(self).astype(dtype)

    def _name(self, number: int) -> str:
        first = int(self.ends[number - 1]) if number else 0
        return self.text[first : int(self.ends[number])].tobytes().decode()


def pack(names: Sequence[str] | NDArray) -> Packed:
    """Put names one after the other."""
    raw = [str(name).encode() for name in names]
    ends = np.cumsum([len(word) for word in raw], dtype=np.int64)
    return Packed(np.frombuffer(b"".join(raw), np.uint8), ends)
