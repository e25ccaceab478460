"""Personal parameters that are larger than memory: one mapped array per name on the disk.

The rules are those of `clients.personal`: two states, `current` and `selected`, each
tagged with its round, and files at checkpoints.  The difference is where rows live.  A
row is written when its user has trained for the first time; until then it is drawn at
every use, from its address, so a fresh population takes neither time nor space.  A
checkpoint holds the written rows only.

The arrays in use belong to the running node: after a crash they are built again from
the newest checkpoint that the server allows.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from flwr.app import ConfigRecord, RecordDict
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from clients.personal import KEPT_FILES, SLOTS, lost
from fedrec.errors import CheckpointError, OutputError
from fedrec.params import Personal
from fedrec.wire import NO_ROUND, Moment, PersonalState

Initial = Callable[[NDArray[np.int64]], Personal]

_CHUNK = 1 << 16  # rows that are copied at a time
_WRITTEN, _IDS, _META = "written", "ids.npy", "meta.json"


@dataclass(frozen=True, eq=False)
class MappedPersonal(Personal):
    """Personal parameters of all users of a node, in files.

    Attributes:
        written: bool [C], rows that have been put; the others are drawn when taken.
        initial: positions int64 [c] -> their initial parameters.
    """

    written: NDArray[np.bool_] = field(kw_only=True)
    initial: Initial = field(kw_only=True)

    def take(self, index: NDArray[np.int64], clients: NDArray[np.int64] | None = None) -> Personal:
        """Return the rows `index` (int64 [c]) of every value, in memory."""
        values = {name: value[index] for name, value in self.values.items()}
        new = ~self.written[index]
        if new.any():
            for name, value in self.initial(index[new]).values.items():
                values[name][new] = value
        return Personal(values)

    def put(self, index: NDArray[np.int64], some: Personal) -> None:
        """Write the rows `index` (int64 [c], distinct)."""
        for name, value in self.values.items():
            value[index] = some.values[name]
        self.written[index] = True

    def chunks(self) -> Iterator[tuple[NDArray[np.int64], Personal]]:
        """Yield the written rows and their positions, ascending, a chunk at a time."""
        ids = np.flatnonzero(self.written)
        for at in range(0, len(ids), _CHUNK):
            yield ids[at : at + _CHUNK], self.take(ids[at : at + _CHUNK])


@dataclass(frozen=True)
class DiskStore:
    """Where one node keeps the personal parameters of one run.

    Attributes:
        folder: of the node and the session.
        num_users: C, users of the node.
        initial: positions int64 [c] -> their initial parameters.
    """

    folder: Path
    num_users: int
    initial: Initial

    def begin_round(self, state: RecordDict, moment: Moment) -> PersonalState:
        """As `clients.personal.begin_round`; the rows of what it returns are changed by `put`."""
        for folder in self._checkpoints():
            if folder.name > self._checkpoint(moment.base_round).name:
                shutil.rmtree(folder)
        found = self._find(state, moment.base_round) or _Place(0, None)
        if found.path != self._slot("current"):
            self._copy(found, "current")
            _set_tag(state, "current", found.tag)
        if moment.selected_round != NO_ROUND:
            selected = self._find(state, moment.selected_round)
            if selected is not None and selected.tag != _tag(state, "selected"):
                self._copy(selected, "selected")
                _set_tag(state, "selected", selected.tag)
        return PersonalState(found.tag, self._open("current"))

    def keep(self, state: RecordDict, after: PersonalState) -> None:
        """Tag the current state, whose rows have been put, with the round that did so."""
        _set_tag(state, "current", after.round_number)

    def end_round(self, state: RecordDict, moment: Moment) -> None:
        """Write the node's states to the disk if the request asks for it.

        Raises:
            OutputError: if the directory cannot be written.
        """
        if moment.checkpoint_round == NO_ROUND:
            return
        target = self._checkpoint(moment.checkpoint_round)
        part = target.with_name(f".{target.name}.part")
        try:
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir(parents=True)
            tags = {slot: tag for slot in SLOTS if (tag := _tag(state, slot)) is not None}
            for slot in tags:
                _save_rows(part / slot, self._open(slot))
            sums = {str(f.relative_to(part)): _digest(f) for f in sorted(part.glob("*/*.npy"))}
            (part / _META).write_text(json.dumps({"tags": tags, "sha256": sums}))
            _flush(part)
            shutil.rmtree(target, ignore_errors=True)
            part.rename(target)
        except OSError as error:
            raise OutputError(f"cannot write {target}: {error.strerror}") from None
        for folder in self._checkpoints()[:-KEPT_FILES]:
            shutil.rmtree(folder)

    def at_round(self, state: RecordDict, moment: Moment) -> Personal:
        """As `clients.personal.at_round`."""
        found = self._find(state, moment.base_round)
        if found is None:
            known = [place.tag for place in self._known(state)]
            if known:
                raise lost(moment.base_round, min(known))
            found = _Place(0, None)
        if found.path is not None and found.path.parent == self._slot("").parent:
            return self._open(found.path.name)
        self._copy(found, "looked-at")
        return self._open("looked-at")

    def _known(self, state: RecordDict) -> list[_Place]:
        """Return all states that are left, those in use first."""
        known = [_Place(t, self._slot(s)) for s in SLOTS if (t := _tag(state, s)) is not None]
        for folder in self._checkpoints():
            tags = _read_meta(folder)["tags"]
            known += [_Place(int(tag), folder / slot) for slot, tag in tags.items()]
        return known

    def _find(self, state: RecordDict, limit: int) -> _Place | None:
        """Return the newest state of at most a round; of equals the one in use."""
        usable = [place for place in self._known(state) if place.tag <= limit]
        return max(usable, key=lambda place: place.tag, default=None)

    def _copy(self, source: _Place, slot: str) -> None:
        """Make a slot hold another state, or a fresh one."""
        target = self._slot(slot)
        part = target.with_name(f".{slot}.part")
        try:
            shutil.rmtree(part, ignore_errors=True)
            new = self._create(part)
            for ids, some in self._rows_of(source):
                new.put(ids, some)
            shutil.rmtree(target, ignore_errors=True)
            part.rename(target)
        except OSError as error:
            raise OutputError(f"cannot write {target}: {error.strerror}") from None

    def _rows_of(self, source: _Place) -> Iterator[tuple[NDArray[np.int64], Personal]]:
        if source.path is None:
            return iter(())
        if source.path.parent == self._slot("").parent:
            return self._open(source.path.name).chunks()
        return _saved_rows(source.path)

    def _create(self, folder: Path) -> MappedPersonal:
        """Make files of zeros, which take no space on the disk until they are written to."""
        one = self.initial(np.zeros(1, np.int64)).values
        size = sum(v.nbytes for v in one.values()) * self.num_users
        folder.mkdir(parents=True)
        free = shutil.disk_usage(folder).free
        if size > free:
            raise OutputError(
                f"the personal parameters of {self.num_users:,} users may grow to "
                f"{size >> 20:,} MiB, and {folder.parent} has {free >> 20:,} MiB free: "
                "choose another run.out (or state-dir of the node)"
            )
        values = _new_files(folder, one, self.num_users)
        written = open_memmap(folder / _WRITTEN, "w+", np.bool_, (self.num_users,))
        return MappedPersonal(values, written=np.asarray(written), initial=self.initial)

    def _open(self, slot: str) -> MappedPersonal:
        folder = self._slot(slot)
        values = {f.stem: _map(f) for f in sorted(folder.glob("*.npy"))}
        return MappedPersonal(values, written=_map(folder / _WRITTEN), initial=self.initial)

    def _slot(self, slot: str) -> Path:
        return self.folder / "mapped" / (slot or "-")

    def _checkpoint(self, round_number: int) -> Path:
        return self.folder / f"round-{round_number:06d}.rows"

    def _checkpoints(self) -> list[Path]:
        return sorted(self.folder.glob("round-*.rows"))


@dataclass(frozen=True)
class _Place:
    """A state: the round that produced it, and its directory; None if it is fresh."""

    tag: int
    path: Path | None


def _tag(state: RecordDict, slot: str) -> int | None:
    name = f"mapped.{slot}.tag"
    return int(state.config_records[name]["round"]) if name in state else None  # type: ignore[arg-type]


def _set_tag(state: RecordDict, slot: str, round_number: int) -> None:
    state[f"mapped.{slot}.tag"] = ConfigRecord({"round": round_number})


def _map(file: Path) -> NDArray:
    """Map an array without reading ahead: a cohort's rows lie far apart."""
    array = np.load(file, "r+")
    if hasattr(mmap, "MADV_RANDOM"):  # not on every system
        array._mmap.madvise(mmap.MADV_RANDOM)
    return np.asarray(array)


