"""Attributes of items and users as rows of numbers that a model can multiply.

A category is one column for each of its common values and one for all others, tags are
their columns, a number is its standard score and, where some are missing, a flag; text
is hashed word and character n-grams, or what a sentence model of the user makes of it.
Vectors of another source (of images, say) are read from a file and matched by id.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedrec.config import Config
from fedrec.data.interactions import Attribute, Catalogue
from fedrec.errors import ModelError, nearest

Matrix = NDArray[np.float32]
HASH = "hash"
_RARE = 3
"""A value that fewer entities than this have is one of "all others"."""


@dataclass(frozen=True)
class Options:
    """How attributes become numbers.

    Attributes:
        items: names of item attributes, separated by spaces, or "all".
        users: the same of users.
        text: "hash", or file.py:function that gets a list of strings and returns
            float [N, t].
        width: columns of hashed text.
        most: the columns that a category or tags may take.
        vectors: file of item vectors; empty: none.
    """

    items: str = "all"
    users: str = "all"
    text: str = HASH
    width: int = 64
    most: int = 100
    vectors: str = ""


@dataclass(frozen=True, eq=False)
class Features:
    """Rows of numbers for N entities.

    Attributes:
        values: float32 [N, A].
        fields: name of each attribute -> its first column and the one after its last.
    """

    values: Matrix
    fields: dict[str, tuple[int, int]]

    @property
    def width(self) -> int:
        """A, the number of columns."""
        return self.values.shape[1]


def feature_options(config: Config) -> Options:
    """Return how `config` wants attributes as numbers."""
    model = config.model
    return Options(
        model.item_attributes,
        model.user_attributes,
        model.text,
        model.text_width,
        model.most_values,
        config.data.item_vectors,
    )


def item_features(items: Catalogue, options: Options) -> Features:
    """Return the features of items, of their attributes and of the file of vectors.

    Raises:
        ModelError: for unknown attributes, a source of text that fails, or a file that
            does not fit the items.
    """
    parts = _of_attributes(items, options.items, "model.item_attributes", options)
    if options.vectors:
        parts["vectors"] = read_vectors(Path(options.vectors).expanduser(), items)
    return _joined(parts, len(items))


def user_features(users: Catalogue, options: Options) -> Features:
    """Return the features of users, which are for their own device.

    Raises:
        ModelError: as `item_features`.
    """
    parts = _of_attributes(users, options.users, "model.user_attributes", options)
    return _joined(parts, len(users))


def _joined(parts: dict[str, Matrix], number: int) -> Features:
    fields, at = {}, 0
    for name, value in parts.items():
        fields[name] = (at, at + value.shape[1])
        at += value.shape[1]
    return Features(np.concatenate([np.zeros((number, 0), np.float32), *parts.values()], 1), fields)


def _of_attributes(who: Catalogue, names: str, key: str, options: Options) -> dict[str, Matrix]:
    wanted = list(who.attributes) if names == "all" else names.replace(",", " ").split()
    for name in wanted:
        if name not in who.attributes:
            known = ", ".join(who.attributes) or "none"
            raise ModelError(
                f"{key} names {name!r}, and the data have {known}.{nearest(name, who.attributes)}"
            )
    mask = _known(who)
    parts = {name: _encoded(name, who.attributes[name], options, mask) for name in wanted}
    return {name: value for name, value in parts.items() if value.shape[1]}


def _known(who: Catalogue) -> NDArray[np.bool_]:
    return np.ones(len(who), bool) if who.known is None else who.known


def _encoded(name: str, attribute: Attribute, options: Options, known: NDArray[np.bool_]) -> Matrix:
    if attribute.kind == "category":
        return one_hot(attribute.values, len(attribute.vocabulary), options.most, known)
    if attribute.kind == "tags":
        return many_hot(attribute.values, options.most, known)
    if attribute.kind == "number":
        return standard_score(attribute.values, known)
    words = [str(text) for text in attribute.values]
    if options.text == HASH:
        return hashed_text(words, options.width)
    return _embedded(name, words, options.text)


def one_hot(
    codes: NDArray[np.int32], number: int, most: int, known: NDArray[np.bool_] | None = None
) -> Matrix:
    """Return a column for each common value and, if there are others, one for these.

    Args:
        codes: int32 [N], -1 missing (a row of zeros).
        number: how many values there are.
        most: columns, at most.
        known: bool [N], where common values are counted; None: everywhere.
    """
    return many_hot(indicators(codes, number), most, known)


def indicators(codes: NDArray[np.int32], number: int) -> NDArray[np.bool_]:
    """Return which of `number` values each of N codes is, bool [N, number]; -1 is none."""
    table = np.zeros((len(codes), number), bool)
    given = np.flatnonzero(codes >= 0)
    table[given, codes[given]] = True
    return table


def many_hot(table: NDArray[np.bool_], most: int, known: NDArray[np.bool_] | None = None) -> Matrix:
    """Return a column for each common tag and, if there are others, one for these.

    A tag that no known entity has is in no column: nothing could be learnt of it.

    Args:
        table: bool [N, V].
        most: columns, at most.
        known: bool [N], where common tags are counted; None: everywhere.
    """
    count = np.count_nonzero(table if known is None else table[known], 0)
    order = np.argsort(-count, kind="stable")
    common = np.sort(order[:most][count[order[:most]] >= _RARE])
    if np.count_nonzero(count) > len(common) == most:  # room for the others
        common = np.sort(order[: most - 1])
    rest = np.setdiff1d(np.flatnonzero(count), common)
    others = table[:, rest].any(1).reshape(-1, 1)[:, : len(rest)]
    columns = [table[:, common], others]
    return np.concatenate(columns, 1).astype(np.float32)


def standard_score(values: NDArray[np.float32], known: NDArray[np.bool_] | None = None) -> Matrix:
    """Return standard scores, 0 where missing, and a flag of the missing if there are any.

    Scores are cut off at 5: a misprint of a price is no reason to follow it.

    Args:
        values: float32 [N], NaN or infinite where missing.
        known: bool [N], whose mean and deviation are taken; None: all.
    """
    number = values.astype(np.float64)
    missing: NDArray[np.bool_] = ~np.isfinite(number)
    known = np.ones(len(number), bool) if known is None else known
    real = number[~missing & known]
    mean, scale = (real.mean(), real.std()) if len(real) else (0.0, 0.0)
    score = np.where(missing, 0.0, (np.where(missing, mean, number) - mean) / (scale or 1.0))
    flag = missing.reshape(-1, 1)[:, : int((missing & known).any())]
    columns = [np.clip(score, -5.0, 5.0)[:, None], flag]
    return np.concatenate(columns, 1).astype(np.float32)


def ngrams(text: str) -> Iterator[str]:
    """Yield the words of a text and the three-letter pieces of each, marked at its ends."""
    for word in re.findall(r"\w+", text.lower()):
        yield word
        marked = f"<{word}>"
        yield from (f"#{marked[i : i + 3]}" for i in range(len(marked) - 2))


def hashed_text(texts: list[str], width: int) -> Matrix:
    """Return signed hashed n-grams of texts, each of length 1 (Weinberger et al., ICML 2009).

    Args:
        texts: N texts; an empty one is a row of zeros.
        width: columns.
    """
    known: dict[str, tuple[int, float]] = {}
    out = np.zeros((len(texts), width), np.float32)
    for row, text in enumerate(texts):
        for gram in ngrams(text):
            if gram not in known:
                word = int.from_bytes(hashlib.blake2b(gram.encode(), digest_size=8).digest(), "big")
                known[gram] = (word // 2 % width, 1.0 - 2.0 * (word % 2))
            column, sign = known[gram]
            out[row, column] += sign
    norm = np.linalg.norm(out, axis=1, keepdims=True)
    return (out / np.where(norm > 0, norm, 1.0)).astype(np.float32)


def _embedded(name: str, texts: list[str], source: str) -> Matrix:
    from fedrec.models.build import from_source

    embed: Callable[[list[str]], Any] = from_source(source, "model.text")
    found = np.asarray(embed(texts))
    what = f"model.text = {source!r} returned, for the attribute {name!r},"
    if found.ndim != 2 or len(found) != len(texts) or not np.issubdtype(found.dtype, np.number):
        raise ModelError(
            f"{what} {found.dtype} of the shape {found.shape}; expected numbers [{len(texts)}, t], "
            "a vector for each text"
        )
    if not np.isfinite(found).all():
        raise ModelError(f"{what} numbers that are not finite")
    return found.astype(np.float32)


def read_vectors(path: Path, items: Catalogue) -> Matrix:
    """Return the vectors of a file in the order of the items, of mean square length 1.

    Items that are not in the file have zeros, and a flag if there are any.  The mean length,
    and whether there are any, is that of known items.

    Args:
        path: .npz with "ids" [M] and "vectors" [M, w]; .npy [M, w] with the ids, one a
            line, in a file of the same name ending in .ids.txt; or .parquet with a
            column "id", and numbers, or one column of lists.
        items: the catalogue.

    Raises:
        ModelError: if the file cannot be read, or fits no item.
    """
    ids, vectors = _ids_and_vectors(path)
    if vectors.ndim != 2 or len(ids) != len(vectors) or not np.isfinite(vectors).all():
        raise ModelError(
            f"data.item_vectors: {path} has {len(ids)} ids and vectors of the shape "
            f"{vectors.shape}; expected finite numbers [M, w], a row for each id"
        )
    place = {word: row for row, word in enumerate(ids)}
    rows = np.array([place.get(str(word), -1) for word in items.ids])
    missing = rows < 0
    if missing.all():
        raise ModelError(
            f"data.item_vectors: none of the ids in {path} is an item; the first are "
            f"{ids[:3]} there, and {[str(i) for i in items.ids[:3]]} in the data"
        )
    found = np.where(missing[:, None], 0.0, vectors[rows]).astype(np.float64)
    known, there = _known(items), found[~missing & _known(items)]
    found /= np.sqrt((there**2).sum(1).mean()) if there.any() else 1.0
    flag = missing[:, None][:, : int((missing & known).any())]
    return np.concatenate([found, flag], 1).astype(np.float32)


def _ids_and_vectors(path: Path) -> tuple[list[str], NDArray]:
    try:
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as arrays:
                return [str(i) for i in arrays["ids"]], np.asarray(arrays["vectors"], np.float64)
        if path.suffix == ".npy":
            words = path.with_suffix(".ids.txt").read_text(encoding="utf-8").splitlines()
            return words, np.load(path, allow_pickle=False).astype(np.float64)
        if path.suffix == ".parquet":
            return _from_parquet(path)
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise ModelError(f"data.item_vectors: cannot read {path}: {error}") from None
    raise ModelError(f"data.item_vectors = {str(path)!r}: expected a .npz, .npy or .parquet file")


def _from_parquet(path: Path) -> tuple[list[str], NDArray]:
    import pandas as pd

    frame = pd.read_parquet(path)
    rest = frame.drop(columns="id")
    values = np.stack(list(rest.iloc[:, 0])) if rest.shape[1] == 1 else rest.to_numpy()
    return [str(i) for i in frame["id"]], np.asarray(values, np.float64)
