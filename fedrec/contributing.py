"""What each merchant brings to a federation, side by side: the call behind ``fedrec contribution``.

In clear a federation is trained once with every update recorded, and others are trained anew
without a merchant.  With secure aggregation the federation is a run of its own in groups
(`contribution.groups`), whose journal holds all that anybody has seen of contributions.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedrec.config import Config
from fedrec.config_sums import SUMMED
from fedrec.contribution.estimates import (
    Memory,
    check_exact,
    exact,
    from_rounds,
    from_updates,
    retrained,
    single_updates,
)
from fedrec.contribution.federation import play, utilities
from fedrec.contribution.game import Values, everyone, leave_one_out
from fedrec.contribution.groups import Measured, check_groups, parts_of
from fedrec.contribution.payments import settle
from fedrec.contribution.rebuilt import alignment, guess
from fedrec.contribution.statements import STATEMENTS, leak_of
from fedrec.engine.server_side import AppServer
from fedrec.errors import ConfigError
from fedrec.evaluation.selection import selection_metric
from fedrec.output import discarded_if_empty, output_directory, write_atomically
from fedrec.results import plain_numbers
from fedrec.run import OnEvent, make_result, reproducing_command, run, start_output
from fedrec.storage import RunDirectory
from fedrec.training.node import Setup, prepare

SCHEMA = 1
CONTRIBUTION_FILE = "contribution.json"
PREFERRED = ("shapley-retrained", "shapley-updates", "groups-rebuilt", "groups", "leave-one-out")
Tell = Callable[[str], None]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Contributions:
    """What each merchant brings.

    Attributes:
        content: of contribution.json.
        directory: where its files lie.
    """

    content: dict[str, Any]
    directory: Path


def contributions(
    config: Config | None = None,
    *,
    engine: str = "in-process",
    out: str | Path | None = None,
    overwrite: bool = False,
    on_event: OnEvent | None = None,
) -> Contributions:
    """Measure what each merchant brings to a federation, and say who should pay whom.

    Args:
        config: the configuration; `contribution.*` says what is measured.
        engine: of the run with secure aggregation.
        out: output directory; None: run.out, else runs/<run.name>.
        overwrite: replace a run that lies in the output directory.
        on_event: called with progress.

    Returns:
        The contributions, as also written to contribution.json.

    Raises:
        FedrecError: whatever stops it, with one clear message.
    """
    config = config or Config()

    def tell(text: str) -> None:
        (on_event or (lambda event: None))({"event": "note", "text": text})

    begun = time.perf_counter()
    with discarded_if_empty(output_directory(config, out)):
        setup = check(config)
    hidden = config.secure.mode != "off"
    if hidden:
        done = run(config, engine=engine, out=out, overwrite=overwrite, on_event=on_event)
        directory, systems = done.directory, done.result.systems
    else:
        directory, systems = start_output(config, out, overwrite=overwrite), ()
    found = brought(setup, directory, tell)
    command = reproducing_command("contribution", engine)
    seconds = round(time.perf_counter() - begun, 1)
    known = make_result(config, systems, command=command, seconds=seconds).to_json()
    keys = ("name", "fedrec", "config_hash", "data", "machine", "command", "created", "config")
    whole = plain_numbers(
        {"schema": SCHEMA, **{k: known[k] for k in keys}, "seconds": seconds, **found}
    )
    text = json.dumps(whole, indent=1, allow_nan=False) + "\n"
    write_atomically(directory / CONTRIBUTION_FILE, text)
    return Contributions(whole, directory)


def check(config: Config) -> Setup:
    """Prepare a configuration whose merchants' contributions are to be measured.

    Raises:
        ConfigError: if they cannot be, or only by opening what is promised to stay closed,
            naming the keys and what to change.
    """
    section, clients, hidden = config.contribution, config.clients, config.secure.mode != "off"
    refused = {
        "is about merchants: set clients.unit = 'merchant'": clients.unit != "merchant",
        "measures rankings: set data.feedback = 'implicit'": config.data.feedback != "implicit",
        "compares who takes part: set clients.sampling = 'all', clients.availability = 1 and "
        "clients.dropout = 0": clients.sampling != "all"
        or clients.availability < 1
        or clients.dropout > 0,
        f"looks at exact figures, and privacy.mechanism = {config.privacy.mechanism!r} promises "
        "that none is published: set privacy.mechanism = 'off'": config.privacy.mechanism != "off",
        f"would open sums that differ by one merchant's update, which secure.mode = "
        f"{config.secure.mode!r} hides: set contribution.groups = 2 to open sums of groups "
        "instead, or secure.mode = 'off'": hidden and not section.groups,
        f"with contribution.retrain = {section.retrain!r} would compare models with and without "
        f"one merchant, and secure.mode = {config.secure.mode!r} hides what it changes: set "
        "contribution.retrain = 'off'": hidden and section.retrain in ("all", "leave-one-out"),
        "with contribution.by_round needs changes of a model in every round, and train.method = "
        f"{config.train.method!r} sends sums: set contribution.by_round = false": section.by_round
        and config.train.method in SUMMED,
        "measures what is shared: set evaluate.table = 'averaged'": (
            config.evaluate.table == "personalised"
        ),
    }
    for reason, wrong in refused.items():
        if wrong:
            raise ConfigError(f"fedrec contribution {reason}")
    setup = prepare(config)
    players = setup.population.num_clients
    if players < 2:
        raise ConfigError("fedrec contribution compares merchants, and there is only one")
    if hidden:
        check_groups(players, section.groups, section.least)
        return setup
    if section.retrain == "all":
        check_exact(players, "contribution.retrain = 'all'")
    if not section.permutations:
        check_exact(players, "contribution.permutations = 0")
    return setup


def brought(setup: Setup, directory: Path, tell: Tell) -> dict[str, Any]:
    """Return what each merchant brings, as it stands in contribution.json.

    Args:
        setup: as `check` returned it.
        directory: of the run of this configuration, if it has secure aggregation.
        tell: told of progress.

    Raises:
        ConfigError: if no round of the secure run told anything.
    """
    if setup.config.secure.mode == "off":
        return _in_clear(setup, tell)
    return _grouped(setup, directory, tell)


def _in_clear(setup: Setup, tell: Tell) -> dict[str, Any]:
    """Estimate contributions where single updates are seen."""
    players, retrain = setup.population.num_clients, setup.config.contribution.retrain
    rounds = play(setup, AppServer)
    tell(f"the federation of all {players} merchants is trained; asking what its updates add")
    estimates = {"shapley-updates": from_updates(setup, rounds)}
    if setup.config.contribution.by_round:
        estimates["shapley-rounds"] = from_rounds(setup, rounds)
    memory, last = retrained(setup, AppServer), rounds[-1]
    memory.known[everyone(players)] = utilities(setup, last.after, last.personal, last.number)
    if retrain in ("auto", "leave-one-out"):
        tell(f"training {players} federations, each without one merchant")
        lost = leave_one_out(memory.total, players)
        estimates["leave-one-out"] = Values(lost, np.zeros(players), players + 1)
    if retrain == "all":
        tell(f"training all {2**players} federations of some merchants")
        estimates["shapley-retrained"] = exact(memory, players)
        lost = leave_one_out(memory.total, players)
        estimates["leave-one-out"] = Values(lost, np.zeros(players), players + 1)
    told = _told(setup, memory, estimates, (), tell)
    if setup.method.statistics is not None:
        return told  # sums are no moves of a model
    along = alignment(guess(single_updates(rounds), players, rounds[0].before))
    return {**told, "alignment": along}


def _grouped(setup: Setup, directory: Path, tell: Tell) -> dict[str, Any]:
    """Estimate contributions from the journal of a secure run in groups.

    Raises:
        ConfigError: if no round told anything, because merchants were lost in all of them.
    """
    players = setup.population.num_clients
    text = RunDirectory(directory).rounds.read_text(encoding="utf-8")
    lines = [json.loads(line).get("contribution") for line in text.splitlines()]
    rounds = [Measured.from_json(line) for line in lines if line]
    if not rounds:
        raise ConfigError(
            "no round of this run had all its groups to the end, so contributions are unknown: "
            "train more rounds, or see in rounds.jsonl why merchants were lost"
        )
    found = parts_of(rounds, players)
    asked = sum(len(one.table) for one in rounds)
    values = {"groups": Values(found.values, found.errors, asked)}
    rebuilt = [line["rebuilt"] for line in lines if line and "rebuilt" in line]
    if rebuilt:
        last = rebuilt[-1]
        told = Values(np.array(last["values"]), np.array(last["errors"]), last["evaluations"])
        values["groups-rebuilt"] = told
    config = setup.config.with_({"secure.mode": "off", "contribution.groups": 0})
    # what each merchant has alone it finds out alone; what all have is the sum of all
    whole = _told(setup, retrained(prepare(config), AppServer), values, found.alike, tell)
    return {**whole, "alignment": rebuilt[-1].get("alignment")} if rebuilt else whole


def merchant_names(setup: Setup) -> tuple[str, ...]:
    """Return the names of the merchants, in the order of client numbers."""
    merchants = setup.population.split.dataset.merchants
    numbers = range(setup.population.num_clients)
    return tuple(map(str, numbers if merchants is None else merchants.ids))


def _told(
    setup: Setup,
    memory: Memory,
    estimates: dict[str, Values],
    alike: tuple[tuple[int, ...], ...],
    tell: Tell,
) -> dict[str, Any]:
    """Return the part of contribution.json that was measured."""
    population = setup.population
    players, names = population.num_clients, merchant_names(setup)
    tell(f"training {players} merchants, each alone")
    alone = np.array([memory(frozenset({i}))[i] for i in range(players)])
    together = memory(everyone(players))
    owner = population.client_of_user
    asked = np.bincount(owner[population.valid.users], minlength=players)
    own = asked.sum() / np.maximum(asked, 1)  # from parts of all to the merchant's own mean
    chosen = next(name for name in PREFERRED if name in estimates)
    best = estimates[chosen]
    paid = settle(together - alone, best.values, names)
    suspects = [names[i] for i in np.flatnonzero(best.values <= 0)]
    merchants = [
        {
            "name": names[i],
            "customers": int((owner == i).sum()),
            "interactions": int(population.samples_of_client[i]),
            "alone": alone[i] * own[i],
            "federated": together[i] * own[i],
        }
        for i in range(players)
    ]
    shown = {
        name: {
            "values": found.values,
            "errors": found.errors,
            "evaluations": found.evaluations,
            "statement": STATEMENTS[name],
        }
        for name, found in estimates.items()
    }
    return {
        "metric": f"valid.{selection_metric(setup.config)}",
        "merchants": merchants,
        "utility": {"all": together.sum(), "alone": alone.sum()},
        "gains": together - alone,
        "estimates": shown,
        "alike": [[names[i] for i in some] for some in alike],
        "suspects": suspects,
        "payments": {"by": chosen, **paid.to_json()},
        "leak": leak_of(setup.config),
    }
