"""The section `coldstart`: how users are served that no training has seen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from fedrec.config_new_items import NewItemKeys
from fedrec.errors import ConfigError

if TYPE_CHECKING:
    from fedrec.config import Config

WHOLE = -1
"""The number of revealed interactions that stands for the whole history."""


class ColdstartSection(NewItemKeys):
    """Users that are held out entirely, and what they are recommended."""

    users: str = Field(
        "off",
        description="split.protocol = cold-users: the strategy by which held-out users are "
        "served, or several, separated by spaces; off: none. popularity, recent-popularity, "
        "segment-popularity, mean-vector, attribute-tower, reconstruction, ease, near-ease, "
        "item-knn, sequence, mixture, ...",
    )
    k: str = Field(
        "0 1 2 5 10 20",
        description="numbers of interactions that a held-out user reveals; the whole history is "
        "always measured beside them",
    )
    reveal: Literal["latest", "first"] = Field(
        "latest",
        description="what is revealed: the latest interactions before the test items, or the "
        "first ones of the user's life",
    )
    test_items: int = Field(
        5, ge=1, description="latest interactions of a held-out user that are to be found"
    )
    half_life: float = Field(
        30.0, gt=0, description="recent-popularity: days after which an interaction counts half"
    )
    attributes: str = Field(
        "all",
        description="segment-popularity, attribute-tower: names of user attributes, which stay "
        "on the device, or all; texts are left out",
    )
    segment_users: int = Field(
        10,
        ge=1,
        description="segment-popularity, attribute-tower: a value that fewer clients have is "
        "counted as unknown, so that no sum is of few",
    )
    prior: float = Field(
        300.0,
        gt=0,
        description="segment-popularity: interactions of all users that are added to a segment's",
    )
    tower_l2: float = Field(10.0, gt=0, description="attribute-tower: ridge, in clients")
    steps: int = Field(
        50,
        ge=1,
        description="reconstruction: passes over what is revealed, where the method has no number "
        "of its own (train.method = fedrecon has)",
    )
    blend: str = Field(
        "popularity ease near-ease item-knn",
        description="mixture: the strategies that are mixed, with weights for each k that are "
        "learned on the users held out for validation",
    )


def revealed(config: Config) -> tuple[int, ...]:
    """Return the numbers of revealed interactions, ascending, with `WHOLE` at the end.

    Raises:
        ConfigError: if a word of `coldstart.k` is not a whole number of at least 0.
    """
    words = config.coldstart.k.replace(",", " ").split()
    if not words or not all(word.isdigit() for word in words):
        raise ConfigError(
            f"coldstart.k = {config.coldstart.k!r}: expected whole numbers of at least 0, "
            "separated by spaces"
        )
    return (*sorted({int(word) for word in words}), WHOLE)


def strategies_of(config: Config) -> tuple[str, ...]:
    """Return the strategies of `coldstart.users`, each once; none for "off"."""
    names = tuple(dict.fromkeys(config.coldstart.users.replace(",", " ").split()))
    return () if names == ("off",) else names


def check_coldstart(config: Config) -> None:
    """Refuse held-out users that cannot be served one by one.

    Raises:
        ConfigError: naming the keys and what to change.
    """
    revealed(config)
    names = strategies_of(config)
    if not names:
        return
    asked = f"coldstart.users = {config.coldstart.users!r}"
    if "off" in names:
        raise ConfigError(f"{asked}: 'off' stands alone. Leave it out, or the others")
    if config.split.protocol != "cold-users":
        raise ConfigError(
            f"{asked} serves users that are held out entirely: set split.protocol = 'cold-users', "
            f"not {config.split.protocol!r}"
        )
    if config.clients.unit != "user":
        raise ConfigError(
            f"{asked} is for clients.unit = 'user', not {config.clients.unit!r}: a stranger is a "
            "client of its own"
        )
    if config.data.feedback == "explicit":
        raise ConfigError(
            f"{asked} ranks items, and data.feedback = 'explicit' predicts ratings: set "
            "data.feedback = 'implicit'"
        )
    if config.train.negatives_from == "legacy-leaky":
        raise ConfigError(
            f"{asked} with train.negatives_from = 'legacy-leaky': its negatives tell what is held "
            "out. Set train.negatives_from = 'train'"
        )
