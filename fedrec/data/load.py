"""One way in: a configuration or a DataFrame becomes a cleaned `Dataset`."""

from __future__ import annotations

import logging
import zipfile
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from fedrec.config import Config
from fedrec.config_collab import MERCHANT, DomainSection
from fedrec.config_sections import DataSection
from fedrec.config_silo import SiloSection
from fedrec.data import cache, directory, file_store, movielens, registry, sources
from fedrec.data.account import Rules, rules_of
from fedrec.data.clean import clean
from fedrec.data.domains import in_domain
from fedrec.data.files import files_of, read_files
from fedrec.data.frames import Columns, Table, from_frames
from fedrec.data.interactions import Dataset
from fedrec.data.journey import read_journey
from fedrec.data.mapped_files import mapped_files
from fedrec.data.merchants import keep_common, keep_largest, leave_out
from fedrec.data.silos import silo_dataset
from fedrec.data.synthetic import make_marketplace
from fedrec.data.zipf import as_generated, make_zipf
from fedrec.data.zipf_store import on_disk, stored_dataset
from fedrec.errors import ConfigError, DataError

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger("fedrec.data")

Root = Path | zipfile.Path
Stamp = tuple[tuple[str, int, int], ...]


def load_dataset(config: Config) -> Dataset:
    """Return the data set that a configuration names, cleaned.

    The result is kept in memory for later calls with the same `data` section.

    Args:
        config: its `data` section decides, and `clients.unit`: where a merchant
            is a client, one interaction per (merchant, user, item) is kept,
            otherwise one per (user, item).  With `domain.by`, see `in_domain`.

    Raises:
        DataError: if the data set is unknown, cannot be had or read, or is
            empty after cleaning.
        ConfigError: if data are asked for on the disk that only memory can hold.
    """
    newcomer_in_memory(config)
    if file_store.on_disk(config):
        return file_store.stored_dataset(config)
    if config.silo.merchants:
        return silo_dataset(config)
    per_merchant = config.clients.unit == "merchant"
    stamp = stamp_of(config.data)
    if config.domain.by:
        return _domain(config.data, config.domain, stamp)
    section = config.merchants
    parts = (section.largest, section.catalogue == "intersection")
    return _load(config.data, per_merchant, parts, stamp, config.coldstart.merchant)


def newcomer_in_memory(config: Config) -> None:
    """Refuse to leave a merchant out of data that are not read as a whole.

    Raises:
        ConfigError: saying what to set.
    """
    if config.coldstart.merchant and (file_store.on_disk(config) or as_generated(config.data)):
        raise ConfigError(
            f"coldstart.merchant = {config.coldstart.merchant!r} is taken out of data in memory, "
            f"and those of {config.data.name!r} lie on the disk or are generated as they are read: "
            "set data.store = 'memory', or leave it empty"
        )


def stamp_of(section: DataSection, silo: SiloSection | None = None) -> Stamp:
    """Return what changes with the files of a data set, so that memory is not stale."""
    if section.name != "file":
        return ()
    items = () if silo is None or not silo.items else (Path(silo.items).expanduser(),)
    own = files_of(section) if section.path else ()
    stats = ((path, path.stat()) for path in (*own, *items) if path.exists())
    return tuple((str(path), stat.st_mtime_ns, stat.st_size) for path, stat in stats)


@lru_cache(maxsize=4)
def _load(
    section: DataSection,
    per_merchant: bool,
    parts: tuple[int, bool],
    stamp: Stamp,
    newcomer: str = "",
) -> Dataset:
    raw = load_raw(section)
    raw = leave_out(raw, newcomer) if newcomer else raw
    largest, common = parts
    raw = keep_largest(raw, largest) if largest else raw
    data = raw if as_generated(section) else clean(raw, rules_of(section, per_merchant))
    return keep_common(data) if common else data


@lru_cache(maxsize=4)
def _domain(section: DataSection, domain: DomainSection, stamp: Stamp) -> Dataset:
    return in_domain(_load(section, domain.by == MERCHANT, (0, False), stamp), domain)


def dataset_from_frame(
    frame: pd.DataFrame,
    *,
    user: str = "user",
    item: str = "item",
    rating: str | None = None,
    time: str | None = None,
    merchant: str | None = None,
    event: str | None = None,
    items: pd.DataFrame | None = None,
    users: pd.DataFrame | None = None,
    name: str = "frame",
    rules: Rules | None = None,
) -> Dataset:
    """Make a cleaned data set of a DataFrame, one row for each interaction.

    Args:
        frame: the interactions; identifiers may be of any type.
        user: column of users; likewise `item`.
        rating: column of ratings, or None; likewise `time` (seconds, dates or
            date strings), `merchant` and `event` (view, cart, purchase).
        items: attributes of items, or None; its id column is called as `item`,
            or is the first.  Attributes are typed by what they hold.
        users: attributes of users, or None.
        name: name of the data set.
        rules: how to clean; by default as implicit feedback, one interaction
            for each user and item.

    Returns:
        the data set, with its cleaning account.

    Raises:
        DataError: for an empty frame, missing columns, or values that cannot be
            used, saying which.
    """
    columns = Columns(user, item, rating or "", time or "", merchant or "", event or "")
    raw = from_frames(
        frame,
        columns,
        items=None if items is None else Table(items, source=f"{name} (items)"),
        users=None if users is None else Table(users, source=f"{name} (users)"),
        name=name,
    )
    return clean(raw, rules or Rules())


def load_raw(section: DataSection) -> Dataset:
    """Return a data set as its reader gives it, before cleaning.

    Raises:
        DataError: if the data set is unknown, or cannot be had or read.
        ConfigError: if `data.path` is set for a registered data set.
    """
    entry = registry.find_entry(section.name)
    if section.path and entry.name != "file":
        raise ConfigError(
            f"data.path = {section.path!r} is set, but data.name = {entry.name!r} does not read "
            f"it. Set data.name = 'file', or remove data.path."
        )
    for key in ("catalogue_map", "customer_map"):
        if getattr(section, key) and entry.name != "file":
            raise ConfigError(
                f"data.{key} is for own files, and data.name = {entry.name!r} reads none. Set "
                f"data.name = 'file', or remove data.{key}."
            )
    if entry.name == "marketplace":
        return make_marketplace(
            section.users,
            section.items,
            section.merchants,
            section.events_per_user,
            section.data_seed,
            section.assortment,
            section.price_spread,
        )
    if entry.name == "zipf":
        return stored_dataset(section) if on_disk(section) else make_zipf(section)
    if entry.name == "file":
        mapped = section.catalogue_map or section.customer_map
        return mapped_files(section) if mapped else read_files(section)
    return _registered(entry, section)


def _registered(entry: registry.Entry, section: DataSection) -> Dataset:
    """Read the parsed copy in the cache, or build it from the source files."""
    folder = directory.cache_directory(section.cache)
    level = f"-{section.level}" if entry.name == "complete-journey" else ""
    parsed = folder / entry.name / f"parsed{level}-{cache.FORMAT}.npz"
    if parsed.exists():
        try:
            return cache.load(parsed)
        except DataError as error:
            log.warning("%s It is built again now.", error)
    source, root = sources.fetch(entry, folder)
    dataset = _read(entry.name, source.form, root, section)
    cache.save(parsed, dataset)
    return dataset


def _read(name: str, form: str, root: Root, section: DataSection) -> Dataset:
    if name == "complete-journey":
        return read_journey(root, section.level)
    if name == "ml-1m":
        return movielens.read_1m(root)
    if form == "recbole":
        return movielens.read_100k_recbole(root)
    return movielens.read_100k_grouplens(root)
