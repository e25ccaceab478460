"""Columns in files that are mapped into memory instead of read.

A column is one file of numbers, little-endian, without a header; `columns.json` says
what they are.  A folder of columns appears whole or not at all: it is written under
another name, by one process at a time, and renamed when it is complete.
"""

from __future__ import annotations

import json
import mmap
import os
import shutil
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from fedrec.data.directory import make_directory, unwritable
from fedrec.errors import DataError

_META = "columns.json"
_CHUNK = 1 << 22  # bytes that are checked at a time

Block = Mapping[str, NDArray]
"""The next piece of every column."""


@dataclass(frozen=True)
class _File:
    """What is known of a column: its numbers, and how to tell that they are as written.

    Attributes:
        dtype: e.g. "<i4".
        length: how many numbers.
        crc32: of all bytes.
        mtime_ns: when it was written; a file of this time and size is not read again.
    """

    dtype: str
    length: int
    crc32: int
    mtime_ns: int


def open_or_write(
    folder: Path, blocks: Iterable[Block], *, size: int, scattered: Collection[str] = ()
) -> dict[str, NDArray]:
    """Map the columns of a folder; write them first if they are not there or damaged.

    Args:
        folder: of the columns; its name must tell what is in it.
        blocks: the columns, piece by piece; taken only if they are to be written.
        size: about how many bytes they will take.
        scattered: columns of which short pieces are read that lie far apart.

    Returns:
        name -> array, read-only.

    Raises:
        DataError: if the folder cannot be written, or has not so much space left.
    """
    make_directory(folder.parent)
    with _alone(folder.with_name(f".{folder.name}.lock")):
        if not _is_whole(folder):
            _check_space(folder.parent, size)
            _write(folder, blocks)
    return _map(folder, scattered)


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Wait until no other process writes here (on systems that have such locks)."""
    if os.name != "posix":
        yield
        return
    import fcntl

    with open(lock, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _is_whole(folder: Path) -> bool:
    """Return whether all columns are there, with the bytes that were written."""
    try:
        return all(_is_as_written(folder / n, f) for n, f in _read_meta(folder).items())
    except (OSError, ValueError, TypeError):
        return False


def _is_as_written(path: Path, told: _File) -> bool:
    stat = path.stat()
    if stat.st_size != told.length * np.dtype(told.dtype).itemsize:
        return False
    if stat.st_mtime_ns == told.mtime_ns:
        return True  # untouched: large files are not read to the end at every start
    found = 0
    with open(path, "rb") as file:
        while piece := file.read(_CHUNK):
            found = zlib.crc32(piece, found)
    return found == told.crc32


def _read_meta(folder: Path) -> dict[str, _File]:
    told = json.loads((folder / _META).read_text(encoding="utf-8"))
    return {name: _File(**entry) for name, entry in told.items()}


def _check_space(folder: Path, size: int) -> None:
    free = shutil.disk_usage(folder).free
    if size > free:
        raise DataError(
            f"the population takes about {size >> 20:,} MiB on the disk, and {folder} has "
            f"{free >> 20:,} MiB free. Choose another place with data.cache or the environment "
            f"variable FEDREC_CACHE, or fewer data.users."
        )


def _write(folder: Path, blocks: Iterable[Block]) -> None:
    """Write all columns; whatever stops this leaves no folder behind."""
    part = folder.with_name(f".{folder.name}.part")
    try:
        shutil.rmtree(part, ignore_errors=True)  # of a process that was killed
        part.mkdir()
        with ExitStack() as stack:
            meta = _write_columns(part, blocks, stack)
        for name, entry in meta.items():
            entry["mtime_ns"] = (part / name).stat().st_mtime_ns
        (part / _META).write_text(json.dumps(meta, indent=1), encoding="utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        part.rename(folder)
    except OSError as error:
        raise DataError(unwritable(folder, error.strerror or str(error))) from None
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _write_columns(part: Path, blocks: Iterable[Block], stack: ExitStack) -> dict[str, dict]:
    files: dict[str, IO[bytes]] = {}
    meta: dict[str, dict] = {}
    for block in blocks:
        for name, piece in block.items():
            if name not in files:
                files[name] = stack.enter_context((part / name).open("wb"))
                meta[name] = asdict(_File(piece.dtype.newbyteorder("<").str, 0, 0, 0))
            whole = np.ascontiguousarray(piece, meta[name]["dtype"])
            raw = whole.data.cast("B") if len(piece) else b""
            files[name].write(raw)
            meta[name]["crc32"] = zlib.crc32(raw, meta[name]["crc32"])
            meta[name]["length"] += len(piece)
    for file in files.values():
        file.flush()
        os.fsync(file.fileno())
    return meta


def _map(folder: Path, scattered: Collection[str]) -> dict[str, NDArray]:
    return {
        name: _map_file(folder / name, told, scattered=name in scattered)
        for name, told in _read_meta(folder).items()
    }


def _map_file(path: Path, told: _File, *, scattered: bool) -> NDArray:
    if not told.length:  # an empty file cannot be mapped
        return np.zeros(0, told.dtype)
    array = np.memmap(path, told.dtype, "r", shape=(told.length,))
    if scattered and hasattr(mmap, "MADV_RANDOM"):  # not on every system
        array._mmap.madvise(mmap.MADV_RANDOM)  # type: ignore[attr-defined]
    return np.asarray(array)
