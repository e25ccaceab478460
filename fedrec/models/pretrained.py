"""A run that begins with the exported model of an earlier one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fedrec.config import Config
from fedrec.data.interactions import Catalogue
from fedrec.errors import CheckpointError, ModelError
from fedrec.models.adapted import adapter_of, basis_of
from fedrec.models.export import ExportedModel, load_model
from fedrec.params import Shared


def begin(config: Config, shared: Shared, items: Catalogue) -> Shared:
    """Return the parameters that the server begins with.

    Rows are matched by the items' identifiers; items that the earlier run did not know
    keep their fresh rows.  Adapters of the earlier run are added to its frozen tables
    first.  Adapters of this run stay at their start.

    Args:
        config: of the run.
        shared: fresh parameters.
        items: of the run.

    Raises:
        ModelError: if `model.pretrained` has no model, one of other shapes, one that knows
            none of the items, or one trained on another split of the same data.
    """
    if not config.model.pretrained:
        return shared
    directory = Path(config.model.pretrained).expanduser()
    try:
        earlier = load_model(directory)
    except CheckpointError as error:
        raise ModelError(
            f"model.pretrained: {error}. Expected the directory 'model' of an earlier run"
        ) from None
    _same_split(config, earlier)
    mine, theirs = matched(items.ids, earlier.item_ids)
    if not len(mine):
        raise ModelError(
            f"model.pretrained = {str(directory)!r} knows none of the {len(items)} items of "
            f"{config.data.name!r}: its items are those of {earlier.config.data.name!r}"
        )
    known = whole(earlier.shared)

    def rows(tables: Mapping[str, NDArray]) -> dict[str, NDArray]:
        out = {}
        for name, value in tables.items():
            if name in _added(shared):
                out[name] = value
                continue
            found = _found(name, known.tables, value.shape[1:], 1)
            out[name] = value.copy()
            out[name][mine] = found[theirs]
        return out

    weights = {
        name: value if name in _added(shared) else _found(name, known.weights, value.shape, 0)
        for name, value in shared.weights.items()
    }
    return Shared(rows(shared.tables), weights, rows(shared.fixed))


def overlap_notes(config: Config, items: Catalogue) -> tuple[str, ...]:
    """Return a line for the reader on how many items the earlier model knows; none without.

    Args:
        config: of the run.
        items: of the run.
    """
    if not config.model.pretrained:
        return ()
    try:
        earlier = load_model(Path(config.model.pretrained).expanduser())
    except CheckpointError:  # deleted since the run began: no reason to lose its result
        return ()
    known, number = len(matched(items.ids, earlier.item_ids)[0]), len(items)
    told = f"model.pretrained knows {known:,} of {number:,} items"
    if known == number:
        return (told,)
    frozen = ", which model.freeze never trains" if config.model.freeze else ""
    return (f"{told}; the other {number - known:,} begin with fresh rows{frozen}",)


def matched(
    mine: NDArray[np.object_], theirs: NDArray[np.object_]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return where the items of both catalogues stand, int64 [M] in each."""
    place = {str(name): at for at, name in enumerate(theirs)}
    pairs = [(at, place[str(n)]) for at, n in enumerate(mine) if str(n) in place]
    both = np.array(pairs, np.int64).reshape(-1, 2)
    return both[:, 0], both[:, 1]


def _added(shared: Shared) -> set[str]:
    """Return the names of adapters and bases."""
    return {name_of(n) for n in shared.fixed for name_of in (adapter_of, basis_of)}


def whole(shared: Shared) -> Shared:
    """Return parameters whose adapters are added to their frozen tables."""
    tables = {n: v for n, v in {**shared.fixed, **shared.tables}.items() if n not in _added(shared)}
    weights = {n: v for n, v in shared.weights.items() if n not in _added(shared)}
    for name, frozen in shared.fixed.items():
        if adapter_of(name) in shared.tables:
            moved = shared.tables[adapter_of(name)] @ shared.weights[basis_of(name)]
            tables[name] = frozen + moved
    return Shared(tables, weights)


def _found(name: str, known: Mapping[str, NDArray], shape: tuple[int, ...], skip: int) -> NDArray:
    """Return a parameter of the earlier run."""
    if name not in known:
        raise ModelError(
            f"model.pretrained has no parameter {name!r}, only {', '.join(sorted(known)) or 'none'}"
            ": train both runs with the same model.name"
        )
    if known[name].shape[skip:] != shape:
        raise ModelError(
            f"model.pretrained has {name!r} of shape {known[name].shape[skip:]} where this run "
            f"needs {shape}: train both runs with the same keys of section model"
        )
    return known[name]


def _same_split(config: Config, earlier: ExportedModel) -> None:
    """Refuse a model that was trained on what this run holds out."""
    ours, theirs = config.data, earlier.config.data
    same = (ours.name, ours.path) == (theirs.name, theirs.path)
    if same and config.split != earlier.config.split:
        raise ModelError(
            f"model.pretrained was trained on {ours.name!r} with another section split: it may "
            "have learnt what this run holds out. Use the same section split in both runs"
        )
