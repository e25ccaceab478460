"""What an attacker gets from a federation, put side by side: the call behind ``fedrec audit``."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fedrec.audit.findings import findings
from fedrec.audit.inspect import audit_round, scenes
from fedrec.audit.membership import LEAST_SHADOWS, audit_membership
from fedrec.audit.poisoning import audit_robustness, names_of
from fedrec.audit.rounds import State, begin, play
from fedrec.audit.structure import audit_masks
from fedrec.config import Config, integers, positive_numbers
from fedrec.config_graph import SUMS_FIRST
from fedrec.config_personal import GRAPHS
from fedrec.config_protection import CUSTOMER
from fedrec.config_sums import SUMMED
from fedrec.engine.server_side import AppServer
from fedrec.errors import ConfigError
from fedrec.evaluation.summary import summarise, system_name
from fedrec.machine import peak_memory_mib
from fedrec.output import write_atomically
from fedrec.results import SystemResult, plain_numbers, save_result
from fedrec.run import OnEvent, make_result, reproducing_command, start_output
from fedrec.training.node import Setup, evaluate_node, prepare

SCHEMA = 1
AUDIT_FILE = "audit.json"
Tell = Callable[[str], None]
Figures = dict[str, object]


@dataclass(frozen=True)
class Audit:
    """A finished audit.

    Attributes:
        content: of audit.json.
        directory: where its files lie.
    """

    content: dict[str, Any]
    directory: Path


def audit(
    config: Config | None = None,
    *,
    out: str | Path | None = None,
    overwrite: bool = False,
    on_event: OnEvent | None = None,
) -> Audit:
    """Train a federation round by round, and attack what its server sees.

    Args:
        config: the configuration; `audit.*` and `robust.*` say what is measured.
        out: output directory; None: run.out, else runs/<run.name>.
        overwrite: replace a run that lies in the output directory.
        on_event: called with progress.

    Returns:
        The audit, as also written to audit.json; result.json beside it holds the
        federation that was attacked.

    Raises:
        FedrecError: whatever stops it, with one clear message.
    """
    config = config or Config()

    def tell(text: str) -> None:
        (on_event or (lambda event: None))({"event": "note", "text": text})

    begun = time.perf_counter()
    setup = check(config)
    directory = start_output(config, out, overwrite=overwrite)
    measurements, masks, state = _watch(setup, tell)
    content = {
        "measurements": measurements,
        "masks": masks,
        "robustness": _robustness(setup, tell),
        "membership": _membership(setup, tell),
    }
    seconds = time.perf_counter() - begun
    result = make_result(
        config,
        (_system(setup, state),),
        command=reproducing_command("audit", "in-process"),
        seconds=seconds,
    )
    save_result(result, directory)
    told = findings(content, config)
    keys = ("name", "fedrec", "config_hash", "data", "machine", "command", "created", "config")
    known = result.to_json()
    whole = {
        "schema": SCHEMA,
        **{key: known[key] for key in keys},
        "seconds": round(seconds, 1),
        "findings": told,
        **content,
    }
    whole = plain_numbers(whole)
    write_atomically(directory / AUDIT_FILE, json.dumps(whole, indent=1, allow_nan=False) + "\n")
    return Audit(whole, directory)


def rounds_told(config: Config, tell: Tell) -> list[str]:
    """Attack what the server sees in the rounds of `audit.rounds`, and say what was found.

    For reports about something else: nothing is written, nobody poisons.

    Raises:
        ConfigError: as `check`.
    """
    setup = check_rounds(config)
    measurements, masks, _ = _watch(setup, tell)
    none: list[Figures] = []
    figures = {"measurements": measurements, "masks": masks}
    return findings({**figures, "robustness": none, "membership": none}, setup.config)


def check_rounds(config: Config) -> Setup:
    """Prepare a configuration whose rounds alone are attacked, as `rounds_told` does.

    Raises:
        ConfigError: as `check`.
    """
    return check(config.with_({"robust.attacks": "", "audit.shadows": 0}))


def check(config: Config) -> Setup:
    """Prepare a configuration to be audited.

    Raises:
        ConfigError: if it cannot be, naming the keys and what to change: for ratings,
            too few shadow models, unknown attacks or defences, and a run that is itself
            attacked or defended.
    """
    if config.data.feedback == "explicit":
        raise ConfigError(
            "fedrec audit is about who interacted with what: set data.feedback = 'implicit'"
        )
    if 0 < config.audit.shadows < LEAST_SHADOWS:
        raise ConfigError(
            f"audit.shadows = {config.audit.shadows}: expected 0 (skip it) or at least "
            f"{LEAST_SHADOWS}, or the tails of its error rates mean nothing"
        )
    if config.audit.shadows and config.clients.unit != "user":
        raise ConfigError(
            "audit.shadows asks for the membership of a user: set clients.unit = 'user', or "
            "audit.shadows = 0"
        )
    if config.privacy.unit == CUSTOMER:
        raise ConfigError(
            "fedrec audit attacks what a client sends, and privacy.unit = 'customer' bounds "
            "customers inside a client: set privacy.unit = 'client' to see what a merchant shows"
        )
    for key in ("attack", "defence"):
        if getattr(config.robust, key) != "off":
            raise ConfigError(
                f"robust.{key} is of a run: fedrec audit puts every attack of robust.attacks "
                f"against every defence of robust.defences. Set robust.{key} = 'off'"
            )
    if config.train.method in GRAPHS:
        raise ConfigError(
            f"fedrec audit compares protections, and train.method = {config.train.method!r} works "
            "with none of them: its server sees every client's update. Audit train.method = "
            "'pfedrec'"
        )
    if config.train.method in (*SUMMED, *SUMS_FIRST):
        raise ConfigError(
            f"fedrec audit attacks changes of a model, and train.method = {config.train.method!r} "
            "sends statistics: in clear they are the client's history itself. Audit another method"
        )
    setup = prepare(config)
    names_of(setup)
    return setup


def _watch(setup: Setup, tell: Tell) -> tuple[list[Figures], list[Figures], State]:
    """Attack some rounds; returns the figures, of masks too, and the last round's federation."""
    state, secure = begin(setup), setup.config.secure
    server = AppServer(setup, state.shared)
    found: list[Figures] = []
    masks: list[Figures] = []
    for number in sorted(set(integers(setup.config, "audit.rounds"))):
        state = play(setup, server, state, number - 1 - state.round_number)
        for scene in scenes(setup, server, state):
            tell(f"round {number}, samples {scene.samples}: attacking every protection")
            found += [measured.to_json() for measured in audit_round(scene)]
            if not masks and len(scene.updates.clients):
                masks.append(audit_masks(scene.updates, secure.bits, secure.clip).to_json())
        state = play(setup, server, state, 1)
    return found, masks, state


