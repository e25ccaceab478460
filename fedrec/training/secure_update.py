"""Clients' updates as integer vectors for secure aggregation, and their sum back again.

Every client contributes up to three vectors: "tables" (rows of the tables, one after
the other), "weights" (dense weights), and "metrics" (loss, samples, and whatever else is
summed over clients).  The weight of a client multiplies the first two and is the last
element of "metrics", so nothing but masked vectors leaves a client.

A real number x becomes w * (round(x / step) + 2**(b - 1)) with step = 2 c / (2**b - 1):
for tables b = secure.bits and c = secure.clip, for weights b = 32 and c =
secure.weight_clip.  Rounding is
stochastic and keyed by the operating system; zero is a point of the grid, so a row that
nobody touches stays exactly where it is.

Low-rank updates are projected before and expanded after (see `fedrec.training.subspace`);
the bound then holds for the r elements of a row, and in norm for the row.

A private update keeps within its clip norm after rounding too (see `fedrec.secure.bounded`);
where customers are protected inside a merchant, see `customer_room`.
With distributed noise all vectors but the metrics share one grid, carry
noise in a ring made wide enough for it, and "metrics" is the weight alone, 1 for every
client: no loss or count leaves a client without noise.

Bound: as long as no element is clipped (their number is the metric "clipped"), each
element of the decoded sum differs from the plain sum by less than step * (sum of the
weights), with expectation zero and a standard deviation of at most step / 2 times the
root of the sum of squared weights.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fedrec.config import Config
from fedrec.config_protection import CUSTOMER
from fedrec.params import PartialSum, Shared, SparseRows
from fedrec.privacy.policy import WITHIN, At, build_policy
from fedrec.privacy.ring import RingNoise, ring_noise
from fedrec.secure import FixedPoint, Vector, encode
from fedrec.secure.bounded import room, room_in_sum, round_vectors, shorten
from fedrec.secure.shamir import Entropy
from fedrec.training.aggregate import client_weights
from fedrec.training.cohort import CohortUpdate
from fedrec.training.subspace import Bases, bases, expand, project

FINE_BITS = 32
"""Bits of weights and metrics: they are few, so precision costs little."""

METRIC_SCALES = {"loss": 2.0**10, "samples": 2.0**24, "clipped": 2.0**24}
"""The largest value of a metric, which is summed with a step of 2**-31 of that."""

DEFAULT_SCALE = 2.0

INDICATORS = "indicators"
Encoded = dict[str, NDArray[np.uint64]]


@dataclass(frozen=True, eq=False)
class Layout:
    """How a client's update is laid out in vectors.

    Attributes:
        rows: table name -> int64 [R], the rows that take part, ascending.
        tables: table name -> shape of the whole table.
        weights: weight name -> shape.
        metrics: names of the metrics; the weight follows them.
        scheme: of the tables' elements.
        weight_scheme: of the weights' elements.
        max_weight: largest weight of a client.
        noise: what each client adds to tables and weights; None if it adds none.
        bases: table name -> [r, d]: rows are sent as r elements each.
    """

    rows: dict[str, NDArray[np.int64]]
    tables: dict[str, tuple[int, ...]]
    weights: dict[str, tuple[int, ...]]
    metrics: tuple[str, ...]
    scheme: FixedPoint
    weight_scheme: FixedPoint
    max_weight: int
    noise: RingNoise | None = None
    bases: Bases = field(default_factory=dict)

    @property
    def sizes(self) -> dict[str, int]:
        """Vector name -> number of elements, empty vectors left out."""
        tables = sum(len(rows) * self.width(name) for name, rows in self.rows.items())
        weights = sum(int(np.prod(shape)) for shape in self.weights.values())
        sizes = {"tables": tables, "weights": weights, "metrics": len(self.metrics) + 1}
        return {name: size for name, size in sizes.items() if size}

    @property
    def schemes(self) -> dict[str, FixedPoint]:
        """Vector name -> how its elements become integers."""
        metrics = FixedPoint(FINE_BITS, 1.0)
        return {"tables": self.scheme, "weights": self.weight_scheme, "metrics": metrics}

    @property
    def metric_scales(self) -> NDArray[np.float64]:
        """What each metric is divided by; the loss is weighted."""
        scales = [METRIC_SCALES.get(name, DEFAULT_SCALE) for name in self.metrics]
        return np.array(scales) * [
            self.max_weight if name == "loss" else 1 for name in self.metrics
        ]

    def width(self, table: str) -> int:
        """Return the elements of one row of a table, as they are sent."""
        if table in self.bases:
            return len(self.bases[table])
        return int(np.prod(self.tables[table][1:], dtype=np.int64))

    def vectors(self, num_clients: int) -> tuple[Vector, ...]:
        """Describe the vectors of a session.

        Raises:
            ConfigError: if the largest possible sum overflows the ring.
        """
        described = []
        for name, size in self.sizes.items():
            if self.noise is not None and name != "metrics":
                described.append(Vector(name, size, self.noise.width, None))
                continue
            whole = self.schemes[name].vector(name, size, num_clients)
            described.append(Vector(name, size, whole.width, whole.bound))
        return tuple(described)

    def centred(self, name: str, total: NDArray, weight: int) -> NDArray[np.float64]:
        """Return the real sum of a vector's elements.

        Args:
            name: of the vector.
            total: unsigned integers [m], the sum of encoded elements.
            weight: the sum of their weights.
        """
        scheme = self.schemes[name]
        middle = weight * 2 ** (scheme.bits - 1)
        if self.noise is not None and name != "metrics":
            return self.noise.centred(total, middle) * np.float64(scheme.step)
        away: NDArray[np.float64] = (total.astype(np.int64) - middle) * np.float64(scheme.step)
        return away


def make_layout(
    config: Config,
    shared: Shared,
    kept: dict[str, NDArray[np.int64]] | None = None,
    noise: RingNoise | None = None,
    round_number: int = 1,
) -> Layout:
    """Return the layout of a round.

    Args:
        config: of the run.
        shared: the parameters, for names and shapes.
        kept: table name -> rows that take part; None for all.
        noise: what each client adds, from `client_noise`.
        round_number: decides the subspace of low-rank updates, not its size.

    Raises:
        ConfigError: if secure.bits or a range is unusable.
    """
    section = config.secure
    heaviest = section.max_weight if config.server.weighting == "samples" else 1
    within = (WITHIN,) if config.privacy.mechanism != "off" else ()
    tables = FixedPoint(section.bits, section.clip, heaviest)
    fine = FixedPoint(FINE_BITS, section.weight_clip, heaviest)
    shapes = {name: value.shape for name, value in shared.tables.items()}
    return Layout(
        kept or {t: np.arange(len(v), dtype=np.int64) for t, v in shared.tables.items()},
        shapes,
        {name: value.shape for name, value in shared.weights.items()},
        (*METRIC_SCALES, *within) if noise is None else (),
        tables,
        fine if noise is None else tables,
        heaviest,
        noise,
        bases(config, shapes, round_number),
    )


def client_noise(config: Config, shared: Shared, num_clients: int) -> RingNoise | None:
    """Return the noise that each client adds; None if the mechanism is another.

    Args:
        config: of the run.
        shared: the parameters, for their sizes.
        num_clients: all clients of the data set.

    Raises:
        ConfigError: if it cannot be drawn, or does not fit into the ring.
    """
    most = config.clients.per_round if config.clients.sampling == "fixed" else num_clients
    elements = sum(v.size for v in (*shared.tables.values(), *shared.weights.values()))
    policy = build_policy(config, num_clients)
    return ring_noise(policy, min(most, num_clients), elements, config.secure.bits)


def encode_clients(
    update: CohortUpdate,
    layout: Layout,
    exponent: float,
    norm: float | None = None,
    entropy: Callable[[int], Entropy] | None = None,
) -> Iterator[Encoded]:
    """Turn a cohort's updates into integers, one client after the other.

    Args:
        update: of C clients.
        layout: of the vectors.
        exponent: of their samples, in the weights of clients.
        norm: largest L2 norm of what is encoded, rounding included; None for any.
        entropy: position of a client -> source of the keys of its roundings; None for the
            operating system.

    Yields:
        Vector name -> uint64 [m], C times.

    Raises:
        ModelError: if an update is not finite.
        ConfigError: if rounding alone exceeds `norm`.
    """
    update = project(update, layout.bases)
    weights = np.rint(client_weights(update, exponent)).astype(np.int64)
    weights = np.clip(weights, 1, layout.max_weight)
    bounds = {
        t: np.searchsorted(update.index[t].client, np.arange(len(weights) + 1)) for t in layout.rows
    }
    for client, weight in enumerate(weights):
        real = _dense(update, layout, bounds, client)
        clipped = sum(
            int((np.abs(real[n]) > s.clip - s.step).sum())
            for n, s in layout.schemes.items()
            if n in real
        )
        if norm is not None:
            shorten(real, _room(layout, norm))
        metrics = {
            "loss": float(weight * update.loss[client]),
            "samples": float(update.samples[client]),
            "clipped": float(clipped),
            **{name: float(value[client]) for name, value in update.metrics.items()},
        }
        own = os.urandom if entropy is None else entropy(client)
        yield _encode(real, metrics, int(weight), layout, norm, own)


def encode_nothing(layout: Layout) -> Encoded:
    """Return the vectors of a client that has nothing to train on.

    Its weight is zero; with distributed noise one, as if it had something.
    """
    sizes, weight = layout.sizes, 0 if layout.noise is None else 1
    real = {name: np.zeros(size) for name, size in sizes.items() if name != "metrics"}
    return _encode(real, dict.fromkeys(layout.metrics, 0.0), weight, layout)


def decode_sum(
    totals: dict[str, NDArray], layout: Layout, num_clients: int, num_bytes: float
) -> PartialSum:
    """Turn the sum of encoded updates into the partial sum of the round.

    Args:
        totals: vector name -> unsigned integers [m].
        layout: of the vectors.
        num_clients: clients in the sum.
        num_bytes: what they and the lost ones sent, in bytes.

    Returns:
        The sum; its `row_weight`, which would need the number of clients that touched
        a row, is the weight of all clients.
    """
    metrics = _metrics(totals["metrics"][:-1], layout, num_clients)
    weight = int(totals["metrics"][-1])
    tables, weights, at = {}, {}, 0
    flat = layout.centred("tables", totals.get("tables", np.zeros(0, np.uint64)), weight)
    for name, rows in layout.rows.items():
        size = len(rows) * layout.width(name)
        own = flat[at : at + size].reshape(len(rows), layout.width(name))
        own = expand(own, name, layout.bases)
        tables[name] = SparseRows(rows, own.reshape(len(rows), *layout.tables[name][1:]))
        at += size
    flat = layout.centred("weights", totals.get("weights", np.zeros(0, np.uint64)), weight)
    at = 0
    for name, shape in layout.weights.items():
        size = int(np.prod(shape))
        weights[name] = flat[at : at + size].reshape(shape)
        at += size
    row_weight = {name: np.full(len(rows), float(weight)) for name, rows in layout.rows.items()}
    told = {**metrics, "bytes_up": num_bytes}
    return PartialSum(tables, row_weight, dict(weights), float(weight), num_clients, told)


def check_secure_run(config: Config, shared: Shared, num_clients: int) -> None:
    """Refuse a secure run that could not be carried out, before anything is trained.

    Args:
        config: of the run.
        shared: the initial parameters.
        num_clients: all clients: no round has more.

    Raises:
        ConfigError: if sums could overflow, rounding does not fit into the clip norm, or
            noise of the clients cannot be drawn.
    """
    layout = make_layout(config, shared, noise=client_noise(config, shared, num_clients))
    most = config.clients.per_round if config.clients.sampling == "fixed" else num_clients
    layout.vectors(min(most, num_clients))
    at = build_policy(config, num_clients).at(1)
    norm = secure_norm(config, at)
    if norm is not None:
        _room(layout, norm)
    elif config.privacy.mechanism != "off":
        customer_room(layout, at.clip)


def secure_norm(config: Config, at: At) -> float | None:
    """Return the norm that a quantised update may have: the clip norm of a private run.

    None if any: also where customers are bounded, and their merchant rounds their sum.
    """
    bounds_clients = config.privacy.mechanism != "off" and config.privacy.unit != CUSTOMER
    return at.clip if bounds_clients else None


def _dense(
    update: CohortUpdate, layout: Layout, bounds: dict[str, NDArray[np.int64]], client: int
) -> dict[str, NDArray[np.float64]]:
    """Return one client's update as dense real vectors."""
    parts = []
    for name, rows in layout.rows.items():
        first, last = bounds[name][client], bounds[name][client + 1]
        ids = update.index[name].ids[first:last]
        place = np.searchsorted(rows, ids)
        inside = np.flatnonzero(place < len(rows))
        inside = inside[rows[place[inside]] == ids[inside]]
        dense = np.zeros((len(rows), layout.width(name)))
        own = update.rows[name][first:last][inside]
        dense[place[inside]] = own.reshape(len(inside), layout.width(name))
        parts.append(dense.ravel())
    real = {"tables": np.concatenate(parts)} if "tables" in layout.sizes else {}
    if layout.weights:
        flat = [update.weights[name][client].ravel() for name in layout.weights]
        real["weights"] = np.concatenate(flat).astype(np.float64)
    return real


