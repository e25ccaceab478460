"""Groups of users, and how unequally a system serves them."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedrec.data.interactions import Catalogue
from fedrec.errors import ConfigError, nearest
from fedrec.evaluation.sums import EvaluationSums, group_means


def members(profile: Catalogue, name: str) -> dict[str, NDArray[np.int32]]:
    """Return the user groups that an attribute forms.

    Args:
        profile: attributes of the U local users.
        name: attribute of kind "category" or "tags"; of kind "number" it forms
            four groups of about equal size.

    Returns:
        "gender=F" -> int32 [U], 1 for members; users with a missing value are in none.

    Raises:
        ConfigError: if there is no such attribute, or it is text.
    """
    if name not in profile.attributes:
        hint = nearest(name, profile.attributes) if profile.attributes else ""
        raise ConfigError(f"evaluate.group = {name!r}: users have no such attribute.{hint}")
    attribute = profile.attributes[name]
    values, words = attribute.values, attribute.vocabulary
    if attribute.kind == "category":
        masks = {word: values == code for code, word in enumerate(words)}
    elif attribute.kind == "tags":
        masks = {word: values[:, code] for code, word in enumerate(words)}
    elif attribute.kind == "number":
        masks = _quarters(values)
    else:
        raise ConfigError(f"evaluate.group = {name!r} is text, which forms no groups")
    return {f"{name}={word}": mask.astype(np.int32) for word, mask in masks.items()}


def _quarters(values: NDArray[np.float32]) -> dict[str, NDArray[np.bool_]]:
    """Cut numbers at their quartiles; a group is named by its lowest and highest value."""
    known = ~np.isnan(values)
    if not known.any():
        return {}
    codes = np.digitize(values, np.unique(np.quantile(values[known], [0.25, 0.5, 0.75])))
    groups = [known & (codes == code) for code in np.unique(codes[known])]
    return {f"{values[mask].min():g}..{values[mask].max():g}": mask for mask in groups}


@dataclass(frozen=True)
class Gap:
    """The difference between the best and the worst served group of an attribute.

    Attributes:
        metric: name of the metric, as in `means`.
        best: group with the highest mean.
        worst: group with the lowest mean.
        low: lowest mean.
        gap: highest minus lowest mean.
        ratio: lowest over highest mean, 1 if all are 0.
        too_small: groups left out for having too few users.
    """

    metric: str
    best: str
    worst: str
    low: float
    gap: float
    ratio: float
    too_small: tuple[str, ...]


def group_gaps(sums: EvaluationSums, metric: str, min_users: int = 20) -> dict[str, Gap]:
    """Compare the user groups of each attribute.

    Args:
        sums: the folded sums, with groups.
        metric: for example "full.ndcg@10".
        min_users: groups with fewer evaluated users are left out: their means
            are noise.

    Returns:
        attribute -> Gap; attributes with fewer than two groups left are absent.

    Raises:
        ConfigError: if the metric was not computed.
    """
    by_attribute: dict[str, dict[str, float]] = defaultdict(dict)
    small: dict[str, list[str]] = defaultdict(list)
    for group, found in group_means(sums).items():
        if metric not in found:
            raise ConfigError(f"metric {metric!r} was not computed.{nearest(metric, found)}")
        attribute = group.split("=", 1)[0]
        if found["count"] < min_users:
            small[attribute].append(group)
        else:
            by_attribute[attribute][group] = found[metric]
    gaps = {}
    for attribute, values in by_attribute.items():
        if len(values) >= 2:
            best = max(values, key=lambda group: values[group])
            worst = min(values, key=lambda group: values[group])
            high, low = values[best], values[worst]
            ratio = low / high if high > 0 else 1.0
            gaps[attribute] = Gap(
                metric, best, worst, low, high - low, ratio, tuple(small[attribute])
            )
    return gaps
