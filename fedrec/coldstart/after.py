"""Strangers in a run: checked before it trains; when it has, measured and learnt for devices.

What devices need to begin with a stranger goes into the exported model, whatever the split;
what strategies are worth is measured where users are held out, and kept in system.json.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fedrec.coldstart.boost_run import asks_for_boost, measure_boost
from fedrec.coldstart.kmeans import enough_clients
from fedrec.coldstart.measure import learn_users, measure_users
from fedrec.coldstart.mixture import MIXTURE
from fedrec.coldstart.newcomer_run import check_merchant, measure_merchant
from fedrec.coldstart.popular import needs_times
from fedrec.coldstart.segments import user_values
from fedrec.coldstart.strangers import strangers
from fedrec.coldstart.strategy import Warm
from fedrec.coldstart.vectors import trained_names
from fedrec.config import Config
from fedrec.config_coldstart import HELD_OUT, user_strategies
from fedrec.models.export import load_model
from fedrec.models.export_starts import write_starts
from fedrec.params import Shared
from fedrec.storage import RunDirectory, replace_file
from fedrec.training.node import Setup, prepare

MERCHANT = "new_merchant"
"""Where they hold what `measure_merchant` returns."""

BOOST = "exploration"
"""Where they hold what `measure_boost` returns."""

KEY = "cold_start"
"""Where system.json and result.json hold what `measure_users` returns."""


def check_users(setup: Setup) -> None:
    """Refuse strategies of `coldstart.users` that these data cannot have, before training.

    Raises:
        ConfigError: naming the strategy and what to change.
        DataError: if nobody is a stranger with a history, or there are no times.
    """
    check_merchant(setup.config)
    names = set(user_strategies(setup.config))
    if not names:
        return
    if setup.config.split.protocol == HELD_OUT:
        for part in ("valid", "test") if MIXTURE in names else ("test",):
            strangers(setup, part, 0)
    warm = Warm(setup, Shared({}))
    if "recent-popularity" in names:
        needs_times(warm)
    if names & {"segment-popularity", "attribute-tower"}:
        user_values(warm)
    if names & {"mean-vector", "attribute-tower", "reconstruction", "prototypes"}:
        trained_names(setup)
    if "prototypes" in names:
        section = setup.config.coldstart
        enough_clients(len(warm.users), section.prototype_rounds, section.prototype_users)


def tell_cold_start(config: Config, directory: Path) -> None:
    """Tell what a finished run means for users, a merchant and items that it has not seen.

    Args:
        config: of the run.
        directory: where its files lie.

    Raises:
        FedrecError: as `tell_users`, `measure_merchant` and `measure_boost`.
    """
    tell_users(config, directory)
    files = RunDirectory(directory)
    if config.coldstart.merchant:
        _add(files, MERCHANT, lambda shared, at: measure_merchant(config, shared, at))
    if asks_for_boost(config):
        _add(files, BOOST, lambda shared, at: measure_boost(config, directory, shared, at))


def _add(files: RunDirectory, key: str, measure: Callable[[Shared, int], dict[str, Any]]) -> None:
    """Add what is measured with the model of a run to its system.json, once."""
    system: dict[str, Any] = json.loads(files.system.read_text(encoding="utf-8"))
    if key not in system:
        shared = load_model(files.model).shared
        system[key] = measure(shared, int(system["selected_round"]))
        replace_file(files.system, (json.dumps(system, indent=1) + "\n").encode())


def tell_users(config: Config, directory: Path) -> None:
    """Learn the strategies of `coldstart.users` with the exported model of a run.

    What a device needs of them is added to the model.  With split.protocol = "cold-users" they
    are measured, which is added to the system.json of the run.  Nothing is done for "off".

    Args:
        config: of the run.
        directory: where its files lie.

    Raises:
        ConfigError: if a strategy does not fit.
        CheckpointError: if the model cannot be read.
    """
    if not user_strategies(config):
        return
    files = RunDirectory(directory)
    system: dict[str, Any] = json.loads(files.system.read_text(encoding="utf-8"))
    if KEY in system:
        return
    shared = load_model(files.model).shared
    warm = Warm(prepare(config), shared, int(system["selected_round"]))
    learnt = learn_users(warm)
    write_starts(files.model, {name: strategy.kept for name, strategy in learnt[0].items()})
    if config.split.protocol != HELD_OUT:
        return
    system[KEY] = measure_users(warm, learnt)
    replace_file(files.system, (json.dumps(system, indent=1) + "\n").encode())
