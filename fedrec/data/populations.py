"""From a configuration to its population: loaded, partitioned, split and laid out."""

from __future__ import annotations

from functools import lru_cache

from fedrec.config import Config, Scalar
from fedrec.data.load import load_dataset
from fedrec.data.partition import partition
from fedrec.data.population import Population, build_population
from fedrec.data.split import split
from fedrec.data.zipf import has_short_way, zipf_population


def load_population(config: Config) -> Population:
    """Load, partition and split the data of a configuration (cached).

    Raises:
        DataError: if the data cannot be had or split as asked.
    """
    sections = ("data", "split", "clients")
    keys = {k: v for k, v in config.flat().items() if k.split(".")[0] in sections}
    neutral: dict[str, Scalar] = {
        "clients.sampling": "all",
        "clients.per_round": 100,
        "clients.availability": 1.0,
        "clients.dropout": 0.0,
    }
    return _load_population(tuple({**keys, **neutral}.items()))


@lru_cache(maxsize=4)
def _load_population(keys: tuple[tuple[str, Scalar], ...]) -> Population:
    nested: dict[str, dict[str, object]] = {}
    for key, value in keys:
        section, name = key.split(".", 1)
        nested.setdefault(section, {})[name] = value
    config = Config.model_validate(nested)
    if has_short_way(config):
        return zipf_population(load_dataset(config), config.data)
    parts = partition(load_dataset(config), config)
    explicit = config.data.feedback == "explicit"
    return build_population(parts, split(parts.dataset, config), explicit=explicit)
