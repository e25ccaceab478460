"""Shadow federations, several at once: worlds that differ in who is a member.

Clients are independent, so one compiled call trains the members of many worlds: their
tables lie one after the other, and each client trains on the copy of its own world.
Each world has a server, initial parameters, samples and noise of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fedrec.audit.rounds import OpenServer, put_back
from fedrec.audit.scoring import Floats
from fedrec.config import Config, Scalar
from fedrec.data.batches import Samples, draw_samples
from fedrec.data.population import Population
from fedrec.params import PartialSum, Personal, Shared, SparseRows
from fedrec.privacy.policy import build_policy
from fedrec.training.aggregate import client_weights, partial_sum, weight_exponent
from fedrec.training.cohort import CohortUpdate
from fedrec.training.local import train_cohort
from fedrec.training.methods import Method, Phase
from fedrec.training.node import Setup, init_shared, train_block, training_blocks

_AT_ONCE = 8
_SAMPLES_ROUND = 2**20  # a round of no run: the attacker draws negatives of its own
_FIT = (
    Phase(shared=False, batch=0, epochs=20, optimizer="adam", personal_lr=0.1),
    Phase(shared=False, batch=0, epochs=1, optimizer="adam", personal_lr=0.0),  # the loss left
)


@dataclass(frozen=True, eq=False)
class Worlds:
    """W worlds of the same U users.

    Attributes:
        setups: of each world, with a seed of its own.
        packed: W * U clients; client w * U + u is user u in world w.
    """

    setups: tuple[Setup, ...]
    packed: Setup

    @property
    def num_users(self) -> int:
        """Users of a world, U."""
        return self.setups[0].population.num_clients


def packed(setup: Setup, numbers: NDArray[np.int64]) -> Worlds:
    """Return some worlds, side by side.

    Args:
        setup: of all worlds; every user a client.
        numbers: int64 [W], of the worlds; they give the seeds.
    """
    seed = setup.config.run.seed
    setups = [
        replace(setup, config=setup.config.with_({"run.seed": (seed + 1 + int(n)) % 2**31}))
        for n in numbers
    ]
    return Worlds(
        tuple(setups), replace(setups[0], population=_tiled(setup.population, len(setups)))
    )


def at_once(setup: Setup, worlds: int) -> Iterator[NDArray[np.int64]]:
    """Yield the numbers of the worlds that are trained together.

    Dense weights, closed-form users and pseudo-items look at all items of the tables at
    once: then each world is trained by itself.
    """
    apart = setup.method.personal_is_derived or setup.config.privacy.pseudo_items
    step = 1 if apart or init_shared(setup).weights else _AT_ONCE
    for first in range(0, worlds, step):
        yield np.arange(first, min(first + step, worlds))


def without_sampling(setup: Setup, noise: float) -> Config:
    """Return the configuration of worlds: all members train in every round.

    Args:
        setup: of the run.
        noise: noise multiplier of central noise; 0: none, and no clipping.
    """
    changed: dict[str, Scalar] = {
        "clients.sampling": "all",
        "clients.availability": 1.0,
        "clients.dropout": 0.0,
        "train.rounds": setup.config.audit.shadow_rounds,
        "privacy.mechanism": "off",
        "privacy.clip": 0.0,
        "privacy.row_clip": 0.0,
        "privacy.noise_multiplier": 0.0,
        "privacy.epsilon": 0.0,
        "secure.mode": "off",
        "server.min_clients": 1,
    }
    if noise:
        changed |= {
            "privacy.mechanism": "central",
            "privacy.clip": setup.config.privacy.clip or 1.0,
            "privacy.clip_mode": "fixed",
            "privacy.noise_multiplier": noise,
            "server.weighting": "equal",
            "server.checkpoint_every": 1,
        }
        if setup.config.server.rows == "touching":
            changed["server.rows"] = "mean"
    return setup.config.with_(changed)


def train(worlds: Worlds, open_server: OpenServer, members: NDArray[np.bool_]) -> list[Shared]:
    """Train each world on its members alone.

    Args:
        worlds: W of them.
        open_server: makes the server of each world.
        members: bool [W, U].

    Returns:
        The final shared parameters of each world.
    """
    setup = worlds.packed
    shared = [init_shared(own) for own in worlds.setups]
    servers = [open_server(*pair) for pair in zip(worlds.setups, shared, strict=True)]
    everyone = np.arange(members.size)
    personal = setup.model.init_personal(everyone, setup.config.run.seed)
    clients = np.flatnonzero(members)
    for number in range(1, setup.config.audit.shadow_rounds + 1):
        sums, personal = _round(worlds, stacked(shared), personal, clients, number)
        shared = [
            server.apply(mine, total, number)
            for server, mine, total in zip(servers, shared, sums, strict=True)
        ]
    return shared


def _round(
    worlds: Worlds, shared: Shared, personal: Personal, clients: NDArray[np.int64], number: int
) -> tuple[list[PartialSum], Personal]:
    """Train the members of all worlds for one round; a sum for each world."""
    setup, count = worlds.packed, worlds.num_users
    policy = build_policy(setup.config, count)
    exponent, num_worlds = weight_exponent(setup.config), len(worlds.setups)
    weight, values = np.zeros(num_worlds), personal

    def updates() -> Iterator[CohortUpdate]:
        nonlocal values, weight
        for block in training_blocks(setup, clients):
            copies = block // count
            update, new = train_block(
                setup, shared, values.take(block), block, number, copies=copies
            )
            values = put_back(values, block, new)
            weight = weight + np.bincount(copies, client_weights(update, exponent), num_worlds)
            yield policy.on_update(update, block, policy.at(number))

    total = partial_sum(updates(), shared, exponent)
    trained = np.bincount(clients // count, minlength=num_worlds)
    num_items = setup.population.num_items
    cut = [_cut(total, w, num_items, float(weight[w]), int(trained[w])) for w in range(num_worlds)]
    return cut, values


def _cut(
    total: PartialSum, world: int, num_items: int, weight: float, num_clients: int
) -> PartialSum:
    """Return one world's part of a sum over stacked tables."""
    tables, row_weight = {}, {}
    for name, table in total.tables.items():
        begin, end = np.searchsorted(table.ids, [world * num_items, (world + 1) * num_items])
        tables[name] = SparseRows(table.ids[begin:end] - world * num_items, table.rows[begin:end])
        row_weight[name] = total.row_weight[name][begin:end]
    return PartialSum(tables, row_weight, total.weights, weight, num_clients)


