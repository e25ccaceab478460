"""Every attack against every defence, in short federations of the audit's own.

Local training, attacks, defences and server optimisers are those of a run; only the
wire is missing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedrec.audit.rounds import OpenServer, Server, State, begin, train_updates
from fedrec.audit.scoring import Interval, Scores, interval
from fedrec.config import Config, integers
from fedrec.config_attacks import NEEDS_SINGLE
from fedrec.errors import ConfigError, nearest
from fedrec.evaluation.evaluator import list_length
from fedrec.evaluation.sums import intervals, means
from fedrec.robust.attacks import ATTACKS, Plot, make_plot, poison
from fedrec.robust.checks import cohort
from fedrec.robust.exposed import exposure
from fedrec.robust.rules import check_count, check_defences, defend
from fedrec.training.node import Setup, evaluate_node, init_shared, personal_users
from fedrec.training.tuning import client_scorer


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


def names_of(setup: Setup) -> tuple[list[str], list[str]]:
    """Return the attacks ("none" first) and the defences that are put side by side.

    Raises:
        ConfigError: for an unknown one, or a defence that needs more clients in a round.
    """
    section = setup.config.robust
    attacks = list(dict.fromkeys(["none", *section.attacks.replace(",", " ").split()]))
    for name in attacks:
        if name not in ATTACKS:
            raise ConfigError(f"unknown attack {name!r} in robust.attacks.{nearest(name, ATTACKS)}")
    without = left_out(setup.config)
    defences = [name for name in _asked(setup.config) if name not in without]
    check_defences(defences)
    count = cohort(setup.config, setup.population.num_clients)
    for name in defences if len(attacks) > 1 and section.rounds else ():
        check_count(name, count, section.malicious)
    return attacks, defences


def left_out(config: Config) -> list[str]:
    """Return the defences that are asked for and cannot be had with secure aggregation."""
    if config.secure.mode == "off":
        return []
    return [name for name in _asked(config) if name in NEEDS_SINGLE]


def _asked(config: Config) -> list[str]:
    return list(dict.fromkeys(config.robust.defences.replace(",", " ").split()))


def play_attacked(
    setup: Setup, server: Server, state: State, plot: Plot, defence: str, rounds: int
) -> State:
    """Play rounds in which malicious clients send what the plot says."""
    start = init_shared(setup)
    for _ in range(rounds):
        number = state.round_number + 1
        updates, personal = train_updates(setup, state, server.sample(number), number)
        sent = poison(updates, plot, state.shared, setup.config.run.seed, number, start)
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
        setup,
        state.shared,
        personal,
        honest,
        "test",
        bootstrap=config.audit.bootstrap,
        round_number=state.round_number,
    )
    metric = f"full.ndcg@{k}"
    shown = exposed(setup, state, honest, plot.target, k)
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


def exposed(setup: Setup, state: State, clients: NDArray[np.int64], target: int, k: int) -> Scores:
    """Return for each user whether the target is among the top K unseen items (`exposure`)."""
    users = personal_users(setup, clients)
    own = state.personal.take(users)
    score = client_scorer(setup, state.shared, own, clients, state.round_number)
    return Scores(users, exposure(score, setup.population, users, target, k))


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
        plot = make_plot(setup.config, setup.population, attack)
        for defence in defences:
            state = begin(setup)
            server = open_server(setup, state.shared)
            rounds = setup.config.robust.rounds
            yield measure(
                setup, play_attacked(setup, server, state, plot, defence, rounds), plot, defence
            )
