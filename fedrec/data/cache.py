"""Parsed data sets on disk, as numpy archives that load in milliseconds.

No pickle: arrays are stored as they are, strings as UTF-8 JSON in a byte array.
The archive carries a CRC for every member, so a damaged file is noticed.
"""

from __future__ import annotations

import json
import os
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fedrec.data.directory import make_directory, unwritable
from fedrec.data.interactions import Attribute, Catalogue, Dataset, Interactions
from fedrec.errors import DataError

FORMAT = 1
"""Part of the file name: raised when what a parsed data set holds changes."""


def save(path: Path, dataset: Dataset) -> None:
    """Write a data set (without `truth`), atomically.

    Raises:
        DataError: if the file cannot be written.
    """
    arrays: dict[str, NDArray] = {
        f"interactions.{name}": column for name, column in dataset.interactions.columns().items()
    }
    meta: dict = {"name": dataset.name, "account": list(dataset.account), "attributes": {}}
    for kind in ("items", "users", "merchants"):
        catalogue = getattr(dataset, kind)
        if catalogue is None:
            continue
        arrays[f"{kind}.ids"] = _pack_words(catalogue.ids)
        meta["attributes"][kind] = {}
        for name, attribute in catalogue.attributes.items():
            text = attribute.kind == "text"
            values = _pack_words(attribute.values) if text else attribute.values
            arrays[f"{kind}.attribute.{name}"] = values
            meta["attributes"][kind][name] = [attribute.kind, list(attribute.vocabulary)]
    arrays["meta"] = _pack_words([json.dumps(meta)])
    make_directory(path.parent)
    handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]
        os.chmod(temporary, 0o644)  # mkstemp is private; a cache may be shared
        os.replace(temporary, path)
    except OSError as error:
        Path(temporary).unlink(missing_ok=True)
        raise DataError(unwritable(path.parent, error.strerror or str(error))) from None


def load(path: Path) -> Dataset:
    """Read a data set written by `save`.

    Raises:
        DataError: if the file is damaged or not of this format.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        meta = json.loads(_unpack_words(arrays["meta"])[0])
        columns = {
            name.removeprefix("interactions."): column
            for name, column in arrays.items()
            if name.startswith("interactions.")
        }
        kinds = {kind: _catalogue(kind, meta, arrays) for kind in meta["attributes"]}
        return Dataset(
            name=meta["name"],
            interactions=Interactions(**columns),
            items=kinds["items"],
            users=kinds["users"],
            merchants=kinds.get("merchants"),
            account=tuple(meta["account"]),
        )
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(
            f"the cached data set {path} is damaged ({type(error).__name__}). "
            f"Remove the file to have it built again."
        ) from None


def _catalogue(kind: str, meta: dict, arrays: dict[str, NDArray]) -> Catalogue:
    attributes = {}
    for name, (form, vocabulary) in meta["attributes"][kind].items():
        values = arrays[f"{kind}.attribute.{name}"]
        values = _unpack_words(values) if form == "text" else values
        attributes[name] = Attribute(form, values, tuple(vocabulary))
    return Catalogue(_unpack_words(arrays[f"{kind}.ids"]), attributes)


def _pack_words(words: Sequence[str] | NDArray) -> NDArray[np.uint8]:
    text = json.dumps([str(word) for word in words], ensure_ascii=False)
    return np.frombuffer(text.encode(), dtype=np.uint8)


def _unpack_words(packed: NDArray[np.uint8]) -> NDArray[np.object_]:
    return np.array(json.loads(packed.tobytes().decode()), dtype=object)
