"""Prototypes of taste for strangers: the nearest one is where a stranger begins."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from fedrec.coldstart.kmeans import Prototypes, kmeans
from fedrec.coldstart.on_device import mean_prototype, nearest_prototype
from fedrec.coldstart.strategy import Strategy, Warm
from fedrec.coldstart.vectors import personal_scorer, rebuilt, started, warm_vectors
from fedrec.data.population import Population
from fedrec.errors import ConfigError
from fedrec.models.export_starts import Kept
from fedrec.params import Personal
from fedrec.rng import NO_CLIENT, Purpose, generator
from fedrec.training.node import init_personal
from fedrec.training.scorer import Scorer


def prototypes(warm: Warm) -> Strategy:
    """Nearest prototype, then the stranger's own vector as it reveals more.

    The device reconstructs a vector v from the n interactions that are revealed, finds the
    prototype p that points most alike, and serves ``(n v + m p) / (n + m)`` with m =
    `coldstart.prototype_prior`.  Without any it serves the mean of the prototypes.

    Raises:
        ConfigError: if the model has no personal parameters, or there are too few clients.
    """
    found = find(warm)
    names = sorted(warm_vectors(warm))
    prior = warm.setup.config.coldstart.prototype_prior
    mean = mean_prototype(found.vectors, found.counts)

    def start(population: Population) -> Scorer:
        begin = started(warm, _parts(warm, names, mean))
        own = flat(rebuilt(warm, population, begin), names)
        shown = np.diff(population.indptr).astype(np.float64)[:, None]
        near = found.vectors[nearest_prototype(own, found.vectors)]
        served = np.where(shown > 0, (shown * own + prior * near) / (shown + prior), mean)
        return personal_scorer(warm, population, started(warm, _parts(warm, names, served)))

    shapes = {name: value.shape[1:] for name, value in warm_vectors(warm).items()}

    return Strategy(
        "prototypes",
        "what a stranger reveals stays on its device; of warm clients, each asked once, secure "
        "sums are known: how many are nearest to each prototype, and the sums of their vectors "
        f"where these are at least {warm.setup.config.coldstart.prototype_users}",
        warm.shared.num_bytes + 4 * found.vectors.size,
        start,
        kept=Kept(
            {"vectors": found.vectors, "counts": found.counts},
            {"shapes": {name: list(shapes[name]) for name in names}, "prior": prior},
        ),
    )


def find(warm: Warm) -> Prototypes:
    """Return the prototypes of the warm clients' personal parameters.

    K-means begins with the vectors of users that are made up: each has met one item, drawn
    by its popularity.

    Raises:
        ConfigError: as `prototypes`.
    """
    section, config = warm.setup.config.coldstart, warm.setup.config
    vectors = warm_vectors(warm)
    names = sorted(vectors)
    own = np.concatenate([vectors[n].reshape(len(warm.users), -1) for n in names], axis=1)
    return kmeans(
        own,
        made_up(warm, names),
        rounds=section.prototype_rounds,
        fewest=section.prototype_users,
        mode="semi-honest" if config.secure.mode == "off" else config.secure.mode,
        seed=config.run.seed,
    )


def made_up(warm: Warm, names: list[str]) -> NDArray[np.float32]:
    """Return the vectors of `coldstart.prototypes` users with one item each, float32 [P, D].

    Raises:
        ConfigError: if there are fewer users, or fewer items that anybody met.
    """
    population, number = warm.setup.population, warm.setup.config.coldstart.prototypes
    counts = population.item_counts.astype(np.float64)
    most = min(population.num_users, int((counts > 0).sum()))
    if number > most:
        raise ConfigError(
            f"coldstart.prototypes = {number} begin with as many users, each with an item of its "
            f"own, and the data have {most}: lower it"
        )
    rng = generator(warm.setup.config.run.seed, 1, NO_CLIENT, Purpose.PROTOTYPES)
    items = rng.choice(len(counts), number, replace=False, p=counts / counts.sum())
    indptr = np.minimum(np.arange(population.num_users + 1), number).astype(np.int64)
    invented = replace(
        population,
        indptr=indptr,
        items=items.astype(population.items.dtype),
        labels=np.ones(number, np.float32),
        levels=None,
    )
    begin = init_personal(warm.setup, np.arange(population.num_clients))
    return flat(rebuilt(warm, invented, begin), names)[:number]


def flat(personal: Personal, names: list[str]) -> NDArray[np.float32]:
    """Return named personal parameters side by side, float32 [U, D]."""
    values = [personal.values[name] for name in names]
    return np.concatenate([v.reshape(len(v), -1) for v in values], axis=1).astype(np.float32)


def _parts(warm: Warm, names: list[str], joined: NDArray) -> dict[str, NDArray[np.float32]]:
    """Return vectors [D] or [U, D] as the named parameters that they are made of."""
    shapes = {name: value.shape[1:] for name, value in warm_vectors(warm).items()}
    ends = np.cumsum([int(np.prod(shapes[name])) for name in names])[:-1]
    parts = zip(names, np.split(np.asarray(joined, np.float32), ends, axis=-1), strict=True)
    return {name: part.reshape(*joined.shape[:-1], *shapes[name]) for name, part in parts}
