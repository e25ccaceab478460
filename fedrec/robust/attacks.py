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

ATTACKS = ("none", "random", "promote", "replace", "noise", "stale")
FREE_RIDING = ("noise", "stale")
"""Attacks of clients that have nothing to train on, or do not care to."""
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
        config: `robust.who` says who is malicious; if it is empty, the seed draws a share
            `robust.malicious` of all clients.
        population: for the popularity of items in training.
        attack: as in `Plot`; "none" names the same clients, who then attack nothing.

    Raises:
        ConfigError: if the target is no item, or an attacker no client.
    """
    section, malicious = config.robust, np.zeros(population.num_clients, bool)
    malicious[_attackers(config, population.num_clients)] = True
    seen = np.bincount(population.items, minlength=population.num_items)
    order = np.argsort(-seen, kind="stable")
    if section.target >= population.num_items:
        raise ConfigError(
            f"robust.target = {section.target}: expected an item below {population.num_items}"
        )
    rare = order[seen[order] > 0][-1]
    target = int(rare) if section.target < 0 else section.target
    return Plot(attack, malicious, target, order[:_POPULAR], section.boost)


def _attackers(config: Config, num_clients: int) -> NDArray[np.int64]:
    """Return the numbers of the malicious clients."""
    section = config.robust
    if not section.who.strip():
        key = keys(config.run.seed, 0, np.arange(num_clients), Purpose.POISON)
        order = np.argsort(uniform(draw(key, 0)), kind="stable")
        return order[: round(section.malicious * num_clients)]
    words = section.who.replace(",", " ").split()
    if not all(word.isdecimal() and int(word) < num_clients for word in words):
        raise ConfigError(
            f"robust.who = {section.who!r}: expected numbers of clients, from 0 to "
            f"{num_clients - 1}"
        )
    return np.array(words, np.int64)


def poison(
    updates: Updates,
    plot: Plot,
    shared: Shared,
    seed: int,
    round_number: int,
    start: Shared | None = None,
) -> Updates:
    """Replace what malicious clients send.

    random: noise of the same norm in every row that they would have sent.
    promote: one row alone, that pushes the target to where popular items lie (as in
    PIECK, Zhang et al., ICDE 2024), with the norm of the client's whole honest update,
    so that a bound on updates does not see it.
    replace: that row so large that the mean over all clients puts the target where
    they want it, at twice the popular mean (model replacement, Bagdasaryan et al.,
    AISTATS 2020).
    stale: the mean change of the shared parameters in a round so far, which whoever takes
    part can work out, so that nothing new is sent (after the delta weights of free-riders,
    Lin et al., "Free-riders in federated learning: attacks and defenses", 2019).
    noise: random rows of all items with the norm of that change (disguised free-riders,
    Fraboni et al., AISTATS 2021).  In the first round both know nothing and send zeros.

    Args:
        updates: honest updates of any clients.
        plot: the attack.
        shared: the server's parameters before the round.
        seed: of random rows.
        round_number: of random rows, and of the changes that stale ones are the mean of.
        start: the shared parameters before the first round; None: nothing has changed since.

    Returns:
        The updates as sent.
    """
    bad = np.flatnonzero(plot.malicious[updates.clients])
    if plot.attack in ("none", "off") or not len(bad):
        return updates
    of_bad = np.isin(updates.client, bad)
    if plot.attack == "random":
        return _randomised(updates, of_bad, plot.boost, seed, round_number)
    if plot.attack in FREE_RIDING:
        return _free_riding(updates, ~of_bad, bad, plot, (shared, start or shared), seed,
                            round_number)  # fmt: skip
    table = _side_by_side(shared)
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


def _side_by_side(shared: Shared) -> NDArray[np.float32]:
    """Return all tables side by side, float32 [I, D]."""
    return np.concatenate([v.reshape(len(v), -1) for v in shared.tables.values()], 1)


def _free_riding(
    updates: Updates,
    kept: NDArray[np.bool_],
    bad: NDArray[np.int64],
    plot: Plot,
    now_and_start: tuple[Shared, Shared],
    seed: int,
    round_number: int,
) -> Updates:
    """Replace what some clients (int64 [b], positions) send by what needs no data."""
    now, start = now_and_start
    factor = np.float32(plot.boost / max(round_number - 1, 1))
    change = (_side_by_side(now) - _side_by_side(start)) * factor
    items = len(change)
    pushed = np.tile(change, (len(bad), 1))
    if plot.attack == "noise":
        owners = np.repeat(updates.clients[bad], items)
        address = draw(keys(seed, round_number, owners, Purpose.POISON), np.tile(
            np.arange(items) + 1, len(bad)))  # fmt: skip
        pushed = normal(address, change.shape[1]).astype(np.float32)
        norms = np.linalg.norm(pushed.reshape(len(bad), -1), axis=1)
        pushed *= np.repeat(np.linalg.norm(change) / norms, items)[:, None].astype(np.float32)
    weights = {name: value.copy() for name, value in updates.weights.items()}
    for name, value in weights.items():
        stale = plot.attack == "stale"
        value[bad] = (now.weights[name] - start.weights[name]) * factor if stale else 0.0
    client = np.concatenate([updates.client[kept], np.repeat(bad, items)])
    ids = np.concatenate([updates.ids[kept], np.tile(np.arange(items), len(bad))])
    rows = np.concatenate([updates.rows[kept], pushed]).astype(np.float32)
    order = np.lexsort((ids, client))
    return replace(updates, client=client[order], ids=ids[order], rows=rows[order], weights=weights)


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
