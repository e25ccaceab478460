"""Rules of personalised methods: what belongs to single clients, and who may see it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedrec.config_attacks import NEEDS_SINGLE, OWN
from fedrec.config_sums import SUMMED
from fedrec.errors import ConfigError

if TYPE_CHECKING:
    from fedrec.config import Config

TUNING = ("fedavg", "fedprox", "pfedrec", "gpfedrec", "fedrap")
"""Methods whose local training leaves a table that a client can score with."""
OWN_TABLES = ("additive",)
"""Models of which a client has an item table of its own."""
LEARNING = ("fedavg", "fedprox", "fedrap")
"""Methods that train such tables."""
GRAPHS = ("gpfedrec",)
"""Methods whose server compares the updates of single clients."""

META = ("reptile", "fomaml")
"""Methods that learn where personal parameters start."""
FRESH = ("fedrecon", *META)
"""Methods whose clients keep nothing between rounds: personal parameters are made anew."""
STARTED = ("mf", "ncf", "head", "keras")
"""Models whose personal parameters can have a shared start."""


def check_personal(config: Config) -> None:
    """Refuse heads and tables of one's own where they would mean something else.

    Raises:
        ConfigError: naming the keys and what to change.
    """
    unit, method, model = config.clients.unit, config.train.method, config.model.name
    if method in ("pfedrec", "gpfedrec") and unit != "user":
        raise ConfigError(
            f"train.method = {method!r} is for clients.unit = 'user', not {unit!r}: a client has "
            "one head. Use train.method = 'fedavg'"
        )
    if model in OWN_TABLES and unit != "user":
        raise ConfigError(
            f"model.name = {model!r} is for clients.unit = 'user', not {unit!r}: a client has an "
            "item table of its own for one user. Use model.name = 'head'"
        )
    if model in OWN_TABLES and method not in LEARNING:
        raise ConfigError(
            f"model.name = {model!r} needs a method whose clients train their own table and the "
            f"shared one together: train.method = {' or '.join(map(repr, LEARNING))}, not "
            f"{method!r}"
        )
    if method == "fedrap" and model not in OWN_TABLES:
        raise ConfigError(
            f"train.method = 'fedrap' drives a client's own table from the shared one: it needs "
            f"model.name = 'additive', not {model!r}"
        )
    if config.model.local_layers and (unit == "user" or method in SUMMED):
        raise ConfigError(
            f"model.local_layers = {config.model.local_layers!r} stay with clients that host many "
            f"users and train by gradients: it needs clients.unit = 'merchant' and a method such "
            f"as 'fedavg', not {unit!r} and {method!r}"
        )
    if method in META and (unit != "user" or model not in STARTED):
        raise ConfigError(
            f"train.method = {method!r} learns where personal parameters start: it needs "
            f"clients.unit = 'user' and model.name = {' or '.join(map(repr, STARTED))}, not "
            f"{unit!r} and {model!r}"
        )
    if method in GRAPHS:
        _check_graph(config)
    if config.evaluate.table != "personalised":
        return
    if method not in TUNING or unit != "user":
        raise ConfigError(
            "evaluate.table = 'personalised' scores with what local training makes of the table: "
            f"it needs clients.unit = 'user' and train.method = {' or '.join(map(repr, TUNING))}, "
            f"not {unit!r} and {method!r}"
        )


def _check_graph(config: Config) -> None:
    """Refuse what hides or would spoil the updates that a graph of users is made of.

    Raises:
        ConfigError: naming the keys and what to change.
    """
    robust, mechanism, mode = config.robust, config.privacy.mechanism, config.secure.mode
    asked = f"train.method = {config.train.method!r}"
    if config.model.name not in ("head", "mf"):
        raise ConfigError(
            f"{asked} compares item tables that clients have fine-tuned under a head or a vector "
            f"of their own: it needs model.name = 'head' or 'mf', not {config.model.name!r}"
        )
    if mode != "off":
        raise ConfigError(
            f"{asked} compares the updates of single clients, and secure.mode = {mode!r} shows "
            "the server their sum alone: set secure.mode = 'off', or train.method = 'pfedrec' or "
            "'fedrap', which need the sum only"
        )
    if mechanism != "off":
        raise ConfigError(
            f"{asked} with privacy.mechanism = {mechanism!r} is not accounted: what a client is "
            "sent follows from the updates of single clients, without noise. Use train.method = "
            "'pfedrec' or 'fedrap', or privacy.mechanism = 'off'"
        )
    if robust.defence in NEEDS_SINGLE:
        works = " or ".join(repr(name) for name in OWN)
        raise ConfigError(
            f"{asked} weighs clients by its graph, and robust.defence = {robust.defence!r} would "
            f"take its place: use robust.defence = {works}, or 'off'"
        )
    if config.server.fairness:
        raise ConfigError(
            f"{asked} weighs a client as its neighbours count it, not by its loss: set "
            "server.fairness = 0"
        )
    if config.server.weighting != "equal":
        raise ConfigError(
            f"{asked} needs server.weighting = 'equal', not {config.server.weighting!r}: a client "
            "weighs as much as its neighbours count it"
        )
