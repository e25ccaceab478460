"""The shared item list of merchants: what numbers the items, the same for everybody.

A file of JSON lines, one item each, in the order of their numbers:

    {"id": "4006381333931", "title": "Highlighter", "category": "office", "tags": ["yellow"]}

Besides the id a line may hold attributes: numbers, texts, or lists of words.  The list says
what can be recommended, and nothing of who has bought what.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fedrec.data.attributes import guess_attribute, to_tags
from fedrec.data.interactions import Attribute, Catalogue
from fedrec.errors import DataError

ID = "id"


def read_item_list(path: Path) -> Catalogue:
    """Read a shared item list.

    Args:
        path: the file.

    Returns:
        The catalogue, in the order of the lines.

    Raises:
        DataError: if it is missing, malformed or empty, or an id repeats.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise DataError(f"cannot read the item list {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise DataError(f"the item list {path} is not UTF-8 text") from None
    items = [_item(line, number, path) for number, line in enumerate(lines, 1) if line.strip()]
    if not items:
        raise DataError(f"the item list {path} is empty; expected a line of JSON for each item")
    ids = np.array([item[ID] for item in items], dtype=object)
    seen: dict[str, int] = {}
    for place, word in enumerate(ids):
        if seen.setdefault(word, place) != place:
            raise DataError(f"the item list {path} names the item {word!r} twice")
    names = dict.fromkeys(name for item in items for name in item if name != ID)
    return Catalogue(ids, {name: _attribute([item.get(name) for item in items]) for name in names})


def write_item_list(path: Path, ids: Sequence[str]) -> None:
    """Write a shared item list without attributes, in the order of `ids`.

    Raises:
        DataError: if the file cannot be written.
    """
    text = "".join(json.dumps({ID: str(word)}, ensure_ascii=False) + "\n" for word in ids)
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise DataError(f"cannot write the item list {path}: {error.strerror}") from None


def list_hash(path: Path) -> str:
    """Return the SHA-256 of an item list, 64 hexadecimal digits.

    Raises:
        DataError: if it cannot be read.
    """
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise DataError(f"cannot read the item list {path}: {error.strerror}") from None


def _item(line: str, number: int, path: Path) -> dict[str, Any]:
    try:
        item = json.loads(line)
    except ValueError:
        item = None
    found = item.get(ID) if isinstance(item, dict) else None
    if isinstance(found, bool) or not isinstance(found, str | int) or not str(found).strip():
        raise DataError(
            f"line {number} of the item list {path} is malformed: expected JSON such as "
            '{"id": "4006381333931"}'
        )
    return {**item, ID: str(found).strip()}


def _attribute(values: list[Any]) -> Attribute:
    import pandas as pd

    if any(isinstance(value, list) for value in values):
        lists = [value if isinstance(value, list) else [] for value in values]
        return to_tags([[str(word) for word in words] for words in lists])
    return guess_attribute(pd.Series(values))
