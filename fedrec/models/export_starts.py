"""What a device receives beside the model, to begin with a user whom no training has seen.

One file a strategy in the directory ``starts`` of a model: the sums over clients that the run
has taken for it (`coldstart.users`), and nothing of a single client.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedrec.storage import read_arrays, write_arrays

FOLDER = "starts"


@dataclass(frozen=True, eq=False)
class Kept:
    """What one strategy needs on a device.

    Attributes:
        arrays: name -> values.
        facts: plain data that JSON can hold.
    """

    arrays: Mapping[str, NDArray] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)

    def group(self, kind: str) -> dict[str, NDArray]:
        """Return the arrays whose names begin with ``kind/``, by the rest of their names."""
        start = f"{kind}/"
        found = ((n, v) for n, v in self.arrays.items() if n.startswith(start))
        return {name.removeprefix(start): value for name, value in found}


def write_starts(directory: Path, starts: Mapping[str, Kept]) -> None:
    """Write what strategies need.

    Args:
        directory: of the model.
        starts: strategy -> what it needs.

    Raises:
        OutputError: if the directory cannot be written.
    """
    for name, kept in starts.items():
        arrays = {n: np.ascontiguousarray(value) for n, value in kept.arrays.items()}
        write_arrays(directory / FOLDER / f"{name}.ckpt", arrays, dict(kept.facts))


def starts_of(directory: Path) -> tuple[str, ...]:
    """Return the strategies that a model's directory holds, in alphabetical order."""
    return tuple(sorted(file.stem for file in (directory / FOLDER).glob("*.ckpt")))


def read_start(directory: Path, name: str) -> Kept:
    """Read what one strategy needs.

    Raises:
        CheckpointError: if the file is missing or damaged.
    """
    return Kept(*read_arrays(directory / FOLDER / f"{name}.ckpt"))
