"""Exposure of groups of items: whose items are shown, and how high in the lists.

In a list of K items the one at place j has the exposure 1 / log2(1 + j) (Singh and
Joachims, KDD 2018).  The share of a group in the exposure of a user's list is a value of
that user, so it is summed over users like any metric, in secure evaluation too.  It is
held against the group's share of the interactions in training, its merit: exposure is in
proportion where both are equal.

An item with several tags counts for each in equal parts.  Groups by popularity are made
from the training counts of items: sorted by popularity, the items of the first third of all
interactions are the head, of the second the middle, of the last the tail.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from fedrec.config import Config, integers
from fedrec.data.interactions import Catalogue
from fedrec.data.population import Population
from fedrec.errors import ConfigError, nearest
from fedrec.evaluation.evaluator import list_length
from fedrec.evaluation.groups import members
from fedrec.evaluation.reduction import UserValues
from fedrec.training.scorer import Scorer

EXPOSURE = "exposure"
"""Protocol of the shares of groups of items in lists."""

POPULARITY = "popularity"
"""`evaluate.item_group` for head, middle and tail by training counts."""

LEAST = 0.01
"""Groups with a smaller share of the interactions are left out of the ratio: it is noise."""

_BLOCK = 512


def item_groups(config: Config, population: Population) -> dict[str, NDArray[np.float64]]:
    """Return the groups of items that `evaluate.item_group` names.

    Args:
        config: of the run.
        population: items with their attributes and training counts.

    Returns:
        "genre=Drama" -> float64 [I], the part of each item that counts for the group; empty
        if no attribute is named.

    Raises:
        ConfigError: if items have no such attribute, or it forms no groups.
    """
    name = config.evaluate.item_group
    if not name or config.data.feedback == "explicit":
        return {}
    if name == POPULARITY:
        masks: Mapping[str, NDArray] = _thirds(population.item_counts)
    else:
        masks = _by_attribute(population.split.dataset.items, name)
    parts = {group.replace(".", "_"): mask.astype(np.float64) for group, mask in masks.items()}
    several = np.maximum(sum(parts.values(), np.zeros(population.num_items)), 1.0)
    return {group: part / several for group, part in parts.items()}


def _by_attribute(items: Catalogue, name: str) -> Mapping[str, NDArray]:
    if name not in items.attributes:
        known = (*items.attributes, POPULARITY)
        raise ConfigError(
            f"evaluate.item_group = {name!r}: items have no such attribute."
            f"{nearest(name, known)} Known: {', '.join(known)}"
        )
    if items.attributes[name].kind == "text":
        raise ConfigError(f"evaluate.item_group = {name!r} is text, which forms no groups")
    return members(items, name)


def _thirds(counts: NDArray[np.int64]) -> dict[str, NDArray[np.bool_]]:
    """Cut items, by falling popularity, where a third and two thirds of all counts are reached."""
    order = np.argsort(-counts, kind="stable")
    before = np.cumsum(counts[order]) - counts[order]
    third = np.empty(len(counts), np.int64)
    third[order] = np.minimum(3 * before // max(int(counts.sum()), 1), 2)
    names = ("head", "middle", "tail")
    return {f"{POPULARITY}={name}": third == n for n, name in enumerate(names)}


def names(config: Config, population: Population, part: str) -> tuple[str, ...]:
    """Return the metrics that `with_exposure` adds, in its order.

    On the test part alone, unless training follows what validation shows (`server.exposure`).
    """
    if part != "test" and not config.server.exposure:
        return ()
    return exposure_names(config, population)


def exposure_names(config: Config, population: Population) -> tuple[str, ...]:
    """Return "exposure.<group>@K" for each group of items, in their order."""
    k = list_length(integers(config, "evaluate.k"))
    return tuple(f"{EXPOSURE}.{group}@{k}" for group in item_groups(config, population))


def with_exposure(
    config: Config, population: Population, score: Scorer, values: UserValues, part: str
) -> UserValues:
    """Add the share of each group of items in the exposure of a user's list.

    Args:
        config: names the groups and K.
        population: of the items.
        score: the system.
        values: of its full ranking, with lists.
        part: "valid" or "test"; on validation there may be nothing to add (`names`).

    Returns:
        The values with "exposure.<group>@K" in [0, 1], if groups are named.
    """
    told = names(config, population, part)
    if not told:
        return values
    groups = np.stack(list(item_groups(config, population).values()), axis=1)
    shares = np.zeros((len(values.users), groups.shape[1]))
    starts = np.searchsorted(values.listed_by, np.arange(len(values.users) + 1))
    for at in range(0, len(values.users), _BLOCK):
        end = min(at + _BLOCK, len(values.users))
        own = slice(starts[at], starts[end])
        user, item = values.listed_by[own] - at, values.listed[own]
        scores = np.asarray(score(values.users[at:end]))[user, item]
        shares[at:end] = exposure_shares(user, scores, groups[item], end - at)
    metrics = dict(zip(told, shares.T, strict=True))
    return replace(
        values,
        metrics={**values.metrics, **metrics},
        counts={**values.counts, EXPOSURE: np.ones(len(values.users))},
    )


def exposure_shares(
    user: NDArray[np.int64], scores: NDArray, groups: NDArray[np.float64], num_users: int
) -> NDArray[np.float64]:
    """Return the share of each group in the exposure of each list.

    Args:
        user: int64 [L], whose list an item stands in, ascending.
        scores: [L], of the item; higher stands first, equal ones as they come.
        groups: float64 [L, G], parts of the item.
        num_users: E.

    Returns:
        float64 [E, G]; zeros for an empty list.
    """
    order = np.lexsort((-scores, user))  # keeps users together
    first = np.searchsorted(user, np.arange(num_users))
    place = np.arange(len(user)) - first[user]
    weight = 1.0 / np.log2(2.0 + place)
    total = np.bincount(user, weight, num_users)
    shares = np.zeros((num_users, groups.shape[1]))
    np.add.at(shares, user, weight[:, None] * groups[order])
    return shares / np.maximum(total, 1e-12)[:, None]


def disparity(
    config: Config, population: Population, means: Mapping[str, float]
) -> dict[str, float]:
    """Compare the exposure of groups of items with their share of the interactions.

    Args:
        config: names the groups and K.
        population: training counts.
        means: metric -> mean over users, with those of `with_exposure`.

    Returns:
        "genre-disparity@K": half the sum of the absolute differences of both shares, 0 if
        exposure is in proportion, 1 at most.  "genre-exposure@K": lowest over highest ratio of
        exposure to interactions, 1 if in proportion, among groups with at least `LEAST` of
        the interactions.  Empty without groups.
    """
    groups, k = item_groups(config, population), list_length(integers(config, "evaluate.k"))
    found = [means.get(f"{EXPOSURE}.{group}@{k}") for group in groups]
    counts = population.item_counts.astype(np.float64)
    merit = np.array([counts @ part for part in groups.values()])
    shown = np.array([value for value in found if value is not None])
    if not len(shown) or len(shown) < len(merit) or merit.sum() <= 0 or shown.sum() <= 0:
        return {}
    merit, shown = merit / merit.sum(), shown / shown.sum()
    large = merit >= LEAST
    ratio = shown[large] / merit[large]
    name = config.evaluate.item_group
    return {
        f"{name}-disparity@{k}": float(np.abs(shown - merit).sum() / 2),
        f"{name}-exposure@{k}": float(ratio.min() / ratio.max()) if ratio.any() else 0.0,
    }