def stacked(shared: list[Shared]) -> Shared:
    """Put the tables of worlds one after the other; dense weights are the first world's."""
    tables = {name: np.concatenate([s.tables[name] for s in shared]) for name in shared[0].tables}
    return Shared(tables, shared[0].weights)


def remaining_loss(setup: Setup, shared: list[Shared]) -> Floats:
    """Return each user's mean loss after a personal vector has been fitted.

    Samples and initial vectors are the same in all worlds, so that scores of a user
    differ by the model alone.

    Args:
        setup: of one world, with U users.
        shared: final parameters of W worlds; one if they hold dense weights.

    Returns:
        float64 [W, U].
    """
    seed, sampling = setup.config.run.seed, setup.method.sampling
    count, worlds = setup.population.num_users, len(shared)
    tables, loss = stacked(shared), np.zeros((worlds, count))
    method = Method("fit", _FIT, sampling, "mean")
    fitting = replace(setup, method=method)
    for users in training_blocks(fitting, np.arange(count)):
        samples = draw_samples(setup.population, users, seed, _SAMPLES_ROUND, sampling)
        once = setup.model.init_personal(users, seed)
        many = Personal(
            {n: np.tile(v, (worlds, *[1] * (v.ndim - 1))) for n, v in once.values.items()}
        )
        everywhere = _repeated(samples, worlds, setup.population.num_items)
        update = train_cohort(setup.model, tables, many, everywhere, method)
        loss[:, users] = update.loss.reshape(worlds, len(users))
    return loss


def _repeated(samples: Samples, worlds: int, num_items: int) -> Samples:
    """Return the samples of clients once for each world."""
    world = np.repeat(np.arange(worlds), len(samples.client))
    return Samples(
        np.tile(samples.client, worlds) + world * samples.num_clients,
        {n: np.tile(v, worlds) + world * num_items for n, v in samples.fields.items()},
        np.tile(samples.label, worlds),
        np.tile(samples.weight, worlds),
        np.tile(samples.order, worlds),
        worlds * samples.num_clients,
        window=samples.window,
    )


def _tiled(population: Population, worlds: int) -> Population:
    """Return the users of a population once for each world, each a client of its own."""
    lengths = np.tile(np.diff(population.indptr), worlds)
    count = worlds * population.num_users
    return replace(
        population,
        num_users=count,
        num_clients=count,
        client_of_user=np.arange(count),
        indptr=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        items=np.tile(population.items, worlds),
        labels=np.tile(population.labels, worlds),
        levels=None if population.levels is None else np.tile(population.levels, worlds),
    )
