"""Attributes as numbers, written down so that a device can do it without the data.

Of items the rows themselves, which every node of a run has.  Of users only how a value
becomes numbers: the columns of each category, mean and deviation of each number.  Every
client of the run had to know these to encode its own user; no user's values are written.
The rules are read off the encoded rows, so that they cannot drift from what was trained.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedrec.config import Config
from fedrec.data.interactions import Attribute, Catalogue
from fedrec.errors import ModelError, nearest
from fedrec.models.attributed import Attributed
from fedrec.models.features import HASH, Features, _embedded, hashed_text
from fedrec.storage import read_arrays, write_arrays

FILE = "features.ckpt"
_LARGEST = 5.0  # standard scores are cut off there


@dataclass(frozen=True, eq=False)
class ReadFeatures:
    """Features of an exported model.

    Attributes:
        items: of its items [I, A].
        fields: user attribute -> first column and the one after its last.
        rules: user attribute -> how a value becomes numbers.
    """

    items: Features
    fields: dict[str, tuple[int, int]]
    rules: dict[str, dict[str, Any]]

    def profile(self, values: Mapping[str, Any]) -> NDArray[np.float32]:
        """Return the numbers of one user, float32 [A'].

        Args:
            values: name -> value; those left out are missing, as in training.

        Raises:
            ModelError: for a value that cannot be read.
        """
        row = np.zeros(max((end for _, end in self.fields.values()), default=0), np.float32)
        for name, (begin, end) in self.fields.items():
            row[begin:end] = _encoded(name, values.get(name), self.rules[name], end - begin)
        return row


def write_features(directory: Path, config: Config, users: Catalogue, model: object) -> None:
    """Write the features of models that read attributes; nothing for others.

    Args:
        directory: of the model.
        config: of the run.
        users: whose attributes were encoded.
        model: as it was trained, bound to its catalogues.

    Raises:
        OutputError: if the directory cannot be written.
    """
    found = _attributed(model)
    if found is None or found.items is None or found.users is None:
        return
    items, coded, text = found.items, found.users, config.model.text
    rules = {n: _rule(n, users, coded, text) for n in coded.fields}
    meta = {"items": items.fields, "users": coded.fields, "rules": rules}
    write_arrays(directory / FILE, {"items": items.values}, meta)


def _attributed(model: object) -> Attributed | None:
    """Return the model of attributes that a model is, or has inside."""
    while not isinstance(model, Attributed):
        model = getattr(model, "model", None)
        if model is None:
            return None
    return model


def read_features(directory: Path) -> ReadFeatures:
    """Read what `write_features` has written.

    Raises:
        CheckpointError: if the file is missing or damaged.
    """
    arrays, meta = read_arrays(directory / FILE)
    items, users = (
        {name: (int(begin), int(end)) for name, (begin, end) in meta[side].items()}
        for side in ("items", "users")
    )
    return ReadFeatures(Features(arrays["items"], items), users, meta["rules"])


def _rule(name: str, users: Catalogue, features: Features, text: str) -> dict[str, Any]:
    attribute = users.attributes[name]
    begin, end = features.fields[name]
    rows = features.values[:, begin:end]
    if attribute.kind == "category":
        return {"kind": "category", "columns": _columns(attribute, rows)}
    if attribute.kind == "number":
        return {"kind": "number", **_line(attribute.values.astype(np.float64), rows[:, 0])}
    return {"kind": attribute.kind, "text": text}


def _columns(attribute: Attribute, rows: NDArray[np.float32]) -> dict[str, list[int]]:
    """Return the columns of each value that a user has, read off the first who has it."""
    codes, first = np.unique(attribute.values, return_index=True)
    return {
        attribute.vocabulary[code]: np.flatnonzero(rows[at]).tolist()
        for code, at in zip(codes, first, strict=True)
        if code >= 0
    }


def _line(values: NDArray[np.float64], scores: NDArray[np.float32]) -> dict[str, float]:
    """Return slope and value of score 0 of standard scores, from the outermost uncut ones."""
    good = np.flatnonzero(np.isfinite(values) & (np.abs(scores) < _LARGEST))
    if not len(good):
        return {"slope": 0.0, "mean": 0.0}
    low, high = good[np.argmin(values[good])], good[np.argmax(values[good])]
    if values[low] == values[high]:
        return {"slope": 1.0, "mean": float(values[low] - scores[low])}
    slope = float(scores[high] - scores[low]) / (values[high] - values[low])
    return {"slope": slope, "mean": float(values[low] - scores[low] / slope)}


def _encoded(name: str, value: Any, rule: Mapping[str, Any], width: int) -> NDArray[np.float32]:
    """Return the columns of one attribute, float32 [width]."""
    row = np.zeros(width, np.float32)
    if rule["kind"] == "number":
        number = _number(name, value)
        if number is None:
            row[1:] = 1.0  # the flag of the missing, where there is one
        else:
            row[0] = np.clip((number - rule["mean"]) * rule["slope"], -_LARGEST, _LARGEST)
    elif value is None or value == "":
        pass
    elif rule["kind"] == "category":
        if str(value) not in rule["columns"]:
            hint = nearest(str(value), rule["columns"])
            raise ModelError(f"no user of the run had {name} = {str(value)!r}.{hint}")
        row[rule["columns"][str(value)]] = 1.0
    elif rule["kind"] == "text":
        told = [str(value)]
        made = hashed_text(told, width) if rule["text"] == HASH else _embedded(
            name, told, rule["text"]
        )  # fmt: skip
        row[:] = made[0]
    else:
        raise ModelError(
            f"user attribute {name!r} is of kind {rule['kind']!r}, which a session cannot encode: "
            "leave it out, or train without it (model.user_attributes)"
        )
    return row


def _number(name: str, value: Any) -> float | None:
    if value is None or value == "":
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise ModelError(f"user attribute {name} = {value!r}: expected a number") from None
    return number if np.isfinite(number) else None
