"""Robust aggregation of single updates, vectorised over clients.

A client of a recommender touches few rows, so that the median over all clients of
a coordinate is zero nearly everywhere.  Coordinate-wise rules are therefore taken
over the clients that touch a row, and their result stands for as many clients.

Flower has functions for the same rules (`flwr.server.strategy.aggregate`), but they
take dense layers in lists of clients: 943 copies of a table of items, and a median over
everybody.  So they are not used here; the tests hold ours against them where both apply.

Sources: Krum and Multi-Krum, Blanchard et al., "Machine learning with adversaries:
Byzantine tolerant gradient descent" (NeurIPS 2017); median and trimmed mean, Yin et al.,
"Byzantine-robust distributed learning: towards optimal statistical rates" (ICML 2018);
Bulyan, El Mhamdi et al., "The hidden vulnerability of distributed learning in Byzantium"
(ICML 2018); bounded norms, Sun et al., "Can you really backdoor federated learning?" (2019).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from fedrec.config_attacks import NEEDS_SINGLE, OWN, RobustSection
from fedrec.errors import ConfigError, nearest
from fedrec.params import PartialSum
from fedrec.robust.updates import Updates, as_partial_sum, sum_of_rows

Floats = NDArray[np.float64]
Rule = Callable[[NDArray], NDArray]
"""Values [..., n, D] of n clients -> [..., D]."""

DEFENCES = ("off", *OWN, *NEEDS_SINGLE)


def defend(updates: Updates, name: str, section: RobustSection) -> PartialSum:
    """Return the sum of a round under a defence.

    Args:
        updates: of all clients of the round.
        name: one of DEFENCES.
        section: bounds, trimmed share, and the share of malicious clients that the
            server reckons with.

    Returns:
        What the server applies in place of the sum; it stands for all clients.

    Raises:
        ConfigError: for an unknown name, or too few clients for the rule.
    """
    count = len(updates.clients)
    bad = reckoned(section.malicious, count)
    rules: dict[str, Callable[[], PartialSum]] = {
        "off": lambda: as_partial_sum(updates),
        "norm-bound": lambda: as_partial_sum(bound(updates, name, section.norm)),
        "row-clip": lambda: as_partial_sum(bound(updates, name, section.norm)),
        "median": lambda: by_coordinate(updates, lambda x: np.median(x, axis=-2)),
        "trimmed-mean": lambda: by_coordinate(updates, lambda x: trimmed_mean(x, section.trim)),
        "krum": lambda: _chosen(updates, krum(updates, bad, 1)),
        "multi-krum": lambda: _chosen(updates, krum(updates, bad, count - bad)),
        "bulyan": lambda: bulyan(updates, bad),
    }
    check_defences([name])
    check_count(name, count, section.malicious)
    return rules[name]()


def check_defences(names: Sequence[str]) -> None:
    """Refuse defences that do not exist.

    Raises:
        ConfigError: naming the nearest.
    """
    for name in names:
        if name not in DEFENCES:
            raise ConfigError(
                f"unknown defence {name!r} in robust.defences.{nearest(name, DEFENCES)}"
            )


def reckoned(share: float, count: int) -> int:
    """Return how many of `count` clients the server reckons to be malicious: f, rounded up."""
    return math.ceil(share * count - 1e-9)


def check_count(name: str, count: int, share: float) -> None:
    """Refuse a round with too few clients for a rule to withstand the malicious ones.

    Krum needs n >= 2 f + 3 (Blanchard et al., proposition 2), Bulyan n >= 4 f + 3 (El
    Mhamdi et al., section 4).

    Args:
        name: of the defence.
        count: clients of the round, n.
        share: of them that are malicious; f is rounded up.

    Raises:
        ConfigError: if there are too few.
    """
    times = {"krum": 2, "multi-krum": 2, "bulyan": 4}.get(name)
    if times is None:
        return
    bad = reckoned(share, count)
    least = times * bad + 3
    if count < least:
        raise ConfigError(
            f"the defence {name!r} needs at least {least} clients a round to withstand "
            f"{bad} malicious ones (robust.malicious = {share:g}), and the round has {count}: "
            "raise clients.per_round or lower robust.malicious"
        )


def bound(updates: Updates, name: str, norm: float) -> Updates:
    """Apply a defence that bounds each update by itself.

    Args:
        updates: of some clients.
        name: "norm-bound" or "row-clip".
        norm: the bound; 0: the median norm of these updates, or of their rows.
    """
    if name == "row-clip":
        return clip_rows(updates, norm)
    return clip(updates, norm or _median(updates.norms))


def clip(updates: Updates, norm: float) -> Updates:
    """Scale down each client's whole update to an L2 norm of at most `norm`.

    An update that is not finite becomes zero: nothing bounds it.
    """
    norms = updates.norms
    shorter = np.minimum(1.0, norm / np.maximum(norms, 1e-30))
    return updates.scaled(np.where(np.isfinite(norms), shorter, 0.0))


def clip_rows(updates: Updates, norm: float) -> Updates:
    """Scale down single rows to an L2 norm of at most `norm`; 0: the median row norm.

    A row is one item's, in all tables together; one that is not finite becomes zero.
    """
    norms = np.linalg.norm(updates.rows.astype(np.float64), axis=1)
    shorter = np.minimum(1.0, (norm or _median(norms)) / np.maximum(norms, 1e-30))
    factor = np.where(np.isfinite(norms), shorter, 0.0).astype(np.float32)[:, None]
    with np.errstate(invalid="ignore"):
        rows = np.where(factor == 0, np.float32(0), updates.rows * factor)
    return replace(updates, rows=rows)


def _median(norms: Floats) -> float:
    return float(np.median(norms)) if len(norms) else 1.0


def by_coordinate(updates: Updates, rule: Rule) -> PartialSum:
    """Apply a rule to each coordinate, over the clients that touch the row.

    Rows with equally many clients are taken together, so there is no loop over rows
    or clients.  The result is multiplied by the summed weight of those clients.
    """
    order = np.argsort(updates.ids, kind="stable")
    counts = updates.counts
    first = np.cumsum(counts) - counts
    total = np.zeros((updates.num_items, updates.rows.shape[1]))
    for count in np.unique(counts[counts > 0]):
        items = np.flatnonzero(counts == count)
        members = order[first[items][:, None] + np.arange(count)]
        total[items] = rule(updates.rows[members].astype(np.float64))
    row_weight = np.bincount(updates.ids, updates.weight[updates.client], updates.num_items).astype(
        np.float64
    )
    everyone = updates.weight.sum()
    weights: dict[str, NDArray] = {
        n: everyone * rule(v.reshape(len(v), -1).astype(np.float64)).reshape(v.shape[1:])
        for n, v in updates.weights.items()
    }
    return sum_of_rows(updates, total * row_weight[:, None], row_weight, weights)


def trimmed_mean(values: NDArray, share: float) -> NDArray:
    """Return the mean without the `share` largest and smallest values.

    Args:
        values: [..., n, D].
        share: cut off at either end, rounded down to whole values.

    Returns:
        [..., D].
    """
    count = values.shape[-2]
    cut = int(share * count)
    mean: NDArray = np.sort(values, axis=-2)[..., cut : count - cut, :].mean(-2)
    return mean


def nearest_to_median(values: NDArray, bad: int) -> NDArray:
    """Return the mean of the n - 2 bad values that are nearest to the median, at least one."""
    kept = max(1, values.shape[-2] - 2 * bad)
    distance = np.abs(values - np.median(values, axis=-2, keepdims=True))
    closest = np.argsort(distance, axis=-2, kind="stable")[..., :kept, :]
    mean: NDArray = np.take_along_axis(values, closest, axis=-2).mean(-2)
    return mean


def distances(updates: Updates) -> Floats:
    """Return squared distances between whole updates, untouched rows being zero, [C, C]."""
    count, width = len(updates.clients), updates.rows.shape[1]
    columns = (updates.ids[:, None] * width + np.arange(width)).ravel()
    owners = np.repeat(updates.client, width)
    shape = (count, updates.num_items * width)
    flat = csr_matrix((updates.rows.ravel().astype(np.float64), (owners, columns)), shape)
    gram = np.asarray((flat @ flat.T).todense())
    for value in updates.weights.values():
        dense = value.reshape(count, -1).astype(np.float64)
        gram = gram + dense @ dense.T
    squares = np.diag(gram)
    return np.maximum(squares[:, None] + squares[None, :] - 2.0 * gram, 0.0)


def krum_scores(apart: Floats, bad: int) -> Floats:
    """Return each client's summed squared distance to its n - bad - 2 nearest others.

    Args:
        apart: float64 [n, n], squared distances.
        bad: malicious clients that are reckoned with.
    """
    near = max(1, len(apart) - bad - 2)
    others = np.sort(apart + np.diag(np.full(len(apart), np.inf)), axis=1)
    return others[:, : min(near, len(apart) - 1)].sum(1)


def krum(updates: Updates, bad: int, kept: int) -> NDArray[np.int64]:
    """Return the positions of the `kept` clients with the lowest score, ascending."""
    scores = krum_scores(distances(updates), bad)
    return np.sort(np.argsort(scores, kind="stable")[:kept])


def bulyan(updates: Updates, bad: int) -> PartialSum:
    """Choose n - 2 bad clients by repeated Krum, then average nearest to the median."""
    count = len(updates.clients)
    apart, left, chosen = distances(updates), np.arange(count), []
    for _ in range(count - 2 * bad):
        best = int(np.argmin(krum_scores(apart[np.ix_(left, left)], bad))) if len(left) > 1 else 0
        chosen.append(left[best])
        left = np.delete(left, best)
    place = np.sort(np.array(chosen))
    few = by_coordinate(updates.take(place), lambda x: nearest_to_median(x, bad))
    return _for_all(few, updates)


def _chosen(updates: Updates, place: NDArray[np.int64]) -> PartialSum:
    return _for_all(as_partial_sum(updates.take(place)), updates)


def _for_all(total: PartialSum, updates: Updates) -> PartialSum:
    """Scale the sum over some clients so that it stands for all of the round."""
    everyone = float(updates.weight.sum())
    factor = everyone / total.weight if total.weight > 0 else 1.0
    return replace(
        total,
        tables={n: replace(t, rows=t.rows * factor) for n, t in total.tables.items()},
        row_weight={n: w * factor for n, w in total.row_weight.items()},
        weights={n: v * factor for n, v in total.weights.items()},
        weight=everyone,
        num_clients=len(updates.clients),
    )
