"""Strategies that count: what is popular, of late, or among people like the stranger.

Counts are sums over the warm clients, of a fixed length, so they can be summed securely.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fedrec.coldstart.segments import user_rules, user_values
from fedrec.coldstart.strategy import COUNT_BYTES, Strategy, Warm, same_for_all
from fedrec.data.population import Population
from fedrec.data.split import from_latest, time_of
from fedrec.errors import DataError
from fedrec.models.export_starts import Kept
from fedrec.training.scorer import Scorer

_DAY = 86_400.0
_NOTHING = "nothing leaves a stranger's device"


def popularity(warm: Warm) -> Strategy:
    """Items by how many warm clients met them."""
    counts = warm.setup.population.item_counts
    return Strategy(
        "popularity",
        f"{_NOTHING}; of warm clients the sum of their item counts is known",
        COUNT_BYTES * len(counts),
        lambda population: same_for_all(counts),
        kept=Kept({"counts": counts}),
    )


def recent_popularity(warm: Warm) -> Strategy:
    """Items by how many warm clients met them of late.

    An interaction counts half for each `coldstart.half_life` days between it and the moment
    at which the stranger is served; later ones do not count.  So the server keeps one sum
    a day, and what a device receives are the decayed counts of its day.

    Raises:
        DataError: for data without times.
    """
    needs_times(warm)
    day, decayed = decayed_counts(warm)
    shape = decayed.shape[1]

    def start(population: Population) -> Scorer:
        now = arrival(population)

        def score(users: NDArray[np.int64]) -> NDArray[np.float32]:
            place = np.searchsorted(day, np.floor(now[users] / _DAY), side="left") - 1
            found = decayed[np.maximum(place, 0)]
            found[place < 0] = 0.0
            return found

        return score

    return Strategy(
        "recent-popularity",
        f"{_NOTHING} but the day; of warm clients the sums of their item counts by day are known",
        COUNT_BYTES * shape,
        start,
        kept=Kept({"counts": decayed[-1]}, {"day": float(day[-1])}),
    )


def needs_times(warm: Warm) -> None:
    """Refuse data without times.

    Raises:
        DataError: saying what to set.
    """
    data = warm.setup.population.split.dataset
    if data.interactions.timestamp is None:
        raise DataError(
            f"recent-popularity needs times, and data set {data.name!r} has none: "
            "set data.time_column, or leave it out of the strategies"
        )


def decayed_counts(warm: Warm) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """Return item counts of warm clients, decayed up to the end of each day that has any.

    Args:
        warm: whose times are in seconds.

    Returns:
        float64 [D], the days (of 86,400 s), ascending; float32 [D, I], the counts.
    """
    population = warm.setup.population
    rows = population.split.part("train")
    days, place = np.unique(np.floor(time_of(rows) / _DAY), return_inverse=True)
    counts = np.zeros((len(days), population.num_items), np.float32)
    np.add.at(counts, (place, rows.item), 1.0)
    kept = 0.5 ** (np.diff(days) / warm.setup.config.coldstart.half_life)
    for at in range(1, len(days)):
        counts[at] += kept[at - 1] * counts[at - 1]
    return days, counts


def arrival(population: Population) -> NDArray[np.float64]:
    """Return when each stranger is served: at its first test item, float64 [U] seconds.

    Users who are not strangers have no such time, NaN.
    """
    times = np.full(population.num_users, np.nan)
    for name in ("valid", "test"):
        held_out, rows = population.held_out(name), population.split.part(name)
        asked = np.zeros(population.num_users, np.int64)
        asked[held_out.users] = np.diff(held_out.indptr)
        place, _ = from_latest(rows)
        first = np.flatnonzero((place == asked[rows.user] - 1) & (asked[rows.user] > 0))
        times[rows.user[first]] = time_of(rows)[first]
    return times


def segment_popularity(warm: Warm) -> Strategy:
    """Items by how much likelier people with the stranger's attributes are to meet them.

    With p_i an item's share of all interactions and p_i|v its share among clients with a
    value v of an attribute, shrunk towards p_i by `coldstart.prior` interactions, an item
    scores ``log p_i + sum_a log (p_i|v(a) / p_i)`` (naive Bayes).  Unknown is a value too.
    """
    population = warm.setup.population
    total = population.item_counts.astype(np.float64) + 1e-3  # nobody met it: very unlikely
    share = total / total.sum()
    values = user_values(warm)
    tables = {name: _lift(warm, codes, share) for name, (codes, _) in values.items()}
    cells = sum(table.size for table in tables.values())

    def score(users: NDArray[np.int64]) -> NDArray[np.float32]:
        lifts = [tables[name][codes[users]] for name, (codes, _) in values.items()]
        return (np.log(share) + sum(lifts)).astype(np.float32)

    return Strategy(
        "segment-popularity",
        f"{_NOTHING}, its attributes neither; of warm clients the sums of their item counts by "
        "attribute value are known, values of few clients as unknown",
        COUNT_BYTES * (len(share) + cells),
        lambda population: score,
        kept=Kept(
            {"share": np.log(share), **{f"lift/{n}": table for n, table in tables.items()}},
            {"attributes": user_rules(warm)},
        ),
    )


def _lift(warm: Warm, codes: NDArray[np.int64], share: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return ``log (p_i|v / p_i)``, float32 [V, I]."""
    import scipy.sparse as sp

    number = int(codes.max()) + 1
    member = sp.csr_matrix(
        (np.ones(len(warm.users)), (codes[warm.users], warm.users)), (number, len(codes))
    )
    counts = (member @ warm.rows).toarray()
    prior = warm.setup.config.coldstart.prior
    within = (counts + prior * share) / (counts.sum(1, keepdims=True) + prior)
    return np.log(within / share).astype(np.float32)
