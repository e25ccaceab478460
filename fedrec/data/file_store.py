"""The population of an own file in mapped files, for more interactions than memory holds.

It is laid out once for each content of the file and each set of keys that shape it, and
kept in the cache.  Its users, items and samples are numbered and ordered as in memory;
only the rows of its data set lie user by user, in the order of time.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from fedrec.config import Config
from fedrec.config_sections import DataSection
from fedrec.config_tasks import held_out_event
from fedrec.data.account import rules_of
from fedrec.data.chunks import expected_rows
from fedrec.data.directory import cache_directory
from fedrec.data.file_columns import written_columns
from fedrec.data.files import files_of
from fedrec.data.funnel import ANY
from fedrec.data.interactions import Attribute, Catalogue, Dataset, Interactions, Split
from fedrec.data.mapped import open_or_write
from fedrec.data.names import Packed
from fedrec.data.population import HeldOut, Population
from fedrec.data.zipf_store import MEMORY_SHARE
from fedrec.errors import ConfigError
from fedrec.machine import memory_gib
from fedrec.output import write_atomically

FORMAT = 1
"""Part of the folder's name: raised when the columns or what is in them change."""

_PER_ROW = 100  # bytes of an interaction: in the finished columns, and in those on the way
_NOT_SHAPING = (
    "path", "cache", "store", "level", "users", "items", "merchants",
    "events_per_user", "data_seed", "item_file", "user_file", "item_vectors",
)  # fmt: skip


def refusal(config: Config) -> str:
    """Return why a population cannot be laid out on the disk; empty if it can."""
    section = config.data
    reasons = {
        "data.name is not 'file' (or 'zipf' without cleaning)": section.name != "file",
        "data.event_column is set": bool(section.event_column),
        "data.catalogue_map is set": bool(section.catalogue_map),
        "data.customer_map is set": bool(section.customer_map),
        "interactions of one event are asked for": {
            held_out_event(config),
            config.split.train_event,
        }
        != {ANY},
        "clients.unit is not 'user'": config.clients.unit != "user",
        "split.protocol is not 'leave-last-out'": config.split.protocol != "leave-last-out",
    }
    return ", ".join(reason for reason, holds in reasons.items() if holds)


def on_disk(config: Config) -> bool:
    """Return whether the population of an own file lies on the disk.

    Raises:
        ConfigError: if it is asked for, and only memory can hold it.
    """
    section = config.data
    if section.store == "memory" or section.name != "file":
        return False
    reason = refusal(config)
    if section.store == "disk" and reason:
        raise ConfigError(
            f"data.store = 'disk' with data.name = 'file' cannot be, as {reason}. "
            f"Change this, or set data.store = 'memory'."
        )
    share = memory_gib() * 2**30 / MEMORY_SHARE  # 0 where the system does not say
    return section.store == "disk" or (not reason and expected_bytes(section) > share > 0)


def expected_bytes(section: DataSection) -> int:
    """Return about how many bytes of an own file's rows there will be, in memory or on disk."""
    return _PER_ROW * expected_rows(Path(section.path).expanduser())


def stored_dataset(config: Config) -> Dataset:
    """Return the data set with mapped columns, user by user in the order of time.

    Raises:
        DataError: for what reading, cleaning and splitting refuse, or if the cache cannot
            be written.
    """
    columns = _columns(config.data)
    return _dataset(columns, _told(columns))


def stored_population(config: Config) -> Population:
    """Return the population with mapped arrays.

    Raises:
        DataError: as `stored_dataset`.
    """
    columns = _columns(config.data)
    told = _told(columns)
    dataset = _dataset(columns, told)
    split = Split(
        dataset,
        columns["train_row"],
        columns["valid_row"],
        columns["test_row"],
        "leave-last-out",
        told["split_hash"],
        tuple(told["notes"]),
    )

    def labels(part: str) -> NDArray[np.float32]:
        ones = np.broadcast_to(np.float32(1), (len(columns[part]),))
        return columns.get(f"{part}_label", ones)

    def held_out(part: str, seen_indptr: str, seen: str) -> HeldOut:
        number = columns["number"][: len(columns["held"]) + 1]
        own = columns["held"], number, columns[part], labels(part)
        return HeldOut(*own, columns[seen_indptr], columns[seen])

    return Population(
        num_items=dataset.num_items,
        num_users=dataset.num_users,
        num_clients=dataset.num_users,
        indptr=columns["indptr"],
        items=columns["train"],
        labels=labels("train"),
        client_of_user=columns["number"][:-1],
        valid=held_out("valid", "indptr", "train"),
        test=held_out("test", "seen_indptr", "seen"),
        split=split,
    )


def folder_of(section: DataSection) -> Path:
    """Return where the columns lie: the cache, and a hash of the files and the keys that count.

    Raises:
        DataError: if a file is missing.
    """
    cache = cache_directory(section.cache) / "file"
    keys = {k: v for k, v in section.model_dump().items() if k not in _NOT_SHAPING}
    files = [path for path in files_of(section) if path.exists()]
    told = [FORMAT, keys, Path(section.path).name, [[f.suffix, _content(f, cache)] for f in files]]
    digest = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]
    return cache / f"population-{digest}"


def _content(path: Path, cache: Path) -> str:
    """Return a hash of a file's content; that of an untouched file is remembered."""
    stat, whole = path.stat(), str(path.absolute())
    stamp = [whole, stat.st_size, stat.st_mtime_ns]
    note = cache / f"content-{hashlib.sha256(whole.encode()).hexdigest()[:16]}.json"
    try:
        *seen, digest = json.loads(note.read_text(encoding="utf-8"))
        if seen == stamp:
            return str(digest)
    except (OSError, ValueError, TypeError):
        pass  # none, or none that can be read: the file is read again
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    cache.mkdir(parents=True, exist_ok=True)
    write_atomically(note, json.dumps([*stamp, digest]))
    return digest


def _columns(section: DataSection) -> dict[str, NDArray]:
    from fedrec.data.files import check_readable

    check_readable(Path(section.path).expanduser())
    folder = folder_of(section)
    work = folder.with_name(f".{folder.name}.work")
    scattered = ("train", "train_label")
    try:
        blocks = written_columns(section, rules_of(section), work)
        return open_or_write(folder, blocks, size=expected_bytes(section), scattered=scattered)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _told(columns: dict[str, NDArray]) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(columns["told"].tobytes())
    return told


def _dataset(columns: dict[str, NDArray], told: dict[str, Any]) -> Dataset:
    names = ("user", "item", "rating", "timestamp", "merchant")
    kinds = {kind: _catalogue(kind, columns, told) for kind in told["attributes"]}
    return Dataset(
        told["name"],
        Interactions(**{name: columns[name] for name in names if name in columns}),
        kinds["items"],
        kinds["users"],
        kinds.get("merchants"),
        tuple(told["account"]),
    )


def _catalogue(kind: str, columns: dict[str, NDArray], told: dict[str, Any]) -> Catalogue:
    ids = Packed(columns[f"{kind}-text"], columns[f"{kind}-ends"])
    attributes = {}
    for number, (name, form, vocabulary) in enumerate(told["attributes"][kind]):
        file = f"{kind}-attribute-{number}"
        if form == "text":
            values: Any = np.asarray(Packed(columns[f"{file}-text"], columns[f"{file}-ends"]))
        else:
            values = columns[file]
            values = values.reshape(len(ids), len(vocabulary)) if form == "tags" else values
        attributes[name] = Attribute(form, values, tuple(vocabulary))
    return Catalogue(cast(NDArray, ids), attributes)
