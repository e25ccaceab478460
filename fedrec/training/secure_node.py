"""What a node contributes to secure aggregation: one vector after the other, for each client."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from fedrec.config import Config
from fedrec.errors import ConfigError
from fedrec.params import Personal, Shared
from fedrec.privacy.policy import At, build_policy
from fedrec.privacy.ring import noise_key, rounding
from fedrec.secure.shamir import Entropy
from fedrec.training.aggregate import weight_exponent
from fedrec.training.cohort import CohortUpdate
from fedrec.training.graph import GRAPH_CLIP, GraphSums
from fedrec.training.node import Setup, client_updates, in_round
from fedrec.training.rows import entities
from fedrec.training.secure_update import (
    FINE_BITS,
    Encoded,
    Layout,
    client_noise,
    customer_room,
    encode_clients,
    encode_nothing,
    make_layout,
    secure_norm,
)
from fedrec.training.statistics import Statistics, sums_like

Kept = dict[str, NDArray[np.int64]]


def secure_vectors(
    setup: Setup,
    shared: Shared,
    personal: Personal,
    clients: NDArray[np.int64],
    round_number: int,
    at: At | None,
    kept: Kept | None,
) -> tuple[Iterator[tuple[int, Encoded]], Personal]:
    """Train the chosen clients of a node, and encode each one's update.

    Args:
        setup: the prepared configuration.
        shared: what the server sent.
        personal: stacked like `personal_users(setup, clients)`.
        clients: int64 [C], ascending.
        round_number: the round, from 1.
        at: clip norm and key of the privacy policy; None: as the configuration says.
        kept: entity -> rows that take part; None for all.

    Returns:
        An iterator over (client, vectors), which trains as it goes, each client once; and
        the personal parameters, which are complete when it has ended.
    """
    setup = in_round(setup, round_number)
    config = grid_of(setup.config, setup.method.statistics)
    at = at or build_policy(config, setup.population.num_clients).at(round_number)
    like = sums_like(setup.method.statistics, shared)
    noise = client_noise(config, like, setup.population.num_clients)
    layout = make_layout(config, like, kept_tables(setup, kept), noise, round_number)
    norm = secure_norm(config, at)
    if norm is None and config.privacy.mechanism != "off":
        at = replace(at, clip=customer_room(layout, at.clip))
    updates, now = client_updates(setup, shared, personal, clients, round_number, at)

    def each() -> Iterator[tuple[int, Encoded]]:
        trained = [np.zeros(0, np.int64)]
        for block, update in updates:
            trained.append(block)
            if setup.method.statistics is not None:
                refuse_cut(update, config)
            keys = partial(_rounding, config, at, block)
            encoded = encode_clients(update, layout, weight_exponent(config), norm, keys)
            for client, vectors in zip(block.tolist(), encoded, strict=True):
                yield client, _with_noise(vectors, layout, config, at, client)
        for client in np.setdiff1d(clients, np.concatenate(trained)).tolist():
            yield client, _with_noise(encode_nothing(layout), layout, config, at, client)

    return each(), now


def refuse_cut(update: CohortUpdate, config: Config) -> None:
    """Refuse statistics of which masking would cut an element, as their sum would be wrong.

    An update of gradients that is cut is only a shorter step; a count that is cut is a false
    one.  The server is told that there is one, and not which or how large.

    Raises:
        ConfigError: naming the key.
    """
    largest = max((float(np.abs(v).max(initial=0.0)) for v in update.rows.values()), default=0.0)
    if largest > config.secure.clip:
        raise ConfigError(
            f"secure.clip = {config.secure.clip:g} is below an element of a client's sum, and "
            f"train.method = {config.train.method!r} solves from whole sums: raise it. With "
            "counts the largest number of users of a client is always enough"
        )


def _rounding(config: Config, at: At, block: NDArray[np.int64], position: int) -> Entropy:
    """Return the source of the keys of the roundings of one client of a block."""
    return rounding(config, at, int(block[position]))


def _with_noise(vectors: Encoded, layout: Layout, config: Config, at: At, client: int) -> Encoded:
    """Return a client's vectors with its share of distributed noise, if it adds one."""
    if layout.noise is None:
        return vectors
    return {
        name: own
        if name == "metrics"
        else layout.noise.add(own, noise_key(config, at, client, name))
        for name, own in vectors.items()
    }


def grid_of(config: Config, statistics: Statistics | None) -> Config:
    """Return the configuration with the grid of a round's vectors.

    Shares of a graph are fractions up to one, for which the grid of gradients is too coarse:
    they are summed with 32 bits.
    """
    if not isinstance(statistics, GraphSums):
        return config
    return config.with_({"secure.bits": FINE_BITS, "secure.clip": GRAPH_CLIP})


def rows_of_round(setup: Setup, round_number: int) -> Kept | None:
    """Return entity -> rows that take part in a round, before anybody is asked; None for all."""
    statistics = setup.method.at(round_number).statistics
    if statistics is None:
        return None
    rows = statistics.rows(setup.population.num_items)
    return None if rows is None else {"item": rows}


def kept_tables(setup: Setup, kept: Kept | None) -> Kept | None:
    """Return table name -> rows, from entity -> rows."""
    if kept is None:
        return None
    return {table: kept[entity] for table, entity in entities(setup.model).items()}
