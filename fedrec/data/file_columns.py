"""The columns of an own file's population, written block by block."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedrec.config_sections import DataSection
from fedrec.data.account import Rules, check_left, kept_line, lines_of, without_line
from fedrec.data.clean import check_rated
from fedrec.data.external import Sorted, map_column, sort_and_clean, user_blocks
from fedrec.data.files import attribute_tables
from fedrec.data.frames import with_attributes
from fedrec.data.interactions import Catalogue, Interactions
from fedrec.data.mapped import Block
from fedrec.data.names import pack
from fedrec.data.population import expand
from fedrec.data.scan import Plan, scan
from fedrec.data.split import Ranks
from fedrec.data.split_notes import last_out_notes, strangers_note
from fedrec.errors import DataError

_FEWEST = 3  # interactions of a user of whom two are held out


@dataclass
class _Sums:
    """What is added up over the blocks; numbers of a user and an item are held in memory."""

    rows: int = 0
    users: int = 0
    evaluated: int = 0
    few: int = 0
    tied: int = 0
    in_training: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, bool))
    held: list[NDArray[np.int64]] = field(default_factory=list)
    valid: list[NDArray[np.int32]] = field(default_factory=list)
    test: list[NDArray[np.int32]] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class _Numbers:
    """Who is kept: counts of rows and new numbers, over those of the file.

    Attributes:
        counts: int64 [U], rows of each user.
        users: int64, the users that are kept; likewise `items` and `merchants`.
        place: int32 [I], the new number of an item; of a merchant in `shop`.
    """

    counts: NDArray[np.int64]
    users: NDArray[np.int64]
    items: NDArray[np.int64]
    merchants: NDArray[np.int64]
    place: NDArray[np.int32]
    shop: NDArray[np.int32]


def written_columns(section: DataSection, rules: Rules, work: Path) -> Iterator[Block]:
    """Read, clean, sort and split an own file; yield the columns of its population.

    Args:
        section: the `data` section.
        rules: how to clean.
        work: a folder for files on the way; the caller removes it.

    Raises:
        DataError: as reading, cleaning and splitting in memory do.
    """
    shutil.rmtree(work, ignore_errors=True)  # of a process that was killed
    work.mkdir(parents=True)
    plan = scan(section)
    catalogues, lines = _catalogues(plan, section)
    names = {"rating": plan.columns.rating, "timestamp": plan.columns.time}
    columns = [n for n, given in names.items() if given] + list(plan.ids)
    check_rated(plan.path.name, columns, rules)
    sizes = len(catalogues["users"]), len(catalogues["items"])
    rows = sort_and_clean(plan.read(), *sizes, rules, work)
    check_left(plan.path.name, lines, rows.tally, rules, columns)
    numbers = _number(rows, len(catalogues.get("merchants", ())))
    sums = _Sums(in_training=np.zeros(len(numbers.items), bool))
    with (work / "train").open("wb") as train:
        for first, last, block in rows.blocks():
            columns_of_block = _laid_out(block, numbers, first, last, sums, rules.explicit)
            train.write(columns_of_block["train"].tobytes())
            yield columns_of_block
    _check_parts(plan.path.name, sums)
    kept = {"users": numbers.users, "items": numbers.items, "merchants": numbers.merchants}
    said = [without_line(what, len(c), len(kept[what])) for what, c in catalogues.items()]
    said.append(kept_line(sums.rows, len(numbers.users), len(numbers.items)))
    catalogues = {what: each.take(kept[what]) for what, each in catalogues.items()}
    told: dict[str, Any] = {
        "name": plan.path.name,
        "account": [*lines, *lines_of(rows.tally, rules, columns), *said],
        "notes": _notes(sums),
        "split_hash": _split_hash(work, numbers, sums, catalogues),
        "attributes": {},
    }
    for what, each in catalogues.items():
        block_of_names, told["attributes"][what] = _names(what, each)
        yield block_of_names
    yield {"told": np.frombuffer(json.dumps(told).encode(), np.uint8)}


def _catalogues(plan: Plan, section: DataSection) -> tuple[dict[str, Catalogue], tuple[str, ...]]:
    tables = dict(zip(("items", "users"), attribute_tables(section), strict=True))
    found, lines = {}, []
    for what, role in (("items", "item"), ("users", "user")):
        ids, column = plan.ids[role].ids, getattr(plan.columns, role)
        found[what], more = with_attributes(_some(ids), tables[what], column, what)
        lines += more
    ordered = {"users": found["users"], "items": found["items"]}
    if "merchant" in plan.ids:
        ordered["merchants"] = Catalogue(_some(plan.ids["merchant"].ids))
    return ordered, tuple(lines)


def _some(ids: NDArray[np.object_] | None) -> NDArray[np.object_]:
    return np.zeros(0, object) if ids is None else ids


def _number(rows: Sorted, shops: int) -> _Numbers:
    """Count the rows that are kept, and number whom they are of."""
    counts, items = np.zeros(len(rows.users), np.int64), np.zeros(len(rows.items), bool)
    merchants = np.zeros(shops, bool)
    for first, last, block in rows.blocks():
        counts[first:last] = np.bincount(block.user - first, minlength=last - first)
        items[block.item] = True
        if block.merchant is not None:
            merchants[block.merchant] = True
    place, shop = ((np.cumsum(met) - 1).astype(np.int32) for met in (items, merchants))
    users, kept, shops_kept = (np.flatnonzero(of) for of in (counts, items, merchants))
    return _Numbers(counts, users, kept, shops_kept, place, shop)


def _laid_out(
    block: Interactions, numbers: _Numbers, first: int, last: int, sums: _Sums, explicit: bool
) -> Block:
    """Return the next piece of every column: the rows of the users from first to last."""
    counts = numbers.counts[first:last]
    counts = counts[counts > 0]
    ends, held = np.cumsum(counts), counts >= _FEWEST
    number = sums.users + np.arange(len(counts))
    item = numbers.place[block.item]
    place = np.zeros(len(item), np.int8)
    last_rows, second = ends[held] - 1, ends[held] - 2
    place[last_rows], place[second] = 2, 1
    train = np.flatnonzero(place == 0)
    parts = {"train": train, "valid": second, "test": last_rows}
    told = sums.evaluated + np.cumsum(held)  # users up to and with this one of whom two are held
    pointers = {
        "indptr": sums.rows + ends - 2 * told,
        "seen_indptr": sums.rows + ends - told,
        "number": number + 1,
    }
    if not sums.users:
        pointers = {name: np.concatenate([[0], p]) for name, p in pointers.items()}
    columns: dict[str, NDArray] = {
        "user": np.repeat(number.astype(np.int32), counts),
        "item": item,
        "held": number[held],
        "seen": item[place < 2],
        **pointers,
    }
    if block.rating is not None:
        columns["rating"] = block.rating
    if block.timestamp is not None:
        columns["timestamp"] = block.timestamp
    if block.merchant is not None:
        columns["merchant"] = numbers.shop[block.merchant]
    for name, chosen in parts.items():
        columns[name], columns[f"{name}_row"] = item[chosen], sums.rows + chosen
        if explicit and block.rating is not None:
            columns[f"{name}_label"] = block.rating[chosen]
    sums.few += int((~held).sum())
    sums.tied += _tied(block, last_rows)
    sums.in_training[item[train]] = True
    sums.held.append(columns["held"])
    sums.valid.append(columns["valid"])
    sums.test.append(columns["test"])
    sums.rows, sums.users = sums.rows + len(item), sums.users + len(counts)
    sums.evaluated += len(second)
    return columns


def _tied(block: Interactions, last: NDArray[np.int64]) -> int:
    """Count users whose held-out rows hinge on a tie in time; `last` is their last row."""
    if block.timestamp is None:
        return 0
    newest, second, third = (block.timestamp[last - back] for back in range(3))
    return int(((newest == second) | (second == third)).sum())


def _check_parts(name: str, sums: _Sums) -> None:
    """Refuse data of which nothing can be held out, or nothing trained on."""
    if sums.users == sums.few:
        raise DataError(
            f"data set {name!r}, split 'leave-last-out': no interaction is left for validation. "
            f"{sums.few:,} of {sums.users:,} users have fewer than 3 interactions. Use more data."
        )


def _notes(sums: _Sums) -> list[str]:
    strange = sum(int((~sums.in_training[items]).sum()) for items in sums.valid + sums.test)
    return [*last_out_notes(sums.few, sums.users, sums.tied), strangers_note(strange)]


def _split_hash(
    work: Path, numbers: _Numbers, sums: _Sums, catalogues: dict[str, Catalogue]
) -> str:
    """Return `split.split_hash` of the parts, user by user in the order of their names."""
    users, items = (Ranks.of(catalogues[what].ids) for what in ("users", "items"))
    digest = hashlib.sha256(json.dumps([users.words, items.words]).encode())
    counts = numbers.counts[numbers.users]
    counts = counts - 2 * (counts >= _FEWEST)
    indptr = np.concatenate([[0], np.cumsum(counts)])
    train = map_column(work / "train", np.dtype(np.int32))
    digest.update(len(train).to_bytes(8, "little"))
    for first, last in user_blocks(np.concatenate([[0], np.cumsum(counts[users.order])])):
        block = users.order[first:last]
        owner = np.repeat(np.arange(first, last), counts[block])
        pairs = owner * len(items.words) + items.rank[train[expand(indptr, block)]]
        digest.update(np.sort(pairs).astype("<i8").tobytes())
    held = users.rank[np.concatenate(sums.held)] * len(items.words)
    for part in (sums.valid, sums.test):
        pairs = held + items.rank[np.concatenate(part)]
        digest.update(len(pairs).to_bytes(8, "little"))
        digest.update(np.sort(pairs).astype("<i8").tobytes())
    return digest.hexdigest()[:16]


def _names(what: str, catalogue: Catalogue) -> tuple[dict[str, NDArray], list[list[Any]]]:
    """Return the columns of a catalogue, and what is to be told of its attributes."""
    packed = pack(catalogue.ids)
    columns: dict[str, NDArray] = {f"{what}-text": packed.text, f"{what}-ends": packed.ends}
    told = []
    for number, (name, attribute) in enumerate(catalogue.attributes.items()):
        file = f"{what}-attribute-{number}"
        if attribute.kind == "text":
            packed = pack(attribute.values)
            columns |= {f"{file}-text": packed.text, f"{file}-ends": packed.ends}
        else:
            columns[file] = attribute.values.ravel()
        told.append([name, attribute.kind, list(attribute.vocabulary)])
    return columns, told
