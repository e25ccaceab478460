"""Malicious clients: what they send, and what it does to the recommendations.

The rounds are the audit's own (same local training, same server optimisers), for a
defence needs the updates one by one and a node of a run sends only their sum.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fedrec.audit.defences import check_defences, defend
from fedrec.audit.rounds import OpenServer, Server, State, Updates, begin, train_updates
from fedrec.audit.scoring import Interval, Scores, interval
from fedrec.config import integers
from fedrec.errors import ConfigError, nearest
from fedrec.evaluation.evaluator import list_length
from fedrec.evaluation.sums import intervals, means
from fedrec.params import Shared
from fedrec.rng import Purpose, draw, generator, keys, uniform
from fedrec.training.node import Setup, derive_personal, evaluate_node, personal_users
from fedrec.training.scoring import make_scorer

ATTACKS = ("none", "random", "promote", "replace")
_POPULAR = 10  # items whose mean the target is pushed towards
_BLOCK = 512


@dataclass(frozen=True)
class Outcome:
    """What one attack did against one defence.

    Attributes:
        attack: one of ATTACKS.
        defence: its name.
        malicious: number of malicious clients in the population.
        exposure: ER@K, the share of honest users that the target is recommended to.
        exposure_interval: 95%, over users.
        accuracy: NDCG@K of honest users on the test part.
        accuracy_interval: 95%, over users.
        k: K.
    """

    attack: str
    defence: str
    malicious: int
    exposure: float
    exposure_interval: Interval
    accuracy: float
    accuracy_interval: Interval
    k: int

    def to_json(self) -> dict[str, object]:
        """Return an element of `robustness` in audit.json."""
        return dict(self.__dict__)


@dataclass(frozen=True, eq=False)
class Plot:
    """An attack as it is known to the malicious clients.

    Attributes:
        attack: one of ATTACKS.
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


def names_of(setup: Setup) -> tuple[list[str], list[str]]:
    """Return the attacks ("none" first) and the defences that a configuration asks for.

    Raises:
        ConfigError: for an unknown one.
    """
    section = setup.config.robust
    attacks = list(dict.fromkeys(["none", *section.attacks.replace(",", " ").split()]))
    for name in attacks:
        if name not in ATTACKS:
            raise ConfigError(f"unknown attack {name!r} in robust.attacks.{nearest(name, ATTACKS)}")
    defences = list(dict.fromkeys(section.defences.replace(",", " ").split()))
    check_defences(defences)
    return attacks, defences


