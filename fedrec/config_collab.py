"""Collaboration settings: what parties share, and what is theirs alone; keys and rules.

Same items and different users: `clients.unit = "merchant"`.  Same users and different items,
or both overlapping: the section `domain`, with user clients.  Same users and different
columns: the section `vertical`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from fedrec.config_sections import Section
from fedrec.errors import ConfigError

if TYPE_CHECKING:
    from fedrec.config import Config

MERCHANT = "merchant"
PSEUDONYMS = "pseudonyms"
BY_SUMS = ("ials", "fcf")
"""Methods whose user vectors follow from sums over a user's interactions."""
VERTICAL = "vertical"
"""The system that is trained on purchases of one party and attributes of another."""
TARGET_ONLY = "target-only"
"""The system that is trained on the target domain alone."""


class DomainSection(Section):
    """Domains whose users are the same: what one of them gains from the others."""

    by: str = Field(
        "",
        description="what tells domains apart: an item attribute of categories, or merchant; "
        "empty: no domains",
    )
    target: str = Field(
        "", description="the domain that is measured: a category, or the id of a merchant"
    )
    train: Literal["all", "target"] = Field(
        "all",
        description="interactions that are trained on: of all domains, which meet on the device "
        "of their user, or of the target alone",
    )
    meet: Literal["device", "pseudonyms"] = Field(
        "device",
        description="where interactions at several merchants meet: on the device of their user, or "
        "between merchants that join customers by pseudonyms and pass on sums for each of them",
    )


class VerticalSection(Section):
    """One party has purchases, another attributes of some of the same people."""

    attributes: str = Field(
        "", description="system vertical: names of user attributes of the other party, or all"
    )
    basis: str = Field(
        "", description="on what ground the parties may compare their customers (consent, contract)"
    )
    exchange: Literal["secure", "plain"] = Field(
        "secure",
        description="what the other party learns of the user vectors: the product of its "
        "attributes with them, or the vectors themselves",
    )
    every: int = Field(1, ge=1, description="epochs between exchanges")
    ridge: float = Field(
        10.0, gt=0, description="weight of the squared norm of the map from attributes to vectors"
    )
    prior: float = Field(
        20.0,
        gt=0,
        description="interactions that attributes count for: a user with as many moves half as far "
        "as the map does",
    )
    clip: float = Field(
        0.0, ge=0, description="largest L2 norm of a user vector that is exchanged; 0: any"
    )
    noise: float = Field(
        0.0, ge=0, description="standard deviation of noise on exchanged vectors over clip"
    )


def check_vertical(config: Config) -> None:
    """Refuse vertical features where nobody would read them, or nobody agreed to them.

    Raises:
        ConfigError: naming the keys and what to change.
    """
    section, asked = config.vertical, VERTICAL in config.compare.systems.split()
    if not section.attributes:
        if asked:
            raise ConfigError(
                f"the system {VERTICAL!r} reads attributes that another party has: name them in "
                "vertical.attributes, or 'all'"
            )
        return
    needed = {
        "vertical.basis, the ground on which customers are compared": bool(section.basis.strip()),
        "model.name = 'mf', whose user vectors attributes can explain": config.model.name == "mf",
        "data.feedback = 'implicit'": config.data.feedback == "implicit",
        "clients.unit = 'user', as the purchase party knows its customers": (
            config.clients.unit == "user"
        ),
        "vertical.clip above 0, which vertical.noise is a multiple of": (
            not section.noise or section.clip > 0
        ),
    }
    for what, met in needed.items():
        if not met:
            raise ConfigError(f"vertical.attributes = {section.attributes!r} needs {what}")


def check_domains(config: Config) -> None:
    """Refuse domains where users do not meet, or figures that would mean something else.

    Raises:
        ConfigError: naming the keys and what to change.
    """
    domain = config.domain
    if TARGET_ONLY in config.compare.systems.split() and not domain.by:
        raise ConfigError(
            f"the system {TARGET_ONLY!r} trains on one domain alone: name what tells domains apart "
            "in domain.by, and which it is in domain.target"
        )
    if not domain.by:
        if domain.target or domain.train != "all":
            raise ConfigError("domain.target and domain.train need domain.by")
        check_pseudonyms(config)
        return
    needed = {
        "domain.target, the domain that is measured": bool(domain.target),
        "clients.unit = 'user', as domains meet on the device of a user": (
            config.clients.unit == "user"
        ),
        "split.protocol = 'leave-last-out' or 'time'": (
            config.split.protocol in ("leave-last-out", "time")
        ),
        "evaluate.sampled = 0, as sampled negatives would be of all domains": (
            config.evaluate.sampled == 0
        ),
        "data.store = 'auto' or 'memory'": config.data.store != "disk",
        "no silo.merchants: rows of one user at several merchants must meet": (
            not config.silo.merchants
        ),
        "data.feedback = 'implicit'": config.data.feedback == "implicit",
    }
    for what, met in needed.items():
        if not met:
            raise ConfigError(f"domain.by = {domain.by!r} needs {what}")
    check_pseudonyms(config)


def check_pseudonyms(config: Config) -> None:
    """Refuse joined customers where merchants could not train on them, or would show more.

    Raises:
        ConfigError: naming the keys and what to change.
    """
    domain = config.domain
    if domain.meet != PSEUDONYMS:
        if config.data.customer_map:
            raise ConfigError(
                "data.customer_map joins customers of several merchants, which each of them then "
                "learns: say so by domain.by = 'merchant' and domain.meet = 'pseudonyms'"
            )
        return
    needed = {
        "domain.by = 'merchant', as it is merchants that join their customers": (
            domain.by == MERCHANT
        ),
        "data.customer_map, the pseudonyms of own customers": (
            bool(config.data.customer_map) or config.data.name != "file"
        ),
        f"train.method = {' or '.join(map(repr, BY_SUMS))}: there a user's vector follows from "
        "sums that each merchant makes of its own rows, and others need all rows in one place": (
            config.train.method in BY_SUMS
        ),
        "secure.mode = 'off': merchants, not users, would be the parties, which is not simulated": (
            config.secure.mode == "off"
        ),
        "privacy.mechanism = 'off': no merchant sees the whole update of a user, to bound it": (
            config.privacy.mechanism == "off"
        ),
        "privacy.pseudo_items = 0, as no user hides what it touches": (
            config.privacy.pseudo_items == 0
        ),
    }
    for what, met in needed.items():
        if not met:
            raise ConfigError(f"domain.meet = 'pseudonyms' needs {what}")
