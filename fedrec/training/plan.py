"""Everything that the steps of a phase see, laid out as arrays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fedrec.data.tiles import Tiles
from fedrec.training.methods import Phase
from fedrec.training.rows import Traffic, trained_tables

if TYPE_CHECKING:
    from fedrec.training.cohort import Cohort


def step_plan(
    cohort: Cohort, phase: Phase, tiles: Tiles, traffic: Mapping[str, Traffic]
) -> dict[str, Any]:
    """Lay out everything that the steps see, as arrays.

    Args:
        cohort: of C clients.
        phase: whose steps they are.
        tiles: its batches.
        traffic: entity -> which cells read and write changes of rows.

    Returns:
        See `fedrec.training.steps.Plan`.
    """
    model, samples = cohort.model, cohort.samples
    dense = phase.optimizer != "sgd" or phase.prox_mu > 0 or "drift" in cohort.start
    means = cohort.reduction == "mean"
    of_batch = tiles.samples.astype(np.float32)
    weight = tiles.weight / of_batch[tiles.batch][:, None] if means else tiles.weight
    reads: dict[str, Any] = {}
    writes: dict[str, Any] = {}
    for one in traffic.values():
        for out, visits in ((reads, one.reads), (writes, one.writes)):
            out |= {name: (v.cell, v.slot, v.start) for name, v in visits.items()}
    fields = {r.field for r in model.row_inputs}
    names = ("lr", "personal_lr", "l2", "prox_mu", "l1", "apart")
    rates = {name: np.float32(getattr(phase, name)) for name in names}
    rates["row_lr"] = np.float32(phase.row_lr or phase.lr)
    return {
        "ids": {name: samples.fields[name].astype(np.int32)[tiles.source] for name in fields},
        "label": samples.label[tiles.source],
        "weight": weight,
        "batch": tiles.batch - np.repeat(tiles.batch_start[:-1], np.diff(tiles.tile_start)),
        "tile_client": tiles.client[tiles.batch],
        "client": tiles.client,
        "mass": np.ones_like(of_batch) if means else of_batch,
        "first_tile": _first_tiles(tiles),
        "tile_start": tiles.tile_start,
        "batch_start": tiles.batch_start,
        "reads": reads,
        "writes": writes,
        "owner": _owners(cohort) if dense else {},
        "num_clients": np.int32(samples.num_clients),
        **rates,
    }


def _first_tiles(tiles: Tiles) -> NDArray[np.int32]:
    """Return the first tile of each batch, counted within its step, int32 [M]."""
    first = np.searchsorted(tiles.batch, np.arange(len(tiles.client)))
    before = np.repeat(tiles.tile_start[:-1], np.diff(tiles.batch_start))
    return (first - before).astype(np.int32)


def _owners(cohort: Cohort) -> dict[str, NDArray[np.int32]]:
    return {t: cohort.touched[e].index.client for t, e in trained_tables(cohort.model).items()}
