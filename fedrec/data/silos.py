"""Merchants that keep their rows: each one's file is read and cleaned by itself.

A node reads the file of its merchant and nothing else.  The same rows in one joined file
are read merchant by merchant, so the numbers of items, of clients and of each merchant's
users, and so every draw, are those of the nodes: who trains on the joined file trains what
they train.  The server of a deployment reads the item list alone.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fedrec.config import Config
from fedrec.config_sections import DataSection
from fedrec.config_silo import ALL, NONE, merchants_of
from fedrec.data.account import rules_of
from fedrec.data.catalogue_map import mapped_frame
from fedrec.data.clean import clean
from fedrec.data.files import read_table, usual_columns, what_to_read
from fedrec.data.frames import Columns, check_columns, from_frames
from fedrec.data.interactions import Catalogue, Dataset, Interactions, Split
from fedrec.data.item_list import list_hash, read_item_list
from fedrec.data.partition import by_merchant
from fedrec.data.population import Population, build_population
from fedrec.data.readers import as_words
from fedrec.data.split import split, split_hash
from fedrec.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

_MERCHANT_BITS = 32  # of an address are the number of a user at its merchant

SERVER_NOTE = (
    "the rows lie with the merchants: users and interactions are not known here, and the hash of "
    "the split is that of an empty one."
)


def silo_dataset(config: Config) -> Dataset:
    """Return the rows that a configuration may see, cleaned merchant by merchant.

    Users are numbered merchant by merchant, items as in the shared list, merchants as in
    `silo.merchants`, whether or not they have rows here.

    Args:
        config: with `silo.merchants`; `silo.holds` says whose rows `data.path` holds.

    Raises:
        DataError: if the file or the item list cannot be used, or a merchant has no rows, or
            more users than `silo.most_users`.
    """
    items = shared_items(config)
    names = merchants_of(config)
    held = {ALL: names, NONE: ()}.get(config.silo.holds, (config.silo.holds,))
    merchants = Catalogue(np.array(names, dtype=object))
    if not held:
        nobody = Catalogue(np.zeros(0, dtype=object))
        none = np.zeros(0, np.int32)
        rows = Interactions(none, none, merchant=none)
        return Dataset("silos", rows, items, nobody, merchants, (SERVER_NOTE,))
    frame, columns, lines = silo_frame(config.data)
    own = [_one(frame, columns, name, items, config) for name in held]
    found = _joined(own, [names.index(name) for name in held], items, merchants)
    return replace(found, account=(*lines, *found.account))


def silo_population(config: Config) -> Population:
    """Return the population of a configuration over silos: a client is a merchant.

    Raises:
        DataError: as `silo_dataset`, or if nothing is left to train, validate or test.
    """
    parts = by_merchant(silo_dataset(config))
    if config.silo.holds == NONE:
        none = np.zeros(0, np.int64)
        digest = split_hash(parts.dataset, none, none, none)
        notes = (SERVER_NOTE,)
        done = Split(parts.dataset, none, none, none, config.split.protocol, digest, notes)
    else:
        done = split(parts.dataset, config)
    explicit, event = config.data.feedback == "explicit", config.split.train_event
    event = "any" if config.silo.holds == NONE else event
    found = build_population(parts, done, explicit=explicit, train_event=event)
    owner = found.client_of_user
    first = np.searchsorted(owner, owner)  # users stand merchant by merchant
    addresses = (owner << _MERCHANT_BITS) + np.arange(len(owner)) - first
    return replace(
        found,
        addresses=addresses,
        valid=replace(found.valid, addresses=addresses),
        test=replace(found.test, addresses=addresses),
    )


def shared_items(config: Config) -> Catalogue:
    """Return the catalogue of the shared item list.

    Raises:
        DataError: if it cannot be read, or is another one than the run's.
    """
    path = Path(config.silo.items).expanduser()
    if config.silo.items_hash and list_hash(path) != config.silo.items_hash:
        raise DataError(
            f"the item list {path} is not the one of this run (SHA-256 {list_hash(path)[:16]}..., "
            f"expected {config.silo.items_hash[:16]}...): items would be numbered differently. "
            "Get the list again from whoever runs the server"
        )
    return read_item_list(path)


def silo_frame(section: DataSection) -> tuple[pd.DataFrame, Columns, tuple[str, ...]]:
    """Read the file of one merchant or of all; every cell is text where the format has no types.

    Raises:
        DataError: if it cannot be read or lacks a column.
    """
    path, columns, header = what_to_read(section)
    frame, _ = read_table(path, header=header, text=True)
    frame = frame.rename(columns=str)
    if path.suffix == ".inter":
        columns = usual_columns(columns, frame)
    check_columns(frame, columns, path.name)
    if not section.catalogue_map:
        return frame, columns, ()
    frame, line, _ = mapped_frame(section, frame, columns)
    return frame, columns, (line,)


def _one(
    frame: pd.DataFrame, columns: Columns, name: str, items: Catalogue, config: Config
) -> Dataset:
    """Return the rows of one merchant, cleaned, with items numbered as in the list."""
    import pandas as pd

    source = Path(config.data.path).name
    if columns.merchant:
        frame = frame[(as_words(frame[columns.merchant]) == name).to_numpy()]
        if not len(frame):
            raise DataError(f"{source}: no row of the merchant {name!r}; check silo.merchants")
    known = pd.Index(items.ids)
    words = as_words(frame[columns.item])
    strange = words.notna().to_numpy() & (known.get_indexer(pd.Index(words)) < 0)
    if strange.all() and len(frame):
        raise DataError(
            f"{source}: none of the {len(frame):,} rows of the merchant {name!r} has an item of "
            f"the shared list (first {words.iloc[0]!r}; the list begins with {items.ids[0]!r}). "
            "Are these the same ids?"
        )
    raw = from_frames(frame[~strange], replace(columns, merchant=""), name=source)
    cleaned = clean(raw, rules_of(config.data))
    if cleaned.num_users > config.silo.most_users:
        raise DataError(
            f"{source}: the merchant {name!r} has {cleaned.num_users:,} users, and "
            f"silo.most_users = {config.silo.most_users:,}: agree on a higher number"
        )
    place = known.get_indexer(pd.Index(cleaned.items.ids)).astype(np.int32)
    rows = replace(cleaned.interactions, item=place[cleaned.interactions.item])
    told = f"items that are not in the shared list: {int(strange.sum()):,} rows dropped"
    account = tuple(f"{name}: {line}" for line in (told, *cleaned.account))
    return replace(cleaned, interactions=rows, items=items, account=account)


def _joined(
    own: list[Dataset], numbers: list[int], items: Catalogue, merchants: Catalogue
) -> Dataset:
    """Put the data of merchants one after the other; nobody's users are anybody else's."""
    starts = np.cumsum([0, *(one.num_users for one in own)])
    parts = [one.interactions.columns() for one in own]
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    shift = np.repeat(starts[:-1], [len(one.interactions) for one in own])
    columns["user"] = (columns["user"] + shift).astype(np.int32)
    columns["merchant"] = np.repeat(
        np.array(numbers, np.int32), [len(one.interactions) for one in own]
    )
    return Dataset(
        own[0].name,
        Interactions(**columns),
        items,
        Catalogue(np.concatenate([one.users.ids for one in own])),
        merchants,
        tuple(line for one in own for line in one.account),
    )
