"""Arrays on disk that are whole or refused, and the places of a run's files.

A sealed file is one line with a SHA-256, then a NumPy archive.  It is written
to a temporary file, flushed to the disk and renamed, so a process that is killed
at any moment leaves the old file or the new one, never a part of one.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedrec.errors import CheckpointError, OutputError

_MAGIC = "fedrec-sealed-1"
_META = "__meta__"


@dataclass(frozen=True)
class RunDirectory:
    """Where the files of one federated run lie.

    Attributes:
        path: the output directory.
    """

    path: Path

    @property
    def rounds(self) -> Path:
        """One JSON line a round, appended as it happens."""
        return self.path / "rounds.jsonl"

    @property
    def checkpoint(self) -> Path:
        """The server's state after a round."""
        return self.path / "checkpoint" / "server.ckpt"

    @property
    def clients(self) -> Path:
        """Personal parameters of nodes that keep theirs beside the run."""
        return self.path / "clients"

    @property
    def groups(self) -> Path:
        """The sums of groups of merchants that were opened to tell contributions."""
        return self.path / "groups"

    @property
    def model(self) -> Path:
        """The exported model of the selected round."""
        return self.path / "model"

    @property
    def system(self) -> Path:
        """The run as an element of `systems` in result.json."""
        return self.path / "system.json"

    @property
    def bootstrap(self) -> Path:
        """Evaluation sums of the test part with their bootstrap replicates."""
        return self.path / "test_sums.npz"


def write_arrays(
    path: Path, arrays: Mapping[str, NDArray], meta: Mapping[str, Any], *, secret: bool = False
) -> None:
    """Write named arrays and JSON-like facts about them as one sealed file.

    Args:
        path: the file; its directory is created.
        arrays: name -> array of any numeric dtype, kept bit by bit.
        meta: facts that JSON can hold.
        secret: only the owner may read it.

    Raises:
        OutputError: if the directory cannot be written.
    """
    buffer = io.BytesIO()
    text = np.frombuffer(json.dumps(dict(meta)).encode(), np.uint8)
    np.savez(buffer, allow_pickle=False, **{**arrays, _META: text})
    payload = buffer.getvalue()
    header = f"{_MAGIC} {hashlib.sha256(payload).hexdigest()}\n".encode()
    replace_file(path, header + payload, secret=secret)


def read_arrays(path: Path) -> tuple[dict[str, NDArray], dict[str, Any]]:
    """Read a file that `write_arrays` has written.

    Returns:
        The arrays and the facts.

    Raises:
        CheckpointError: if it is missing, cut off, changed, or not a sealed file.
    """
    try:
        header, _, payload = path.read_bytes().partition(b"\n")
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror}") from None
    if header.decode("ascii", "replace") != f"{_MAGIC} {hashlib.sha256(payload).hexdigest()}":
        raise CheckpointError(
            f"{path} is corrupted: its checksum does not fit its content. "
            "Restore it from a copy, or start the run again with --overwrite"
        )
    try:
        with np.load(io.BytesIO(payload), allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        return arrays, json.loads(arrays.pop(_META).tobytes())
    except (KeyError, ValueError, zipfile.BadZipFile) as error:
        raise CheckpointError(f"{path} is not a file of this version of fedrec: {error}") from None


def replace_file(path: Path, content: bytes, *, secret: bool = False) -> None:
    """Write a file so that a reader sees the old or the new content, never a part.

    Args:
        path: the file; its directory is created.
        content: all of it.
        secret: only the owner may read it, from the first byte on.

    Raises:
        OutputError: if the directory cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        with open(os.open(temporary, flags, 0o600 if secret else 0o666), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror}") from None
