"""From a configuration to its population: loaded, partitioned, split and laid out."""

from __future__ import annotations

from functools import lru_cache

from fedrec.config import Config, Scalar
from fedrec.config_merchants import only_merchants
from fedrec.config_tasks import held_out_event
from fedrec.data import file_store
from fedrec.data.funnel import ANY, without_events
from fedrec.data.load import Stamp, load_dataset, newcomer_in_memory, stamp_of
from fedrec.data.partition import partition
from fedrec.data.population import Population, build_population
from fedrec.data.silos import silo_population
from fedrec.data.split import split
from fedrec.data.zipf import has_short_way, zipf_population
from fedrec.data.zipf_store import on_disk, stored_population
from fedrec.errors import ConfigError


def load_population(config: Config) -> Population:
    """Load, partition and split the data of a configuration (cached).

    Raises:
        DataError: if the data cannot be had or split as asked.
        ConfigError: if data are asked for on the disk that only memory can hold, or merchants
            that are not there.
    """
    newcomer_in_memory(config)
    sections = ("data", "silo", "split", "clients", "merchants", "domain")
    keys = {k: v for k, v in config.flat().items() if k.split(".")[0] in sections}
    neutral: dict[str, Scalar] = {
        "clients.sampling": "all",
        "clients.per_round": 100,
        "clients.availability": 1.0,
        "clients.dropout": 0.0,
        "silo.answer_s": 0.0,
        "silo.absent_s": 0.0,
        **{k: v for k, v in Config().flat().items() if k.startswith("merchants.")},
        "merchants.largest": config.merchants.largest,
        "merchants.catalogue": config.merchants.catalogue,
        "coldstart.merchant": config.coldstart.merchant,
        "split.event": held_out_event(config),  # which may follow from the model
    }
    stamp = stamp_of(config.data, config.silo)
    found = _load_population(tuple({**keys, **neutral}.items()), stamp)
    some = only_merchants(config)
    if some and some[-1] >= found.num_clients:
        raise ConfigError(
            f"merchants.only = {config.merchants.only!r}: there are {found.num_clients} merchants, "
            f"numbered from 0 to {found.num_clients - 1}"
        )
    return found


@lru_cache(maxsize=4)
def _load_population(keys: tuple[tuple[str, Scalar], ...], stamp: Stamp) -> Population:
    nested: dict[str, dict[str, object]] = {}
    for key, value in keys:
        section, name = key.split(".", 1)
        nested.setdefault(section, {})[name] = value
    config = Config.model_validate(nested)
    if config.silo.merchants:
        return silo_population(config)
    short = has_short_way(config)
    if short and {config.split.event, config.split.train_event} != {ANY}:
        raise without_events(config.data.name, "interactions of one event")
    if file_store.on_disk(config):
        return file_store.stored_population(config)
    if config.data.store == "disk" and not short:
        raise ConfigError(
            f"data.store = 'disk' with data.name = {config.data.name!r}: only own files ('file') "
            f"and the generated data set 'zipf', this without cleaning, are laid out on the disk, "
            f"with clients.unit = 'user' and split.protocol = 'leave-last-out'. "
            f"Set these, or data.store = 'memory'."
        )
    if short and on_disk(config.data):
        return stored_population(config.data)
    if short:
        return zipf_population(load_dataset(config), config.data)
    parts = partition(load_dataset(config), config)
    explicit, event = config.data.feedback == "explicit", config.split.train_event
    done = split(parts.dataset, config)
    return build_population(parts, done, explicit=explicit, train_event=event)
