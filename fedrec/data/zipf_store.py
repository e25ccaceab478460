"""The Zipf population in mapped files, for more users than memory holds.

It is drawn and written a chunk of users at a time, once for each set of parameters, and
then mapped: a cohort's interactions are gathered from the files.  Its arrays are those
of the population in memory, number for number.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from fedrec.config_sections import DataSection
from fedrec.data.directory import cache_directory
from fedrec.data.interactions import Catalogue, Dataset
from fedrec.data.mapped import Block, open_or_write
from fedrec.data.names import Numbered
from fedrec.data.population import Population
from fedrec.data.zipf import (
    as_generated,
    draw_users,
    lay_out,
    popularity,
    section_hash,
    zipf_dataset,
    zipf_layout,
)
from fedrec.machine import memory_gib

FORMAT = 1
"""Part of the folder's name: raised when the columns or what is drawn change."""

MEMORY_SHARE = 4
"""Above this part of the machine's memory `data.store = "auto"` keeps a population on the disk."""

_CHUNK = 1 << 15  # users that are drawn and written at a time
_PER_INTERACTION, _PER_USER = 24, 48  # bytes, of all columns


def on_disk(section: DataSection) -> bool:
    """Return whether the population of a data section lies on the disk."""
    if section.store == "memory" or not as_generated(section):
        return False
    share = memory_gib() * 2**30 / MEMORY_SHARE  # 0 where the system does not say
    return section.store == "disk" or expected_bytes(section) > share > 0


def expected_bytes(section: DataSection) -> int:
    """Return about how many bytes the columns of a population take."""
    each = _PER_USER + _PER_INTERACTION * section.events_per_user
    return round(section.users * each)


def stored_dataset(section: DataSection) -> Dataset:
    """Return the data set with mapped columns, and user names that are made when asked for.

    Raises:
        DataError: if it cannot be written to the cache.
    """
    return _dataset(section, _columns(section))


def stored_population(section: DataSection) -> Population:
    """Return the population of `zipf_population` with mapped arrays.

    Raises:
        DataError: if it cannot be written to the cache.
    """
    columns = _columns(section)
    return zipf_layout(columns, _dataset(section, columns), section)


def folder_of(section: DataSection) -> Path:
    """Return where the columns of a population lie: the cache, and a hash of its parameters."""
    name = f"population-{section_hash(section)}-{FORMAT}"
    return cache_directory(section.cache) / "zipf" / name


def _dataset(section: DataSection, columns: dict[str, NDArray]) -> Dataset:
    names = Catalogue(cast(NDArray, Numbered("user", section.users)))
    return zipf_dataset(section, columns["user"], columns["item"], names)


def _columns(section: DataSection) -> dict[str, NDArray]:
    return open_or_write(
        folder_of(section), _blocks(section), size=expected_bytes(section), scattered=("train",)
    )


def _blocks(section: DataSection) -> Iterator[Block]:
    """Yield the columns of one chunk of users after the other."""
    law = popularity(section)
    rows = 0
    for first in range(0, section.users, _CHUNK):
        users = np.arange(first, min(first + _CHUNK, section.users))
        indptr, items = draw_users(section, users, law)
        yield lay_out(np.diff(indptr), items, first_user=first, first_row=rows)
        rows += len(items)