def make_plot(setup: Setup, attack: str) -> Plot:
    """Choose the malicious clients and the target.

    Raises:
        ConfigError: if the target is no item.
    """
    section, population = setup.config.robust, setup.population
    everyone = np.arange(population.num_clients)
    lot = uniform(draw(keys(setup.config.run.seed, 0, everyone, Purpose.POISON), 0))
    count = int(round(section.malicious * population.num_clients))
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

    random: noise of the usual norm in the rows that they would have sent.
    promote: one row alone, that pushes the target to where popular items lie (as in
    PIECK, Zhang et al., ICDE 2024), with the norm of a usual client's whole update, so
    that a bound on updates does not see it.
    replace: that row so large that the mean over all clients puts the target where
    they want it, at twice the popular mean (model replacement, Bagdasaryan et al.,
    AISTATS 2020).

    Args:
        updates: honest updates of all clients of the round.
        plot: the attack.
        shared: the server's parameters before the round.
        seed: of random rows.
        round_number: of random rows.

    Returns:
        The updates as sent.
    """
    bad = np.flatnonzero(plot.malicious[updates.clients])
    if plot.attack == "none" or not len(bad):
        return updates
    of_bad = np.isin(updates.client, bad)
    if plot.attack == "random":
        norms = np.linalg.norm(updates.rows, axis=1)
        usual = plot.boost * (float(np.median(norms)) if len(norms) else 1.0)
        rows = updates.rows.copy()
        noise = generator(seed, round_number, 0, Purpose.POISON)
        drawn = noise.standard_normal((int(of_bad.sum()), rows.shape[1]))
        rows[of_bad] = usual * drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
        return replace(updates, rows=rows)
    table = np.concatenate(list(shared.tables.values()), 1)
    wanted = table[plot.popular].mean(0)
    if plot.attack == "promote":
        usual = plot.boost * float(np.median(updates.norms))
        row = usual * wanted / max(float(np.linalg.norm(wanted)), 1e-30)
    else:
        share = len(updates.clients) / len(bad)
        row = plot.boost * share * (2.0 * wanted - table[plot.target])
    honest = np.ones(len(updates.clients))
    honest[bad] = 0.0
    return _with_row(updates.scaled(honest), ~of_bad, bad, plot.target, row)


def _with_row(
    updates: Updates,
    kept: NDArray[np.bool_],
    bad: NDArray[np.int64],
    item: int,
    row: NDArray,
) -> Updates:
    """Return the kept rows, and one more of an item for each malicious client."""
    client = np.concatenate([updates.client[kept], bad])
    ids = np.concatenate([updates.ids[kept], np.full(len(bad), item)])
    more = np.broadcast_to(row, (len(bad), len(row)))
    rows = np.concatenate([updates.rows[kept], more]).astype(np.float32)
    order = np.lexsort((ids, client))
    return replace(updates, client=client[order], ids=ids[order], rows=rows[order])


def play_attacked(
    setup: Setup, server: Server, state: State, plot: Plot, defence: str, rounds: int
) -> State:
    """Play rounds in which malicious clients send what the plot says."""
    for _ in range(rounds):
        number = state.round_number + 1
        updates, personal = train_updates(setup, state, server.sample(number), number)
        sent = poison(updates, plot, state.shared, setup.config.run.seed, number)
        total = defend(sent, defence, setup.config.robust)
        state = State(number, server.apply(state.shared, total, number), personal)
    return state


def measure(setup: Setup, state: State, plot: Plot, defence: str) -> Outcome:
    """Measure exposure and accuracy for the users of honest clients."""
    config = setup.config
    k = list_length(integers(config, "evaluate.k"))
    honest = np.flatnonzero(~plot.malicious)
    users = personal_users(setup, honest)
    personal = state.personal.take(users)
    sums = evaluate_node(
        setup, state.shared, personal, honest, "test", bootstrap=config.audit.bootstrap
    )
    metric = f"full.ndcg@{k}"
    shown = exposed(setup, state, users, plot.target, k)
    return Outcome(
        plot.attack,
        defence,
        int(plot.malicious.sum()),
        shown.mean(),
        interval(shown.replicates(config.audit.bootstrap)),
        means(sums).get(metric, float("nan")),
        intervals(sums).get(metric, (float("nan"), float("nan"))),
        k,
    )


def exposed(setup: Setup, state: State, users: NDArray[np.int64], target: int, k: int) -> Scores:
    """Return for each user whether the target is among the top K unseen items.

    Users who have met the target in training are left out (ER@K, Zhang et al., WSDM
    2022); an item with the target's score counts as half before it.
    """
    population = setup.population
    derived = derive_personal(setup, state.shared, state.personal.take(users), users)
    score = make_scorer(setup.model, state.shared, derived, users, population)
    values = np.full(len(users), np.nan)
    for at in range(0, len(users), _BLOCK):
        block = users[at : at + _BLOCK]
        scores = np.array(score(block), np.float64)
        lengths = np.diff(population.indptr)[block]
        rows = np.repeat(np.arange(len(block)), lengths)
        starts = np.repeat(population.indptr[block] - (np.cumsum(lengths) - lengths), lengths)
        items = population.items[np.arange(len(rows)) + starts]
        mine = scores[:, target].copy()
        scores[rows, items] = -np.inf
        before = (scores > mine[:, None]).sum(1) + 0.5 * ((scores == mine[:, None]).sum(1) - 1)
        met = np.zeros(len(block), bool)
        met[rows[items == target]] = True
        values[at : at + _BLOCK] = np.where(met, np.nan, before < k)
    return Scores(users, values)


def audit_robustness(setup: Setup, open_server: OpenServer) -> Iterator[Outcome]:
    """Train under every attack with every defence, from the first round on.

    Args:
        setup: the prepared configuration.
        open_server: makes the server of each federation.

    Yields:
        The outcomes, the undisturbed federation ("none" against "off") first.

    Raises:
        ConfigError: for unknown names, or too few clients for a defence.
    """
    attacks, defences = names_of(setup)
    for attack in attacks:
        plot = make_plot(setup, attack)
        for defence in defences:
            state = begin(setup)
            server = open_server(setup, state.shared)
            rounds = setup.config.robust.rounds
            yield measure(
                setup, play_attacked(setup, server, state, plot, defence, rounds), plot, defence
            )
