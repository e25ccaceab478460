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


def check_coldstart(config: Config) -> None:
    """Refuse numbers of revealed interactions that are none.

    Raises:
        ConfigError: naming the key and what to change.
    """
    revealed(config)
