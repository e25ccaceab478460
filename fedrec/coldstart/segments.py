"""Attributes of users as codes: coarse enough that no value belongs to few clients."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedrec.coldstart.strategy import Warm
from fedrec.data.interactions import Attribute, Catalogue
from fedrec.errors import ConfigError, nearest

_BINS = 8

Values = dict[str, tuple[NDArray[np.int64], int]]
"""Attribute -> the code of each user, int64 [U], and how many codes there are."""


def user_values(warm: Warm) -> Values:
    """Return the attributes of all users as codes.

    Which values are common, and where numbers are cut, follows from the warm users alone.

    Args:
        warm: with `coldstart.attributes` and `coldstart.segment_users`.

    Returns:
        Code 0 is unknown: missing, or had by fewer warm users than `segment_users`.

    Raises:
        ConfigError: if there is no such attribute, or none at all.
    """
    section = warm.setup.config.coldstart
    coded: Values = {}
    for name, (raw, _) in _raw_codes(warm).items():
        codes, new = _common(raw, warm.users, section.segment_users)
        coded[name] = codes, int(new.max()) + 1
    if not coded:
        raise ConfigError(
            f"coldstart.attributes = {section.attributes!r}: the users of data set "
            f"{warm.setup.population.split.dataset.name!r} have no attribute but texts and tags. "
            "Leave segment-popularity and attribute-tower out of the strategies"
        )
    return coded


def one_hot(values: Values, users: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return a column of ones, then the codes of users as ones, float64 [b, 1 + A]."""
    parts = [np.ones((len(users), 1))]
    parts += [np.eye(number)[codes[users]] for codes, number in values.values()]
    return np.concatenate(parts, axis=1)


def user_rules(warm: Warm) -> dict[str, dict[str, Any]]:
    """Return how a value becomes its code, as `user_values` codes those of all users.

    Returns:
        Attribute -> its rule, for `on_device.code_of`: common words or cuts, and their codes.
    """
    profile, fewest = warm.setup.population.split.dataset.users, warm.setup.config.coldstart
    rules: dict[str, dict[str, Any]] = {}
    for name, (raw, cuts) in _raw_codes(warm).items():
        _, new = _common(raw, warm.users, fewest.segment_users)
        if cuts is not None:
            codes = np.zeros(len(cuts) + 2, np.int64)  # values of nobody are unknown
            codes[: len(new)] = new
            rules[name] = {"cuts": cuts.tolist(), "codes": codes[1:].tolist()}
            continue
        words = profile.attributes[name].vocabulary
        kept = np.flatnonzero(new[1:])
        rules[name] = {"words": {words[at]: int(new[at + 1]) for at in kept}}
    return rules


def _raw_codes(warm: Warm) -> dict[str, tuple[NDArray[np.int64], NDArray | None]]:
    """Return the codes of each attribute that has some, and where numbers are cut."""
    profile = warm.setup.population.split.dataset.users
    wanted = _wanted(profile, warm.setup.config.coldstart.attributes)
    coded = {name: _codes(profile.attributes[name], warm.users) for name in wanted}
    return {name: found for name, found in coded.items() if found is not None}


def _wanted(profile: Catalogue, names: str) -> list[str]:
    if names == "all":
        return list(profile.attributes)
    wanted = names.replace(",", " ").split()
    for name in wanted:
        if name not in profile.attributes:
            hint = nearest(name, profile.attributes) if profile.attributes else ""
            raise ConfigError(f"coldstart.attributes: users have no attribute {name!r}.{hint}")
    return wanted


def _codes(
    attribute: Attribute, warm: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray | None] | None:
    """Return codes from 0, -1 where missing, and cuts; None for kinds without a single value."""
    if attribute.kind == "category":
        return attribute.values.astype(np.int64), None
    if attribute.kind != "number":
        return None
    values = attribute.values
    known = values[warm][~np.isnan(values[warm])]
    if not len(known):
        return np.full(len(values), -1), np.zeros(0)
    cuts = np.unique(np.quantile(known, np.arange(1, _BINS) / _BINS))
    return np.where(np.isnan(values), -1, np.digitize(values, cuts)), cuts


def _common(
    raw: NDArray[np.int64], warm: NDArray[np.int64], fewest: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Number the values that enough warm users have from 1; all others are unknown.

    Returns:
        The new codes, int64 [U], and that of each raw code + 1.
    """
    counts = np.bincount(raw[warm] + 1, minlength=int(raw.max()) + 2)
    kept = np.flatnonzero(counts[1:] >= fewest)
    new = np.zeros(len(counts), np.int64)
    new[kept + 1] = 1 + np.arange(len(kept))
    return new[raw + 1], new
