"""What a device needs beside the parameters: attributes to show, popularity to start from.

``catalogue.jsonl`` has one line an item, its attributes as people read them; without
attributes there is no such file.  ``counts.ckpt`` has the training interactions of each
item; it is there only where the run itself has told these sums to the server
(`reveals_counts`), so that the model says nothing that the run has not.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedrec.config import Config
from fedrec.config_graph import SUMS_FIRST
from fedrec.config_sums import ITEM_ITEM
from fedrec.data.interactions import Attribute, Catalogue
from fedrec.errors import CheckpointError
from fedrec.storage import read_arrays, replace_file, write_arrays

CATALOGUE, COUNTS = "catalogue.jsonl", "counts.ckpt"
_TITLES = ("title", "name", "product", "description")


def reveals_counts(config: Config) -> bool:
    """Return whether a run tells the server how many clients met each item.

    The diagonal of EASE's and the neighbours' Gram matrix and a column of LightGCN's sum
    are these counts; inverse propensities (`train.propensity`, `evaluate.propensity`) and
    groups of items by popularity (`evaluate.item_group`) are made of them.  With noise on
    the sum they are not told.
    """
    noisy, evaluate = config.privacy.mechanism != "off", config.evaluate
    asked = config.train.propensity or evaluate.propensity or evaluate.item_group == "popularity"
    return not noisy and (config.train.method in (*ITEM_ITEM, *SUMS_FIRST) or bool(asked))


def write_items(directory: Path, items: Catalogue, counts: NDArray[np.int64] | None) -> None:
    """Write the readable attributes of items, and their counts if they may be told.

    Args:
        directory: of the model.
        items: the catalogue, with I items.
        counts: int64 [I], training interactions of each item; None: they stay untold.

    Raises:
        OutputError: if the directory cannot be written.
    """
    if items.attributes:
        columns = {name: _readable(a) for name, a in items.attributes.items()}
        lines = (
            json.dumps({n: column[row] for n, column in columns.items() if column[row] is not None})
            for row in range(len(items))
        )
        replace_file(directory / CATALOGUE, ("\n".join(lines) + "\n").encode())
    if counts is not None:
        write_arrays(directory / COUNTS, {"counts": counts.astype(np.int64)}, {})


def _readable(attribute: Attribute) -> list[Any]:
    """Return a value for each entity that JSON can hold, None where it is missing."""
    if attribute.kind == "category":
        names = (*attribute.vocabulary, None)  # code -1, missing, is the last
        return [names[code] for code in attribute.values]
    if attribute.kind == "number":
        return [round(float(v), 4) if np.isfinite(v) else None for v in attribute.values]
    if attribute.kind == "tags":
        words = np.array(attribute.vocabulary, dtype=object)
        return [list(words[row]) or None for row in attribute.values]
    return [str(text) or None for text in attribute.values]


def read_catalogue(directory: Path) -> list[dict[str, Any]]:
    """Return the attributes of each item; an empty list if the model has none.

    Raises:
        CheckpointError: if the file is damaged.
    """
    file = directory / CATALOGUE
    if not file.is_file():
        return []
    try:
        return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    except (OSError, json.JSONDecodeError) as error:
        raise CheckpointError(f"the model in {directory} cannot be read: {error}") from None


def read_counts(directory: Path) -> NDArray[np.int64] | None:
    """Return the training interactions of each item, int64 [I]; None if they were not told.

    Raises:
        CheckpointError: if the file is damaged.
    """
    file = directory / COUNTS
    return read_arrays(file)[0]["counts"] if file.is_file() else None


def title_of(attributes: Mapping[str, Any]) -> str:
    """Return what a person calls an item; empty if no attribute says it."""
    known = next((str(attributes[name]) for name in _TITLES if name in attributes), "")
    year = attributes.get("year")
    return f"{known} ({year:.0f})" if known and isinstance(year, float) else known
