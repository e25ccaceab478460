"""Gains of one system over another: for each merchant, for groups, and over all customers.

The interval of a gain is that of a bootstrap over people (Efron 1979; weights are those of
`fedrec.evaluation.bootstrap`): the same weights for both systems, so that they are paired, and one
weight for a person, whatever number of merchants it is a customer of.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedrec.evaluation.bootstrap import holm, poisson_weights
from fedrec.evaluation.sums import LEVEL

SURE = 0.05
"""Corrected p-value below which a difference is taken as real."""


@dataclass(frozen=True)
class Gain:
    """A difference between two systems.

    Attributes:
        metric: "ndcg@10", "recall@20".
        a: the first system: "federated", "personalised", "pooled".
        b: the second, which is subtracted: "alone", say.
        first: mean of the first.
        second: mean of the second.
        difference: first minus second.
        low: lower end of the 95% interval of the difference.
        high: upper end.
        p_value: two-sided, of no difference, uncorrected.
        positive: share of bootstrap replicates in which the difference is above 0.
        customers: whom it is measured on.
        p_adjusted: after Holm's correction over the family that it was tested in; None if
            it is told, not tested.
    """

    metric: str
    a: str
    b: str
    first: float
    second: float
    difference: float
    low: float
    high: float
    p_value: float
    positive: float
    customers: int
    p_adjusted: float | None = None

    @property
    def better(self) -> bool:
        """Whether the first is better, and that is unlikely to be chance."""
        return self.difference > 0 and self.sure

    @property
    def worse(self) -> bool:
        """Whether the first is worse, and that is unlikely to be chance."""
        return self.difference < 0 and self.sure

    @property
    def sure(self) -> bool:
        """Whether the difference is unlikely to be chance, at the 5% level."""
        return (self.p_value if self.p_adjusted is None else self.p_adjusted) < SURE

    def to_json(self) -> dict[str, Any]:
        """Return the fields by name."""
        return asdict(self)


@dataclass(frozen=True, eq=False)
class Values:
    """What is compared: a value of each customer, or a sum over some of its items.

    Attributes:
        sums: system -> float64 [E]; mean over seeds.
        counts: float64 [E], what a customer counts for; a mean is sums over counts.
    """

    sums: Mapping[str, NDArray[np.float64]]
    counts: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Weights:
    """The bootstrap weights of E customers, float64 [E, B]."""

    values: NDArray[np.float64]

    @staticmethod
    def of(person: NDArray[np.int64], replicates: int) -> Weights:
        """Draw them by who the customers are, int64 [E]."""
        people, place = np.unique(person, return_inverse=True)
        return Weights(poisson_weights(people, replicates)[place])


def gain(
    metric: str, a: str, b: str, values: Values, some: NDArray[np.bool_], weights: Weights
) -> Gain | None:
    """Return the gain of system a over b on some customers; None if nothing counts.

    The p-value is twice the smaller share of replicates on either side of zero, counting
    the sample itself (Davison and Hinkley 1997, eq. 4.11).

    Args:
        metric: its name.
        a: the first system.
        b: the second.
        values: of all E customers.
        some: bool [E].
        weights: of all E customers.
    """
    counts = values.counts[some]
    total = float(counts.sum())
    if total <= 0:
        return None
    mine = weights.values[some]
    size = counts @ mine
    first, second = values.sums[a][some], values.sums[b][some]
    held = size > 0
    draws = ((first - second) @ mine)[held] / size[held]
    tail = 100.0 * (1.0 - LEVEL) / 2.0
    low, high = np.percentile(draws, [tail, 100.0 - tail])
    side = min(int((draws <= 0).sum()), int((draws >= 0).sum()))
    return Gain(
        metric,
        a,
        b,
        float(first.sum() / total),
        float(second.sum() / total),
        float((first - second).sum() / total),
        float(low),
        float(high),
        min(1.0, 2.0 * (1 + side) / (len(draws) + 1)),
        float((draws > 0).mean()),
        int((counts > 0).sum()),
    )


def corrected(gains: list[Gain]) -> list[Gain]:
    """Return gains with p-values corrected for their number (Holm 1979)."""
    adjusted = holm([g.p_value for g in gains])
    return [replace(g, p_adjusted=p) for g, p in zip(gains, adjusted, strict=True)]


def share_of(values: Values, reached: str, most: str, least: str) -> float | None:
    """Return which share of the gain of `most` over `least` is reached; None if there is none."""
    mean = {name: float(v.sum() / values.counts.sum()) for name, v in values.sums.items()}
    whole = mean[most] - mean[least]
    return (mean[reached] - mean[least]) / whole if whole > 0 else None
