"""Which clients take part in a round.

Every decision about a client is a function of (seed, round, client) alone, so
a cohort does not depend on the engine, on how clients are spread over nodes, or
on a resume.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedrec.config import Config
from fedrec.config_merchants import only_merchants
from fedrec.rng import Purpose, draw, keys, uniform

_CHUNK = 1 << 16  # clients that are drawn for at a time


@dataclass(frozen=True, eq=False)
class Sample:
    """The clients of a round.

    Attributes:
        training: int64 [C], chosen clients that train, ascending.
        dropped: int64 [D], chosen clients that fail in this round (simulated).
    """

    training: NDArray[np.int64]
    dropped: NDArray[np.int64]


def sample_clients(
    config: Config,
    clients: NDArray[np.int64],
    round_number: int,
    *,
    population: int | None = None,
    lots: NDArray[np.float64] | None = None,
) -> Sample:
    """Choose the clients of a round.

    Args:
        config: `clients.sampling`, `per_round`, `availability`, `dropout`, and the seed.
        clients: int64 [N], all clients that connected nodes host, ascending.
        round_number: the round, from 1.
        population: "poisson": number N of clients that sets their chance; None: those
            that are hosted now.
        lots: float64 in [0, 1), by client number, to draw with; None: they follow from
            the seed.

    Returns:
        The sample.  With "fixed" it has min(per_round, reachable clients) members;
        with "poisson" each reachable client is in with probability per_round / N.
    """
    clients = _together(config, clients)
    everyone = len(clients) if population is None else population

    def chance(purpose: Purpose) -> NDArray[np.float64]:
        return _chances(config.run.seed, round_number, clients, purpose)

    section = config.clients
    chosen = chance(Purpose.AVAILABILITY) < section.availability
    lot = chance(Purpose.SAMPLING) if lots is None else lots[clients]
    if section.sampling == "fixed":
        reachable = np.flatnonzero(chosen)
        taken = reachable[np.argsort(lot[reachable], kind="stable")[: section.per_round]]
        chosen = np.zeros(len(clients), bool)
        chosen[taken] = True
    elif section.sampling == "poisson":
        chosen &= lot * everyone < section.per_round
    fails = chosen & (chance(Purpose.DROPOUT) < section.dropout)
    return Sample(clients[chosen & ~fails], clients[fails])


def _together(config: Config, clients: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return those of the clients that train together (`merchants.only`)."""
    some = only_merchants(config)
    return clients[np.isin(clients, some)] if some else clients


def _chances(
    seed: int, round_number: int, clients: NDArray[np.int64], purpose: Purpose
) -> NDArray[np.float64]:
    """Draw a number in [0, 1) for each client, some at a time: steps between take memory too."""
    out = np.empty(len(clients))
    for at in range(0, len(clients), _CHUNK):
        some = clients[at : at + _CHUNK]
        out[at : at + len(some)] = uniform(draw(keys(seed, round_number, some, purpose), 0))
    return out


def evaluation_clients(
    config: Config, clients: NDArray[np.int64], round_number: int, part: str
) -> NDArray[np.int64]:
    """Choose the clients that are evaluated.

    Args:
        config: `evaluate.clients`, and the seed.
        clients: int64 [N], all clients that connected nodes host, ascending.
        round_number: the round whose model is evaluated.
        part: "valid", of which `evaluate.clients` are drawn anew in every round, or "test".

    Returns:
        int64 [C], ascending: all of them on test, but for `merchants.only`.
    """
    clients = _together(config, clients)
    number = config.evaluate.clients
    if part == "test" or not 0 < number < len(clients):
        return clients
    key = keys(config.run.seed, round_number, clients, Purpose.EVALUATION_CLIENTS)
    return np.sort(clients[np.argsort(draw(key, 0), kind="stable")[:number]])
