"""Attributes of users as codes: coarse enough that no value belongs to few clients."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fedrec.coldstart.strategy import Warm
from fedrec.data.interactions import Attribute, Catalogue
from fedrec.errors import ConfigError, nearest

UNKNOWN = 0
"""The code of a value that is missing, or that too few clients have."""

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
    profile = warm.setup.population.split.dataset.users
    coded: Values = {}
    for name in _wanted(profile, section.attributes):
        raw = _codes(profile.attributes[name], warm.users)
        if raw is not None:
            coded[name] = _common(raw, warm.users, section.segment_users)
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


def _wanted(profile: Catalogue, names: str) -> list[str]:
    if names == "all":
        return list(profile.attributes)
    wanted = names.replace(",", " ").split()
    for name in wanted:
        if name not in profile.attributes:
            hint = nearest(name, profile.attributes) if profile.attributes else ""
            raise ConfigError(f"coldstart.attributes: users have no attribute {name!r}.{hint}")
    return wanted


def _codes(attribute: Attribute, warm: NDArray[np.int64]) -> NDArray[np.int64] | None:
    """Return codes from 0, -1 where missing; None for kinds that have no single value."""
    if attribute.kind == "category":
        return attribute.values.astype(np.int64)
    if attribute.kind != "number":
        return None
    values = attribute.values
    known = values[warm][~np.isnan(values[warm])]
    if not len(known):
        return np.full(len(values), -1)
    cuts = np.unique(np.quantile(known, np.arange(1, _BINS) / _BINS))
    return np.where(np.isnan(values), -1, np.digitize(values, cuts))


def _common(
    raw: NDArray[np.int64], warm: NDArray[np.int64], fewest: int
) -> tuple[NDArray[np.int64], int]:
    """Number the values that enough warm users have from 1; all others are unknown."""
    counts = np.bincount(raw[warm] + 1, minlength=int(raw.max()) + 2)
    kept = np.flatnonzero(counts[1:] >= fewest)
    new = np.zeros(len(counts), np.int64)
    new[kept + 1] = 1 + np.arange(len(kept))
    return new[raw + 1], 1 + len(kept)
