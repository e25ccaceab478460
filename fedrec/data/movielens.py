"""MovieLens 100K and 1M (Harper and Konstan, ACM TiiS 2015), from either packing.

Both packings of ml-100k give identical interactions: the same rows in the same
order.  Attributes differ in small ways (one release year is only in one of them).
"""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fedrec.data.attributes import to_category, to_number, to_tags, to_text
from fedrec.data.interactions import Attribute, Catalogue, Dataset, Interactions
from fedrec.errors import DataError

Root = Path | zipfile.Path

_GENRES_100K = (
    "unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime",
    "Documentary", "Drama", "Fantasy", "Film-Noir", "Horror", "Musical", "Mystery",
    "Romance", "Sci-Fi", "Thriller", "War", "Western",
)  # fmt: skip
_OCCUPATIONS_1M = (
    "other", "academic/educator", "artist", "clerical/admin", "college/grad student",
    "customer service", "doctor/health care", "executive/managerial", "farmer", "homemaker",
    "K-12 student", "lawyer", "programmer", "retired", "sales/marketing", "scientist",
    "self-employed", "technician/engineer", "tradesman/craftsman", "unemployed", "writer",
)  # fmt: skip
_YEAR = re.compile(r"^(.*?)\s*\((\d{4})\)\s*$")


def read_100k_grouplens(root: Root) -> Dataset:
    """Read ml-100k as GroupLens packs it (``u.data``, ``u.item``, ``u.user``).

    Args:
        root: the archive or directory that holds the directory ``ml-100k``.

    Raises:
        DataError: if a file is missing or not in its published format.
    """
    ratings = _integers(root / "ml-100k" / "u.data", "\t", 4)
    items = _rows(root / "ml-100k" / "u.item", "|", 24, "latin-1")
    users = _rows(root / "ml-100k" / "u.user", "|", 5, "latin-1")
    titles, years = _titles([row[1] for row in items])
    genres = [
        [genre for genre, flag in zip(_GENRES_100K, row[5:], strict=True) if flag == "1"]
        for row in items
    ]
    return _dataset(
        "ml-100k",
        ratings,
        Catalogue(_ids(items), _movie(titles, years, genres)),
        Catalogue(_ids(users), _viewer(users)),
    )


def read_100k_recbole(root: Root) -> Dataset:
    """Read ml-100k as RecBole packs it (atomic files ``ml-100k.inter``, ...).

    Args:
        root: the wheel or directory that holds ``recbole/dataset_example/ml-100k``.

    Raises:
        DataError: if a file is missing or not in its published format.
    """
    folder = root / "recbole" / "dataset_example" / "ml-100k"
    ratings = _integers(folder / "ml-100k.inter", "\t", 4, header=1)
    items = _rows(folder / "ml-100k.item", "\t", 4, "utf-8", header=1)
    users = _rows(folder / "ml-100k.user", "\t", 5, "utf-8", header=1)
    titles = [row[1] for row in items]
    years = [float(row[2]) if row[2].isdigit() else np.nan for row in items]
    genres = [row[3].split() for row in items]
    return _dataset(
        "ml-100k",
        ratings,
        Catalogue(_ids(items), _movie(titles, years, genres)),
        Catalogue(_ids(users), _viewer(users)),
    )


def read_1m(root: Root) -> Dataset:
    """Read ml-1m as GroupLens packs it (``ratings.dat``, ``movies.dat``, ``users.dat``).

    Args:
        root: the archive or directory that holds the directory ``ml-1m``.

    Raises:
        DataError: if a file is missing or not in its published format.
    """
    ratings = _integers(root / "ml-1m" / "ratings.dat", "::", 4)
    items = _rows(root / "ml-1m" / "movies.dat", "::", 3, "latin-1")
    users = _rows(root / "ml-1m" / "users.dat", "::", 5, "latin-1")
    titles, years = _titles([row[1] for row in items])
    genres = [row[2].split("|") for row in items]
    # users.dat orders its fields id, gender, age, occupation code, zip code
    viewers = [[r[0], r[2], r[1], _OCCUPATIONS_1M[int(r[3])], r[4]] for r in users]
    return _dataset(
        "ml-1m",
        ratings,
        Catalogue(_ids(items), _movie(titles, years, genres)),
        Catalogue(_ids(users), _viewer(viewers)),
    )


def _movie(titles: list[str], years: list[float], genres: list[list[str]]) -> dict[str, Attribute]:
    return {"title": to_text(titles), "year": to_number(years), "genres": to_tags(genres)}


def _viewer(rows: list[list[str]]) -> dict[str, Attribute]:
    return {
        "age": to_number([float(row[1]) for row in rows]),
        "gender": to_category([row[2] for row in rows]),
        "occupation": to_category([row[3] for row in rows]),
        "zip": to_category([row[4] for row in rows]),
    }


def _titles(titled: list[str]) -> tuple[list[str], list[float]]:
    matches = [_YEAR.match(title) for title in titled]
    titles = [m[1] if m else title for m, title in zip(matches, titled, strict=True)]
    return titles, [float(m[2]) if m else np.nan for m in matches]


def _ids(rows: list[list[str]]) -> NDArray[np.object_]:
    return np.array([row[0] for row in rows], dtype=object)


def _dataset(name: str, ratings: NDArray[np.int64], items: Catalogue, users: Catalogue) -> Dataset:
    items, users = _by_number(items), _by_number(users)
    interactions = Interactions(
        user=_codes(ratings[:, 0], users, name),
        item=_codes(ratings[:, 1], items, name),
        rating=ratings[:, 2].astype(np.float32),
        timestamp=ratings[:, 3].astype(np.float64),
    )
    return Dataset(name, interactions, items, users)


def _by_number(catalogue: Catalogue) -> Catalogue:
    return catalogue.take(np.argsort(catalogue.ids.astype(np.int64), kind="stable"))


def _codes(ids: NDArray[np.int64], catalogue: Catalogue, name: str) -> NDArray[np.int32]:
    known = catalogue.ids.astype(np.int64)
    codes = np.minimum(np.searchsorted(known, ids), len(known) - 1)
    if not np.array_equal(known[codes], ids):
        raise DataError(f"{name}: the ratings name users or movies that its files do not describe")
    return codes.astype(np.int32)


def _text(path: Root, encoding: str) -> str:
    try:
        return path.read_bytes().decode(encoding)
    except (OSError, KeyError, UnicodeDecodeError, zipfile.BadZipFile) as error:
        raise DataError(f"cannot read {path.name} of the archive: {error}") from None


def _rows(
    path: Root, delimiter: str, width: int, encoding: str, header: int = 0
) -> list[list[str]]:
    rows = [line.split(delimiter) for line in _text(path, encoding).splitlines()[header:] if line]
    bad = next((n for n, row in enumerate(rows) if len(row) != width), None)
    if bad is not None:
        raise DataError(
            f"{path.name}, line {bad + 1 + header}: expected {width} fields, got {len(rows[bad])}"
        )
    return rows


def _integers(path: Root, delimiter: str, width: int, header: int = 0) -> NDArray[np.int64]:
    lines = _text(path, "ascii").replace(delimiter, " ").split("\n", header)[header]
    try:
        values = np.array(lines.split(), dtype=np.float64)
    except ValueError as error:
        raise DataError(f"{path.name}: expected numbers only: {error}") from None
    if not len(values) or len(values) % width:
        raise DataError(f"{path.name}: expected {width} numbers on every line")
    return values.reshape(-1, width).astype(np.int64)