def _new_files(folder: Path, like: Mapping[str, NDArray], rows: int) -> dict[str, NDArray]:
    """Make one array of zeros per name, with rows of the same shape."""
    return {
        n: np.asarray(open_memmap(folder / f"{n}.npy", "w+", np.float32, (rows, *v.shape[1:])))
        for n, v in like.items()
    }


def _save_rows(folder: Path, personal: MappedPersonal) -> None:
    """Write the written rows with their positions."""
    folder.mkdir()
    number = int(np.count_nonzero(personal.written))
    ids = open_memmap(folder / _IDS, "w+", np.int64, (number,))
    files = _new_files(folder, personal.values, number)
    at = 0
    for some, rows in personal.chunks():
        ids[at : at + len(some)] = some
        for name, file in files.items():
            file[at : at + len(some)] = rows.values[name]
        at += len(some)


def _saved_rows(folder: Path) -> Iterator[tuple[NDArray[np.int64], Personal]]:
    """Yield what `_save_rows` wrote, a chunk at a time.

    Raises:
        CheckpointError: if a file is not as it was written.
    """
    for name, told in _read_meta(folder.parent)["sha256"].items():
        file = folder.parent / name
        if not file.exists() or _digest(file) != told:
            raise CheckpointError(
                f"{file} is corrupted: its checksum does not fit its content. "
                "Restore it from a copy, or start the run again with --overwrite"
            )
    ids = np.load(folder / _IDS, "r")
    files = [f for f in sorted(folder.glob("*.npy")) if f.name != _IDS]
    values = {f.stem: np.load(f, "r") for f in files}
    for at in range(0, len(ids), _CHUNK):
        part = slice(at, at + _CHUNK)
        yield np.array(ids[part]), Personal({n: np.array(v[part]) for n, v in values.items()})


def _read_meta(folder: Path) -> dict[str, Any]:
    try:
        meta: dict[str, Any] = json.loads((folder / _META).read_text())
        return meta
    except (OSError, ValueError) as error:
        raise CheckpointError(f"cannot read {folder / _META}: {error}") from None


def _digest(file: Path) -> str:
    with open(file, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _flush(folder: Path) -> None:
    """Have the disk hold all files of a directory."""
    for file in folder.rglob("*"):
        if file.is_file():
            with open(file, "rb") as stream:
                os.fsync(stream.fileno())