def _robustness(setup: Setup, tell: Tell) -> list[Figures]:
    found: list[Figures] = []
    if not setup.config.robust.attacks.strip() or not setup.config.robust.rounds:
        return found
    for outcome in audit_robustness(setup, AppServer):
        tell(
            f"attack {outcome.attack}, defence {outcome.defence}: ER@{outcome.k} "
            f"{outcome.exposure:.3f}, NDCG@{outcome.k} {outcome.accuracy:.3f}"
        )
        found.append(outcome.to_json())
    return found


def _membership(setup: Setup, tell: Tell) -> list[Figures]:
    section = setup.config.audit
    if not section.shadows:
        return []
    return [
        audit_membership(setup, AppServer, noise=noise, tell=tell).to_json()
        for noise in (0.0, *positive_numbers(setup.config, "audit.shadow_noise"))
    ]


def _system(setup: Setup, state: State) -> SystemResult:
    """Test the federation that was attacked, so that a reader knows what it has learnt."""
    config, population = setup.config, setup.population
    everyone = np.arange(population.num_clients)
    sums = evaluate_node(
        setup,
        state.shared,
        state.personal,
        everyone,
        "test",
        bootstrap=config.evaluate.bootstrap,
        round_number=state.round_number,
    )
    metrics, ci95 = summarise(config, population, sums, "test")
    return SystemResult(
        name=system_name(config),
        kind="federated",
        seed=config.run.seed,
        selected_round=state.round_number,
        metrics={"test": metrics},
        ci95={name: (low, high) for name, (low, high) in ci95.items()},
        privacy={
            "statement": "the federation that the audits attack; see there what a server sees",
            "unit": None,
            "epsilon": None,
            "delta": None,
            "secure_aggregation": "off",
        },
        cost={"peak_rss_mib": round(peak_memory_mib(), 1)},
    )
