"""One way in: a configuration or a DataFrame becomes a cleaned `Dataset`."""

from __future__ import annotations

import logging
import zipfile
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

from fedrec.config import Config, DataSection
from fedrec.data import cache, movielens, sources
from fedrec.data.clean import Rules, clean
from fedrec.data.interactions import Dataset
from fedrec.errors import DataError

log = logging.getLogger("fedrec.data")

Root = Path | zipfile.Path
_READERS: dict[tuple[str, str], Callable[[Root], Dataset]] = {
    ("ml-100k", "grouplens"): movielens.read_100k_grouplens,
    ("ml-100k", "recbole"): movielens.read_100k_recbole,
    ("ml-1m", "grouplens"): movielens.read_1m,
}


def load_dataset(config: Config) -> Dataset:
    """Return the data set that a configuration names, cleaned.

    The result is kept in memory for later calls with the same `data` section.

    Args:
        config: its `data` section decides, and `clients.unit`: where a merchant
            is a client, one interaction per (merchant, user, item) is kept,
            otherwise one per (user, item).

    Raises:
        DataError: if the data set is unknown, cannot be had or read, or is
            empty after cleaning.
    """
    return _load(config.data, config.clients.unit == "merchant")


@lru_cache(maxsize=4)
def _load(section: DataSection, per_merchant: bool) -> Dataset:
    return clean(load_raw(section), _rules(section, per_merchant))


def _rules(section: DataSection, per_merchant: bool) -> Rules:
    return Rules(
        explicit=section.feedback == "explicit",
        min_rating=section.min_rating,
        rating_low=section.rating_low,
        rating_high=section.rating_high,
        user_core=section.user_core,
        item_core=section.item_core,
        max_events_per_day=section.max_events_per_day,
        per_merchant=per_merchant,
    )


def load_raw(section: DataSection) -> Dataset:
    """Return a data set as its reader gives it, before cleaning.

    Raises:
        DataError: if the data set is unknown, or cannot be had or read.
    """
    entry = sources.find_entry(section.name)
    return _registered(entry, section)


def _registered(entry: sources.Entry, section: DataSection) -> Dataset:
    directory = cache.cache_directory(section.cache)
    parsed = directory / entry.name / f"parsed-{cache.FORMAT}.npz"
    if parsed.exists():
        try:
            return cache.load(parsed)
        except DataError as error:
            log.warning("%s", error)
    source, root = sources.fetch(entry, directory)
    dataset = _READERS[entry.name, source.form](root)
    cache.save(parsed, dataset)
    return dataset
