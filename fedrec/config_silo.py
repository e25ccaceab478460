"""Merchants whose rows lie with them: keys and rules of runs over silos."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from fedrec.config_sections import Section
from fedrec.errors import ConfigError

if TYPE_CHECKING:
    from fedrec.config import Config

ALL = "all"
NONE = "none"
LEAST_MERCHANTS = 2


class SiloSection(Section):
    """Merchants that keep their rows: who they are, and what they have in common."""

    merchants: str = Field(
        "", description="names of the merchants, in the order of client numbers; empty: no silos"
    )
    holds: str = Field(
        ALL,
        description="whose rows data.path holds: all (one joined file), none (the server of a "
        "deployment), or the name of the one merchant that this node serves",
    )
    items: str = Field(
        "", description="the shared item list, JSON lines with an id each; numbers the items"
    )
    items_hash: str = Field(
        "",
        pattern=r"^([0-9a-f]{64})?$",
        description="SHA-256 of the shared item list; a node with another list takes no part",
    )
    most_users: int = Field(
        100_000, ge=1, description="no merchant has more users; sets the bits of secure evaluation"
    )
    answer_s: float = Field(
        0.0,
        ge=0,
        description="seconds that the server waits for the answers of nodes to one message; who "
        "is later counts as lost; 0: as long as it takes",
    )
    absent_s: float = Field(
        0.0,
        ge=0,
        description="seconds that a round waits for missing merchants, if it would be skipped "
        "without them; 0: it is skipped at once",
    )


def merchants_of(config: Config) -> tuple[str, ...]:
    """Return the names of the merchants, in the order of client numbers; none without silos."""
    return tuple(config.silo.merchants.split())


def check_silos(config: Config) -> None:
    """Refuse what one merchant alone could not compute as all of them together.

    Raises:
        ConfigError: naming the keys and what to change.
    """
    names, silo = merchants_of(config), config.silo
    if not names:
        if silo.holds != ALL or silo.items:
            raise ConfigError(
                "silo.holds and silo.items are for runs over merchants that keep their rows: "
                "name them in silo.merchants"
            )
        return
    if len(names) < LEAST_MERCHANTS or len(set(names)) < len(names) or {ALL, NONE} & set(names):
        raise ConfigError(
            f"silo.merchants = {silo.merchants!r}: expected {LEAST_MERCHANTS} names or more, each "
            f"once, none of them {ALL!r} or {NONE!r}"
        )
    if silo.holds not in (ALL, NONE, *names):
        raise ConfigError(
            f"silo.holds = {silo.holds!r}: expected {ALL!r}, {NONE!r} or one of {', '.join(names)}"
        )
    _check_needed(config)
    _check_joint(config)


def _check_needed(config: Config) -> None:
    silo, data = config.silo, config.data
    needed = {
        "data.name = 'file'": data.name == "file",
        "clients.unit = 'merchant'": config.clients.unit == "merchant",
        "split.protocol = 'leave-last-out'": config.split.protocol == "leave-last-out",
        "silo.items, the shared item list": bool(silo.items),
        "data.merchant_column, as data.path holds all of them": silo.holds != ALL
        or bool(data.merchant_column),
    }
    for what, met in needed.items():
        if not met:
            raise ConfigError(f"silo.merchants = {silo.merchants!r} needs {what}")


def _check_joint(config: Config) -> None:
    """Refuse keys whose effect follows from the rows of all merchants."""
    data, evaluate = config.data, config.evaluate
    joint = {
        "data.item_file": data.item_file,
        "data.user_file": data.user_file,
        "train.propensity": config.train.propensity,
        "evaluate.propensity": evaluate.propensity,
        "evaluate.item_group": evaluate.item_group,
        "evaluate.group": evaluate.group,
        "robust.attack": config.robust.attack != "off",
        "evaluate.candidates": evaluate.candidates != "all",
        "data.store": data.store == "disk",
    }
    for key, asked in joint.items():
        if asked:
            raise ConfigError(
                f"{key} is not for runs over merchants that keep their rows (silo.merchants): it "
                "would follow from the rows of all of them. Leave it out; attributes of items "
                "stand in the shared item list"
            )
