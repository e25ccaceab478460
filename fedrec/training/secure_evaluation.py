"""What a node contributes to a secure evaluation: one vector after the other, for each client."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from fedrec.config import integers
from fedrec.evaluation.encoding import Encoded, Sizes, SumsLayout, encode_clients
from fedrec.evaluation.ranking import METRICS
from fedrec.evaluation.unbiased import largest_weight, more_names
from fedrec.params import Personal, Shared
from fedrec.robust.exposed import names
from fedrec.training.node import Setup, measure, personal_users, user_groups
from fedrec.training.tuning import client_scorer

LARGEST_ERROR = 2.0
"""Errors of predicted ratings count up to this many ranges of the ratings."""


def evaluation_layout(setup: Setup, part: str, num_clients: int) -> SumsLayout:
    """Return the layout of an evaluation; it follows from the configuration alone.

    On validation only the sums of metrics travel, on test also what needs more: how often
    items are recommended, groups of users, and what intervals are made of.

    Args:
        setup: the prepared configuration.
        part: "valid" or "test".
        num_clients: n, the invited clients.
    """
    config = setup.config
    explicit, test = config.data.feedback == "explicit", part == "test"
    replicates = config.evaluate.bootstrap if test else 0
    exact = config.secure.intervals == "bootstrap"
    more = more_names(config, setup.population, part)
    return SumsLayout(
        metrics=(*_metrics(setup), *names(config)[0], *more[0]),
        protocols=(*_protocols(setup), *names(config)[1], *more[1]),
        groups=tuple(user_groups(setup)) if test else (),
        num_items=setup.population.num_items if test and not explicit else 0,
        moments=bool(replicates) and not exact,
        replicates=replicates if exact else 0,
        sizes=_sizes(setup, part),
        num_clients=num_clients,
    )


def evaluation_vectors(
    setup: Setup,
    shared: Shared,
    personal: Personal,
    clients: NDArray[np.int64],
    part: str,
    layout: SumsLayout,
    round_number: int = 0,
) -> Iterator[tuple[int, Encoded]]:
    """Evaluate clients in one go, and encode the sums of each.

    Args:
        setup: the prepared configuration.
        shared: what the server sent.
        personal: stacked like `personal_users(setup, clients)`.
        clients: int64 [C], ascending.
        part: "valid" or "test".
        layout: of the vectors.
        round_number: the round that `shared` comes from.

    Returns:
        An iterator over (client, vectors), each client once.

    Raises:
        ModelError: if scores are not finite.
    """
    users = personal_users(setup, clients)
    scorer = client_scorer(setup, shared, personal, clients, round_number)
    values = measure(setup, scorer, users, part)
    owner = np.searchsorted(clients, setup.population.client_of_user[values.users])
    groups = user_groups(setup) if layout.groups else {}
    encoded = encode_clients(values, owner, len(clients), groups, layout)
    return zip(clients.tolist(), encoded, strict=True)


def _protocols(setup: Setup) -> tuple[str, ...]:
    config = setup.config
    if config.data.feedback == "explicit":
        return ("rating",)
    return ("full", f"sampled{config.evaluate.sampled}") if config.evaluate.sampled else ("full",)


def _metrics(setup: Setup) -> tuple[str, ...]:
    if setup.config.data.feedback == "explicit":
        return ("rating.squared_error", "rating.absolute_error")
    ks = integers(setup.config, "evaluate.k")
    return tuple(f"{p}.{name}@{k}" for p in _protocols(setup) for k in ks for name in METRICS)


def _sizes(setup: Setup, part: str) -> Sizes:
    """Return the largest sums that a client can have in this part."""
    data, held_out = setup.config.data, setup.population.held_out(part)
    owner = setup.population.client_of_user[held_out.users]
    silos = bool(setup.config.silo.merchants)
    if silos:  # nobody knows how many users the others have: as many as one may have
        owner = np.zeros(setup.config.silo.most_users, np.int64)
    if data.feedback != "explicit":
        most = int(np.bincount(owner).max(initial=0))
        weight = largest_weight(setup.config, part)
        return Sizes(most * weight, int(np.ceil(most * weight)), most * weight**2)
    ratings = np.ones(len(owner)) if silos else np.diff(held_out.indptr).astype(np.float64)
    error = max(1.0, LARGEST_ERROR * (data.rating_high - data.rating_low)) ** 2
    most = np.bincount(owner, ratings).max(initial=0.0)
    squares = np.bincount(owner, ratings**2).max(initial=0.0)
    return Sizes(float(most * error), int(most), float(squares * error**2))
