"""What a merchant has agreed to: its own file, which the server cannot change.

The configuration of a run comes from the server.  What protects a merchant, who takes part
and which items are meant also stands in agreed.toml, in the merchant's folder; a node takes
no part in a run that says something else.

    [secure]
    mode = "malicious-server"

A merchant may add any other key of an experiment, or take one out that it does not mind.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path

from fedrec.config import Config, Scalar, flatten, from_flat, scalar_toml
from fedrec.errors import ConfigError, ProtocolError

AGREED = "agreed.toml"

_SECTIONS = ("secure.", "privacy.")
_KEYS = (
    "silo.merchants",
    "silo.items_hash",
    "silo.most_users",
    "clients.unit",
    "merchants.only",
    "server.min_clients",
    "server.rows",
    "server.weighting",
    "server.weight_power",
)
_BUDGET = ("train.rounds", "clients.sampling", "clients.per_round", "clients.availability")
"""What decides over epsilon, beside the noise."""

_OWN = ("secure.registry", "secure.drop_stage")
"""Names a file of each machine's own; or concerns simulated losses alone."""


def agreed_keys(config: Config) -> dict[str, Scalar]:
    """Return the keys of an experiment that merchants agree to, with their values.

    Args:
        config: of the experiment.
    """
    budget = _BUDGET if config.privacy.mechanism != "off" else ()
    return {
        key: value
        for key, value in config.flat().items()
        if key not in _OWN and (key.startswith(_SECTIONS) or key in (*_KEYS, *budget))
    }


def agreed_toml(config: Config) -> str:
    """Return an experiment's agreed.toml."""
    lines = [
        "# What this merchant has agreed to: its node takes no part in a run with other values.",
        "# The server cannot change this file. Further keys of run.toml may be added.",
    ]
    section = ""
    for key, value in agreed_keys(config).items():
        first, _, name = key.partition(".")
        if first != section:
            section = first
            lines += ["", f"[{section}]"]
        lines.append(f"{name} = {scalar_toml(value)}")
    return "\n".join(lines) + "\n"


def read_agreed(path: Path) -> dict[str, Scalar]:
    """Read an agreed.toml.

    Returns:
        Dotted key -> value.

    Raises:
        ConfigError: if it is missing or malformed, or names an unknown key.
    """
    try:
        given = flatten(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise ConfigError(
            f"cannot read {path}: {error.strerror}. Expected what this merchant has agreed to, as "
            "'fedrec deploy init' writes it"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid TOML: {error}") from None
    if not given:
        raise ConfigError(f"{path} agrees to nothing: expected keys such as secure.mode")
    for key, value in given.items():
        try:
            from_flat({key: value}, whole=False)
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}") from None
    return given


def check_agreed(config: Config, agreed: Mapping[str, Scalar]) -> None:
    """Refuse a run that is not as agreed.

    Args:
        config: as the server sent it.
        agreed: dotted key -> value.

    Raises:
        ProtocolError: naming the first key with another value.
    """
    asked = config.flat()
    for key, value in agreed.items():
        if asked[key] != value:
            raise ProtocolError(
                f"this node has agreed to {key} = {value!r}, and the run has {asked[key]!r}: it "
                f"takes no part. Run it as agreed, or let every merchant change its {AGREED}"
            )
