"""Evaluation sums of single clients as integer vectors for secure aggregation, and back.

A real sum x becomes round(x / step) with a step that is a power of two: 2**-32 unless a
very large population leaves fewer bits, never above 2**-19.  Each client's error is at
most step / 2, so a mean over users differs from the plain one by at most step / 2 for
each client that a user stands for: below 1e-6.

Vectors, in this order, those without elements left out:

    evaluation.values      sums of metrics, then those of each group of users
    evaluation.counts      users (or ratings), how often each item was recommended, members
    evaluation.moments     products of two values of the same user, summed over users
    evaluation.replicates  sums under the bootstrap weights, in place of the moments
    evaluation.weights     counts under these weights

Why moments: the weights of the bootstrap are known to everybody, so that systems can be
compared on the same ones.  B sums of n clients under known weights are B linear equations,
which with B >= n give away every client's value.  The products give away no client, and
they suffice: a Poisson(1) bootstrap has exactly these products as its covariance, and the
server draws normal replicates with that covariance around the sums (the limit of the
bootstrap; Chamandy et al. 2012).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from fedrec.errors import ConfigError, ModelError
from fedrec.evaluation.bootstrap import largest_weight, poisson_weights
from fedrec.evaluation.reduction import UserValues
from fedrec.evaluation.sums import EvaluationSums, Replicates
from fedrec.rng import NO_CLIENT, Purpose, generator
from fedrec.secure import Vector
from fedrec.secure.plan import ring_width

VALUES = "evaluation.values"
COUNTS = "evaluation.counts"
MOMENTS = "evaluation.moments"
REPLICATES = "evaluation.replicates"
WEIGHTS = "evaluation.weights"

FINE_BITS, FEWEST_BITS = 32, 19
"""Bits after the point, and the fewest that are accepted."""

REPLICATE_BITS = 19
"""Replicates are many and their percentiles rough: fewer bits, at about half of the bytes."""

Encoded = dict[str, NDArray[np.uint64]]


@dataclass(frozen=True)
class Sizes:
    """The largest sums of one client.

    Attributes:
        value: of a metric over the users of a client.
        count: of users or ratings, and of lists that hold an item.
        moment: of a product of two values of a user.
    """

    value: float
    count: int
    moment: float


@dataclass(frozen=True)
class SumsLayout:
    """How the evaluation sums of a client are laid out in vectors.

    Attributes:
        metrics: "full.hr@10" and so on.
        protocols: "full", "sampled99".
        groups: groups of users.
        num_items: I, or 0 where lists are not counted.
        moments: whether products of two values travel.
        replicates: B sums under bootstrap weights that travel; 0 for none.
        sizes: of one client.
        num_clients: n, the most clients in a sum.
    """

    metrics: tuple[str, ...]
    protocols: tuple[str, ...]
    groups: tuple[str, ...]
    num_items: int
    moments: bool
    replicates: int
    sizes: Sizes
    num_clients: int

    @cached_property
    def lengths(self) -> dict[str, int]:
        """Name of a vector -> elements."""
        metrics, protocols, groups = len(self.metrics), len(self.protocols), len(self.groups)
        rows = metrics + protocols
        lengths = {
            VALUES: metrics * (1 + groups),
            COUNTS: protocols + self.num_items + groups,
            MOMENTS: rows * (rows + 1) // 2 if self.moments else 0,
            REPLICATES: metrics * self.replicates,
            WEIGHTS: protocols * self.replicates,
        }
        return {name: length for name, length in lengths.items() if length}

    @cached_property
    def bits(self) -> dict[str, int]:
        """Name of a vector of real numbers -> bits after the point.

        Raises:
            ConfigError: if so large a sum leaves too few of them.
        """
        heaviest = largest_weight()
        largest = {
            VALUES: (self.sizes.value, FINE_BITS),
            MOMENTS: (self.sizes.moment, FINE_BITS),
            REPLICATES: (self.sizes.value * heaviest, REPLICATE_BITS),
        }
        bits = {}
        for name, (most, wanted) in largest.items():
            room = 63 - int(np.ceil(np.log2(self.num_clients * max(most, 1.0))))
            bits[name] = min(wanted, room)
            if name in self.lengths and bits[name] < FEWEST_BITS:
                raise ConfigError(
                    f"evaluation sums of {self.num_clients} clients, each up to {most:g}, leave "
                    f"{bits[name]} of 64 bits after the point, and {FEWEST_BITS} are needed: "
                    "evaluate fewer clients (evaluate.clients), or smaller ones"
                )
        return bits

    @property
    def bounds(self) -> dict[str, int]:
        """Name of a vector -> largest element of one client."""
        heaviest, sizes = largest_weight(), self.sizes
        real = {VALUES: sizes.value, MOMENTS: sizes.moment, REPLICATES: sizes.value * heaviest}
        bounds = {name: int(np.ceil(most * 2 ** self.bits[name])) for name, most in real.items()}
        return bounds | {COUNTS: sizes.count, WEIGHTS: sizes.count * heaviest}

    def vectors(self) -> tuple[Vector, ...]:
        """Describe the vectors of a session.

        Raises:
            ConfigError: if the largest possible sum overflows the ring.
        """
        bounds = {name: max(1, bound) for name, bound in self.bounds.items()}
        return tuple(
            Vector(name, length, ring_width(self.num_clients, bounds[name]), bounds[name])
            for name, length in self.lengths.items()
        )

    def step(self, name: str) -> float:
        """Return the distance of two neighbouring values of a vector of real numbers."""
        return float(2.0 ** -self.bits[name])


def encode_clients(
    values: UserValues,
    owner: NDArray[np.int64],
    num_clients: int,
    groups: Mapping[str, NDArray[np.int32]],
    layout: SumsLayout,
) -> Iterator[Encoded]:
    """Turn the values of users into integer vectors, one client after the other.

    Args:
        values: of E users.
        owner: int64 [E], the client of each, in 0 .. C - 1.
        num_clients: C; a client without users sends zeros.
        groups: name -> int32 [U], non-zero for members.
        layout: of the vectors.

    Yields:
        Name of a vector -> uint64 [m], C times.

    Raises:
        ModelError: if the values are not those of the layout.
    """
    if (*values.metrics, *values.counts) != (*layout.metrics, *layout.protocols):
        raise ModelError(
            f"evaluation measured {', '.join((*values.metrics, *values.counts))}, and "
            f"{', '.join((*layout.metrics, *layout.protocols))} were agreed"
        )
    order = np.argsort(owner, kind="stable")
    table, users = values.table[:, order], values.users[order]
    ends = np.searchsorted(owner[order], np.arange(num_clients + 1))
    lists = np.argsort(owner[values.listed_by], kind="stable")
    listed = values.listed[lists]
    list_ends = np.searchsorted(owner[values.listed_by][lists], np.arange(num_clients + 1))
    masks = [groups[name][users] != 0 for name in layout.groups]
    member = np.stack(masks) if masks else np.zeros((0, len(users)), bool)
    for client in range(num_clients):
        own = slice(ends[client], ends[client + 1])
        shown = listed[list_ends[client] : list_ends[client + 1]]
        yield _encode(table[:, own], users[own], member[:, own], shown, layout)


def decode_sums(
    totals: Mapping[str, NDArray], layout: SumsLayout, *, replicates: int
) -> EvaluationSums:
    """Turn the sum of encoded clients into evaluation sums.

    Args:
        totals: name of a vector -> unsigned integers [m].
        layout: of the vectors.
        replicates: their number B; 0 for none.

    Returns:
        The sums of all clients, as the plain ones up to rounding; replicates are the same
        where they travelled, and have the same mean and covariance where they are drawn.
    """
    metrics, protocols, groups = layout.metrics, layout.protocols, layout.groups
    real = {n: totals[n] * layout.step(n) for n in layout.bits if n in layout.lengths}
    values = real[VALUES].reshape(1 + len(groups), len(metrics))
    counts = totals[COUNTS].astype(np.int64)
    ends = (len(protocols), len(protocols) + layout.num_items)
    of_protocols, recommended, members = np.split(counts, ends)
    of_groups = {f"{g}.count": float(n) for g, n in zip(groups, members, strict=True)}
    for group, row in zip(groups, values[1:], strict=True):
        of_groups |= {f"{group}.{m}": float(v) for m, v in zip(metrics, row, strict=True)}
    drawn, drawn_counts = _replicates(totals, real, layout, replicates)
    return EvaluationSums(
        values=dict(zip(metrics, values[0].tolist(), strict=True)),
        counts=dict(zip(protocols, of_protocols.astype(float).tolist(), strict=True)),
        replicates=drawn,
        replicate_counts=drawn_counts,
        recommended=recommended,
        groups=of_groups,
    )


def _replicates(
    totals: Mapping[str, NDArray],
    real: Mapping[str, NDArray[np.float64]],
    layout: SumsLayout,
    number: int,
) -> tuple[Replicates, Replicates]:
    """Return the replicates of metrics and of counts, as they came or drawn from moments."""
    metrics, protocols = layout.metrics, layout.protocols
    if REPLICATES in real:
        rows = real[REPLICATES].reshape(len(metrics), -1)
        weights = totals[WEIGHTS].astype(np.float64).reshape(len(protocols), -1)
    elif MOMENTS in real and number:
        centre = np.concatenate([real[VALUES][: len(metrics)], totals[COUNTS][: len(protocols)]])
        drawn = _normal(centre, real[MOMENTS], number)
        rows, weights = drawn[: len(metrics)], drawn[len(metrics) :]
        for row, name in zip(rows, metrics, strict=True):
            protocol = name.split(".", 1)[0]
            if protocol != "rating":  # all others are in [0, 1]
                np.minimum(row, weights[protocols.index(protocol)], out=row)
    else:
        return {}, {}
    counts = dict(zip(protocols, weights, strict=True))
    return dict(zip(metrics, rows, strict=True)), counts


def _normal(
    centre: NDArray[np.float64], moments: NDArray[np.float64], number: int
) -> NDArray[np.float64]:
    """Draw normal vectors [m, number] around `centre` [m]; sums are never negative.

    All runs use the same draws, and the symmetric root of the covariance, which changes
    little where the covariance does: the sums of several seeds are over the same users,
    so their replicates must move together for the interval of their mean to be right.
    """
    size = len(centre)
    covariance = np.zeros((size, size))
    covariance[np.triu_indices(size)] = moments
    covariance = np.maximum(covariance, covariance.T)  # its other half is zero: all are >= 0
    variance, axes = np.linalg.eigh(covariance)
    noise = generator(0, 0, NO_CLIENT, Purpose.BOOTSTRAP).standard_normal((size, number))
    spread = axes * np.sqrt(np.maximum(variance, 0.0)) @ axes.T @ noise
    return np.maximum(centre[:, None] + spread, 0.0)


def _encode(
    table: NDArray[np.float64],
    users: NDArray[np.int64],
    member: NDArray[np.bool_],
    shown: NDArray[np.int64],
    layout: SumsLayout,
) -> Encoded:
    """Encode one client: table [M + P, e] of its users, member [G, e], items shown to them."""
    split = len(layout.metrics)
    of_groups = member @ table[:split].T
    items = np.bincount(shown, minlength=layout.num_items)[: layout.num_items]
    real = {VALUES: np.concatenate([table[:split].sum(axis=1), of_groups.ravel()])}
    whole = {COUNTS: np.concatenate([table[split:].sum(axis=1), items, member.sum(axis=1)])}
    if layout.moments:
        real[MOMENTS] = (table @ table.T)[np.triu_indices(len(table))]
    if layout.replicates:
        weighted = table @ poisson_weights(users, layout.replicates)
        real[REPLICATES] = weighted[:split].ravel()
        whole[WEIGHTS] = weighted[split:].ravel()
    bounds = layout.bounds
    scaled = whole | {name: part / layout.step(name) for name, part in real.items()}
    return {n: np.rint(np.clip(scaled[n], 0, bounds[n])).astype(np.uint64) for n in layout.lengths}
