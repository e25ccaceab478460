"""The trained model as files: shared parameters, the items they belong to, a card."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedrec.config import Config, load_config, to_toml
from fedrec.data.interactions import Dataset
from fedrec.errors import CheckpointError
from fedrec.models.export_features import write_features
from fedrec.models.export_items import reveals_counts, write_items
from fedrec.params import Shared
from fedrec.storage import read_arrays, replace_file, write_arrays

_TABLE, _WEIGHT, _FIXED = "table/", "weight/", "fixed/"


@dataclass(frozen=True, eq=False)
class ExportedModel:
    """A model read back from its directory.

    Attributes:
        config: the configuration it was trained with.
        shared: its parameters; row i of an item table belongs to item_ids[i].
        item_ids: object [I], identifiers of the source.
        card: what the model is and how good it was.
    """

    config: Config
    shared: Shared
    item_ids: NDArray[np.object_]
    card: dict[str, Any]


def export_model(
    directory: Path,
    config: Config,
    dataset: Dataset,
    shared: Shared,
    system: Mapping[str, Any],
    counts: NDArray[np.int64] | None = None,
    model: object = None,
) -> None:
    """Write the model of the selected round, and what a device needs to recommend with it.

    No personal parameter is in it: those stay with their clients.

    Args:
        directory: created if needed.
        config: of the run.
        dataset: names the items.
        shared: the parameters.
        system: the element of `systems` that describes the run; becomes the card.
        counts: int64 [I], training interactions of each item, which are written only if the
            run has told them (`export_items.reveals_counts`); None: unknown.
        model: as it was trained, for what it read of attributes; None: of none.

    Raises:
        OutputError: if the directory cannot be written.
    """
    arrays = {_TABLE + name: value for name, value in shared.tables.items()}
    arrays |= {_WEIGHT + name: value for name, value in shared.weights.items()}
    arrays |= {_FIXED + name: value for name, value in shared.fixed.items()}
    items = "".join(json.dumps(str(name)) + "\n" for name in dataset.items.ids)
    write_arrays(directory / "shared.ckpt", arrays, {"data": dataset.name})
    replace_file(directory / "items.jsonl", items.encode())
    write_items(directory, dataset.items, counts if reveals_counts(config) else None)
    write_features(directory, config, dataset.users, model)
    replace_file(directory / "config.toml", to_toml(config).encode())
    replace_file(directory / "card.json", (json.dumps(dict(system), indent=1) + "\n").encode())


def load_model(directory: Path) -> ExportedModel:
    """Read what `export_model` has written.

    Raises:
        CheckpointError: if a file is missing or corrupted.
    """
    arrays, _ = read_arrays(directory / "shared.ckpt")
    tables, weights, fixed = (
        {n.removeprefix(kind): a for n, a in arrays.items() if n.startswith(kind)}
        for kind in (_TABLE, _WEIGHT, _FIXED)
    )
    shared = Shared(tables, weights, fixed)
    try:
        lines = (directory / "items.jsonl").read_text(encoding="utf-8").splitlines()
        items = np.array([json.loads(line) for line in lines], dtype=object)
        card = json.loads((directory / "card.json").read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError) as error:
        raise CheckpointError(f"the model in {directory} cannot be read: {error}") from None
    return ExportedModel(load_config(directory / "config.toml"), shared, items, card)
