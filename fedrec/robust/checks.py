"""What a run must satisfy to be attacked and defended, and what its result says of it."""

from __future__ import annotations

from typing import Any

import numpy as np

from fedrec.config import Config
from fedrec.config_attacks import NEEDS_SINGLE, OWN
from fedrec.data.population import Population
from fedrec.errors import ConfigError
from fedrec.robust.attacks import make_plot
from fedrec.robust.exposed import measured
from fedrec.robust.rules import check_count

ATTACKED = "{count} of {all} clients are malicious, simulated (attack {attack}, boost {boost:g})"
CALM = "no client attacks"
OWN_TEXT = (
    "every client bounds its own update ({defence}, norm {norm:g}) before it is summed, which "
    "binds those who run this code and nobody else"
)
SINGLE_TEXT = (
    "the server sees every client's single update and applies {defence} in place of the sum, "
    "reckoning with a share of {share:g} of malicious clients; updates that are not finite are "
    "left out"
)
OPEN = "no defence"


def cohort(config: Config, num_clients: int) -> int:
    """Return how many clients are expected to train in a round, rounded down."""
    section = config.clients
    chosen = num_clients if section.sampling == "all" else min(section.per_round, num_clients)
    return int(chosen * section.availability * (1.0 - section.dropout) + 1e-9)


def check_robust_run(config: Config, population: Population) -> None:
    """Refuse attacks and defences that these data cannot carry, before training.

    Raises:
        ConfigError: for a target that is no item, an attack without attackers, or a rule
            that needs more clients in a round.
    """
    section, everyone = config.robust, population.num_clients
    if measured(config):
        plot = make_plot(config, population, section.attack)
        if section.attack != "off" and not plot.malicious.any():
            raise ConfigError(
                f"robust.attack = {section.attack!r} with robust.malicious = "
                f"{section.malicious:g}: of {everyone} clients none attacks. Raise "
                "robust.malicious"
            )
    check_count(section.defence, cohort(config, everyone), section.malicious)


def robust_entry(config: Config, population: Population) -> dict[str, Any]:
    """Return what result.json says of the attack and the defence; empty if there is neither.

    Returns:
        "attack", "defence", "malicious" (clients), "target" (number and name of the item;
        None where nothing is measured), and "statement".
    """
    section = config.robust
    if section.attack == "off" and section.defence == "off" and not measured(config):
        return {}
    plot = make_plot(config, population, section.attack)
    attackers = int(plot.malicious.sum()) if section.attack != "off" else 0
    told = CALM
    if attackers:
        told = ATTACKED.format(
            count=attackers,
            all=population.num_clients,
            attack=section.attack,
            boost=section.boost,
        )
    words = {**dict.fromkeys(OWN, OWN_TEXT), **dict.fromkeys(NEEDS_SINGLE, SINGLE_TEXT)}
    text = words.get(section.defence, OPEN).format(
        defence=section.defence, norm=section.norm, share=section.malicious
    )
    names = population.split.dataset.items.ids
    shown = {"item": plot.target, "name": str(np.asarray(names)[plot.target])}
    return {
        "attack": section.attack,
        "defence": section.defence,
        "malicious": attackers,
        "target": shown if measured(config) else None,
        "statement": f"{told}; {text}",
    }
