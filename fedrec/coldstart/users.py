"""Strategies for users that no training has seen, by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from fedrec.coldstart.history import ease, item_knn, near_ease, sequence
from fedrec.coldstart.popular import popularity, recent_popularity, segment_popularity
from fedrec.coldstart.prototypes import prototypes
from fedrec.coldstart.starts import fomaml, reptile
from fedrec.coldstart.strategy import Strategy, Warm
from fedrec.coldstart.vectors import attribute_tower, mean_vector, reconstruction
from fedrec.errors import ConfigError, nearest

__all__ = ["STRATEGIES", "Strategy", "Warm", "build"]

STRATEGIES: dict[str, Callable[[Warm], Strategy]] = {
    "popularity": popularity,
    "recent-popularity": recent_popularity,
    "segment-popularity": segment_popularity,
    "mean-vector": mean_vector,
    "attribute-tower": attribute_tower,
    "reconstruction": reconstruction,
    "prototypes": prototypes,
    "ease": ease,
    "near-ease": near_ease,
    "item-knn": item_knn,
    "sequence": sequence,
    "reptile": reptile,
    "fomaml": fomaml,
}
"""Name -> what makes the strategy of those who trained."""


def build(warm: Warm, names: Iterable[str]) -> dict[str, Strategy]:
    """Return strategies by name.

    Args:
        warm: those who trained.
        names: keys of `STRATEGIES`.

    Raises:
        ConfigError: for an unknown name, or a strategy that does not fit the model or data.
    """
    built = {}
    for name in names:
        if name not in STRATEGIES:
            raise ConfigError(f"unknown strategy {name!r}.{nearest(name, STRATEGIES)}")
        built[name] = STRATEGIES[name](warm)
    return built
