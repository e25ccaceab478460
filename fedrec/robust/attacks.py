"""Malicious clients: who they are, and what they send.

An attacker knows what it was sent, its own data, and which items are popular; it does
not know the updates of honest clients.  So what it sends does not depend on where it is
hosted, and a poisoned round is the same on every engine.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fedrec.config import Config
from fedrec.data.population import Population
from fedrec.errors import ConfigError
from fedrec.params import Shared
from fedrec.rng import Purpose, draw, keys, normal, uniform
from fedrec.robust.updates import Updates

ATTACKS = ("none", "random", "promote", "replace")
_POPULAR = 10  # items whose mean the target is pushed towards


@dataclass(frozen=True, eq=False)
class Plot:
    """An attack as it is known to the malicious clients.

    Attributes:
        attack: one of ATTACKS, or "off" as in a configuration, which is "none".
        malicious: bool [num_clients].
        target: item to be promoted.
        popular: int64, the most popular items; the attacker is given them.
        boost: norm of what is sent over that of the attack's recipe.
    """

    attack: str
    malicious: NDArray[np.bool_]
    target: int
    popular: NDArray[np.int64]
    boost: float


def make_plot(config: Config, population: Population, attack: str) -> Plot:
    """Choose the malicious clients and the target.

    Args:
        config: its seed draws who is malicious: a share `robust.malicious` of all clients.
        population: for the popularity of items in training.
        attack: as in `Plot`; "none" names the same clients, who then attack nothing.

    Raises:
        ConfigError: if the target is no item.
    """
    section = config.robust
    everyone = np.arange(population.num_clients)
    lot = uniform(draw(keys(config.run.seed, 0, everyone, Purpose.POISON), 0))
    count = round(section.malicious * population.num_clients)
    malicious = np.zeros(population.num_clients, bool)
    malicious[np.argsort(lot, kind="stable")[:count]] = True
    seen = np.bincount(population.items, minlength=population.num_items)
    order = np.argsort(-seen, kind="stable")
    if section.target >= population.num_items:
        raise ConfigError(
            f"robust.target = {section.target}: expected an item below {population.num_items}"
        )
    rare = order[seen[order] > 0][-1]
    target = int(rare) if section.target < 0 else section.target
    return Plot(attack, malicious, target, order[:_POPULAR], section.boost)


def poison(updates: Updates, plot: Plot, shared: Shared, seed: int, round_number: int) -> Updates:
    """Replace what malicious clients send.

    random: noise of the same norm in every row that they would have sent.
    promote: one row alone, that pushes the target to where popular items lie (as in
    PIECK, Zhang et al., ICDE 2024), with the norm of the client's whole honest update,
    so that a bound on updates does not see it.
    replace: that row so large that the mean over all clients puts the target where
    they want it, at twice the popular mean (model replacement, Bagdasaryan et al.,
    AISTATS 2020).

    Args:
        updates: honest updates of any clients.
        plot: the attack.
        shared: the server's parameters before the round.
        seed: of random rows.
        round_number: of random rows.

    Returns:
        The updates as sent.
    """
    bad = np.flatnonzero(plot.malicious[updates.clients])
    if plot.attack in ("none", "off") or not len(bad):
        return updates
    of_bad = np.isin(updates.client, bad)
    if plot.attack == "random":
        return _randomised(updates, of_bad, plot.boost, seed, round_number)
    table = np.concatenate([v.reshape(len(v), -1) for v in shared.tables.values()], 1)
    wanted = table[plot.popular].mean(0)
    if plot.attack == "promote":
        direction = wanted / max(float(np.linalg.norm(wanted)), 1e-30)
        pushed = plot.boost * updates.norms[bad, None] * direction
    else:
        share = len(plot.malicious) / plot.malicious.sum()
        row = plot.boost * share * (2.0 * wanted - table[plot.target])
        pushed = np.broadcast_to(row, (len(bad), len(row)))
    honest = np.ones(len(updates.clients))
    honest[bad] = 0.0
    return _with_row(updates.scaled(honest), ~of_bad, bad, plot.target, pushed)


def _randomised(
    updates: Updates, chosen: NDArray[np.bool_], boost: float, seed: int, round_number: int
) -> Updates:
    """Turn each chosen row (bool [T]) into a random direction, addressed by client and item."""
    rows = updates.rows.copy()
    owners = updates.clients[updates.client[chosen]]
    address = draw(keys(seed, round_number, owners, Purpose.POISON), updates.ids[chosen] + 1)
    noise = normal(address, rows.shape[1])
    norms = np.linalg.norm(rows[chosen], axis=1, keepdims=True)
    rows[chosen] = boost * norms * noise / np.linalg.norm(noise, axis=1, keepdims=True)
    return replace(updates, rows=rows)


def _with_row(
    updates: Updates,
    kept: NDArray[np.bool_],
    bad: NDArray[np.int64],
    item: int,
    pushed: NDArray,
) -> Updates:
    """Return the kept rows, and one more of an item for each malicious client, [b, D]."""
    client = np.concatenate([updates.client[kept], bad])
    ids = np.concatenate([updates.ids[kept], np.full(len(bad), item)])
    rows = np.concatenate([updates.rows[kept], pushed]).astype(np.float32)
    order = np.lexsort((ids, client))
    return replace(updates, client=client[order], ids=ids[order], rows=rows[order])
