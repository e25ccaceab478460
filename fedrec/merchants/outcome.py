"""What one system gives each merchant's customers with one seed, kept in a file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fedrec.errors import CheckpointError
from fedrec.storage import read_arrays, write_arrays

FILE = "outcome.ckpt"


@dataclass(frozen=True, eq=False)
class Outcome:
    """A system as its merchants use it.

    Attributes:
        ranks: int64 [W], ranks of the held-out test items.
        labels: the setting of each of the M merchants.
        place: int64 [M], which of the candidates that is.
        valid: the validation metric that it was chosen by.
        seconds: that training and choosing took.
    """

    ranks: NDArray[np.int64]
    labels: tuple[str, ...]
    place: NDArray[np.int64]
    valid: float
    seconds: float


def save_outcome(directory: Path, outcome: Outcome, split_hash: str) -> None:
    """Write an outcome.

    Args:
        directory: of the system and seed; created.
        outcome: what to write.
        split_hash: of the split whose items are ranked.

    Raises:
        OutputError: if the directory cannot be written.
    """
    facts = {
        "labels": list(outcome.labels),
        "valid": outcome.valid,
        "seconds": outcome.seconds,
        "split": split_hash,
    }
    write_arrays(directory / FILE, {"ranks": outcome.ranks, "place": outcome.place}, facts)


def load_outcome(directory: Path, split_hash: str) -> Outcome | None:
    """Read an outcome; None if there is none.

    Raises:
        CheckpointError: if it is corrupted, or of another split.
    """
    file = directory / FILE
    if not file.is_file():
        return None
    arrays, facts = read_arrays(file)
    if facts["split"] != split_hash:
        raise CheckpointError(
            f"{file} ranks the items of another split ({facts['split']}) than this one "
            f"({split_hash}): the data have changed. Start the comparison again with --overwrite"
        )
    labels = tuple(str(label) for label in facts["labels"])
    sizes = (float(facts["valid"]), float(facts["seconds"]))
    return Outcome(arrays["ranks"], labels, arrays["place"], *sizes)
