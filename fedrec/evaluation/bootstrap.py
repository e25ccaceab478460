"""Bootstrap over users from sums alone, and paired comparison of systems.

A user's weight in a replicate is a Poisson(1) draw addressed by (user,
replicate): the Poisson bootstrap (Hanley and MacGibbon 2006; Chamandy et al.
2012).  No node needs to know the others' users, and all systems and seeds meet
the same weights, so that replicates of two systems are paired.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from fedrec.errors import ConfigError, nearest
from fedrec.evaluation.sums import LEVEL, EvaluationSums, means, ratios
from fedrec.rng import Purpose, draw, keys

_SEED = 0  # one seed for all runs: it is what pairs them
_BLOCK = 4096  # users whose weights are held at once


@lru_cache(maxsize=1)
def _poisson_table() -> NDArray[np.uint8]:
    """Return the Poisson(1) quantile of each 16-bit word, uint8 [65536]."""
    cumulative = np.cumsum([math.exp(-1.0) / math.factorial(k) for k in range(13)])
    centres = (np.arange(65536) + 0.5) / 65536
    table = np.searchsorted(cumulative, centres, side="right").astype(np.uint8)
    table.flags.writeable = False
    return table


def largest_weight() -> int:
    """Return the largest bootstrap weight that a user can have."""
    return int(_poisson_table()[-1])


def poisson_weights(users: NDArray[np.int64], replicates: int) -> NDArray[np.float64]:
    """Return the bootstrap weights of users.

    Args:
        users: int64 [E], user numbers.
        replicates: B.

    Returns:
        float64 [E, B], Poisson(1) up to a resolution of 2**-16.
    """
    words = -(-replicates // 4)  # four 16-bit draws a word
    key = keys(_SEED, 0, users, Purpose.BOOTSTRAP)
    bits = draw(key[:, None], np.arange(words)).astype("<u8").view("<u2")
    return _poisson_table()[bits[:, :replicates]].astype(np.float64)


def bootstrap_sums(
    values: NDArray[np.float64], users: NDArray[np.int64], replicates: int
) -> NDArray[np.float64]:
    """Return sums of per-user values under the bootstrap weights.

    Args:
        values: float64 [M, E], M values for each user.
        users: int64 [E], user numbers.
        replicates: B.

    Returns:
        float64 [M, B].
    """
    total = np.zeros((len(values), replicates))
    for begin in range(0, len(users), _BLOCK):
        part = slice(begin, begin + _BLOCK)
        total += values[:, part] @ poisson_weights(users[part], replicates)
    return total


@dataclass(frozen=True)
class Paired:
    """A paired comparison of two systems over the same users.

    Attributes:
        metric: name of the metric, as in `means`.
        difference: mean of the first minus mean of the second.
        low: lower end of the 95% percentile interval of the difference.
        high: its upper end.
        p_value: two-sided, of no difference; corrected if it comes from `compare_all`.
    """

    metric: str
    difference: float
    low: float
    high: float
    p_value: float


def paired(a: EvaluationSums, b: EvaluationSums, metric: str) -> Paired:
    """Compare two systems on one metric, by replicates that share their weights.

    The p-value is twice the smaller share of replicates on either side of zero,
    counting the sample itself (Davison and Hinkley 1997, eq. 4.11), so it is
    never below 2 / (B + 1).

    Args:
        a: sums of the first system, with replicates.
        b: sums of the second, over the same users.
        metric: for example "full.ndcg@10" or "rating.rmse".

    Raises:
        ConfigError: if the metric was not computed, or without a bootstrap.
    """
    mean_a, mean_b = means(a), means(b)
    for mean in (mean_a, mean_b):
        if metric not in mean:
            raise ConfigError(f"metric {metric!r} was not computed.{nearest(metric, mean)}")
    first = ratios(a.replicates, a.replicate_counts).get(metric, np.zeros(0))
    second = ratios(b.replicates, b.replicate_counts).get(metric, np.zeros(0))
    if not len(first) or len(first) != len(second):
        raise ConfigError(
            f"comparing systems on {metric!r} needs bootstrap replicates of both, as many of one "
            f"as of the other; found {len(first)} and {len(second)}: set evaluate.bootstrap"
        )
    gap = (first - second)[np.isfinite(first - second)]
    tail = 100.0 * (1.0 - LEVEL) / 2.0
    low, high = np.percentile(gap, [tail, 100.0 - tail])
    side = min(int((gap <= 0).sum()), int((gap >= 0).sum()))
    p_value = min(1.0, 2.0 * (1 + side) / (len(gap) + 1))
    return Paired(metric, mean_a[metric] - mean_b[metric], float(low), float(high), p_value)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values corrected for their number (Holm 1979), in the given order."""
    values = np.asarray(p_values, np.float64)
    order = np.argsort(values, kind="stable")
    stepped = values[order] * (len(values) - np.arange(len(values)))
    corrected = np.empty(len(values))
    corrected[order] = np.minimum(np.maximum.accumulate(stepped), 1.0)
    return corrected.tolist()


def compare_all(
    reference: EvaluationSums, others: Mapping[str, EvaluationSums], metric: str
) -> dict[str, Paired]:
    """Compare a reference with several systems, corrected for their number.

    Args:
        reference: sums of the system of interest.
        others: name -> sums of a system over the same users.
        metric: as in `paired`.

    Returns:
        name -> reference minus that system, with Holm-corrected p-value.

    Raises:
        ConfigError: as `paired`.
    """
    results = {name: paired(reference, sums, metric) for name, sums in others.items()}
    corrected = holm([result.p_value for result in results.values()])
    return {
        name: replace(result, p_value=p)
        for (name, result), p in zip(results.items(), corrected, strict=True)
    }