def customer_room(layout: Layout, norm: float) -> float:
    """Return what a customer's update may have, as `fedrec.secure.bounded.room_in_sum`.

    Raises:
        ConfigError: if nothing is left.
    """
    sizes = {name: size for name, size in layout.sizes.items() if name != "metrics"}
    return room_in_sum(layout.schemes, sizes, norm)


def _room(layout: Layout, norm: float) -> float:
    """Return the norm that is left for an update before rounding.

    Raises:
        ConfigError: if there is none.
    """
    sizes = {name: size for name, size in layout.sizes.items() if name != "metrics"}
    return room(layout.schemes, sizes, norm)


def _encode(
    real: dict[str, NDArray[np.float64]],
    metrics: dict[str, float],
    weight: int,
    layout: Layout,
    norm: float | None = None,
    entropy: Entropy = os.urandom,
) -> Encoded:
    out = round_vectors(real, weight, layout.schemes, norm, entropy)
    told = np.array([metrics[name] for name in layout.metrics])
    scheme = layout.schemes["metrics"]
    scaled = told / layout.metric_scales + scheme.step / 2
    out["metrics"] = encode(scaled, 1, scheme, entropy=entropy)
    out["metrics"][-1] = weight
    return out


def _metrics(total: NDArray, layout: Layout, num_clients: int) -> dict[str, float]:
    values = layout.centred("metrics", total, num_clients) * layout.metric_scales
    return dict(zip(layout.metrics, values.tolist(), strict=True))
