"""The section `coldstart`: how users are served that no training has seen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from fedrec.config_new_items import NewItemKeys
from fedrec.config_newcomer import NewcomerKeys, check_newcomer
from fedrec.config_sequence import SEQUENCE_MODELS
from fedrec.errors import ConfigError, nearest

if TYPE_CHECKING:
    from fedrec.config import Config

HELD_OUT = "cold-users"
"""The protocol of splits in which users are held out entirely."""

WHOLE = -1
"""The number of revealed interactions that stands for the whole history."""


USER_STRATEGIES = (
    "popularity",
    "recent-popularity",
    "segment-popularity",
    "mean-vector",
    "attribute-tower",
    "reconstruction",
    "prototypes",
    "ease",
    "near-ease",
    "item-knn",
    "sequence",
    "reptile",
    "fomaml",
    "mixture",
)
"""Words of `coldstart.users`; `fedrec.coldstart.users` says what each does."""


class ColdstartSection(NewItemKeys, NewcomerKeys):
    """Users that are held out entirely, and what they are recommended."""

    users: str = Field(
        "off",
        description="strategies for users whom no training has seen, separated by spaces; their "
        "sums are added to the model for devices, and with split.protocol = cold-users they are "
        "measured; mixture: of all that are named; off: none",
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
    prototypes: int = Field(8, ge=2, description="prototypes: how many, at most")
    prototype_rounds: int = Field(
        5, ge=1, description="prototypes: rounds of k-means, each with clients of its own"
    )
    prototype_users: int = Field(
        10,
        ge=2,
        description="prototypes: one that fewer clients of a round are nearest to gets no sum",
    )
    prototype_prior: float = Field(
        3.0, gt=0, description="prototypes: interactions that the nearest one counts for"
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


def user_strategies(config: Config) -> tuple[str, ...]:
    """Return the strategies of `coldstart.users`, each once; none for "off"."""
    words = config.coldstart.users.replace(",", " ").split()
    return () if words == ["off"] else tuple(dict.fromkeys(words))


def check_coldstart(config: Config) -> None:
    """Refuse numbers of revealed interactions that are none, and strategies that cannot be.

    Raises:
        ConfigError: naming the key and what to change.
    """
    revealed(config)
    check_newcomer(config)
    names = user_strategies(config)
    for name in names:
        if name not in USER_STRATEGIES:
            raise ConfigError(
                f"coldstart.users: unknown strategy {name!r}.{nearest(name, USER_STRATEGIES)}"
            )
    if names:
        _check_users(config, names)


def _check_users(config: Config, names: tuple[str, ...]) -> None:
    """Refuse what has no strangers, or sums that a privacy budget does not know of."""
    asked = f"coldstart.users = {config.coldstart.users!r}"
    if "mixture" in names and config.split.protocol != HELD_OUT:
        raise ConfigError(
            f"{asked}: the weights of a mixture are learnt on users that are held out entirely: "
            f"set split.protocol = 'cold-users' (now {config.split.protocol!r}), or leave "
            "'mixture' out"
        )
    if config.data.feedback == "explicit":
        raise ConfigError(
            f"{asked} rank items, and data.feedback = 'explicit' predicts ratings: set "
            "data.feedback = 'implicit', or coldstart.users = 'off'"
        )
    if config.clients.unit != "user":
        raise ConfigError(
            f"{asked} is for users who are clients, and clients.unit = {config.clients.unit!r}: "
            "set clients.unit = 'user', or coldstart.users = 'off'"
        )
    if config.privacy.mechanism != "off":
        raise ConfigError(
            f"{asked} takes sums over clients after training, which the epsilon of "
            f"privacy.mechanism = {config.privacy.mechanism!r} does not cover: set "
            "coldstart.users = 'off'"
        )
    if names == ("mixture",):
        raise ConfigError(f"{asked}: a mixture is of the strategies beside it; name some")
    _check_learned(config, names, asked)


def _check_learned(config: Config, names: tuple[str, ...], asked: str) -> None:
    """Refuse strategies of what another model or method would have learnt."""
    method, model = config.train.method, config.model.name
    for name in ("reptile", "fomaml"):
        if name in names and method != name:
            raise ConfigError(
                f"{asked}: {name!r} begins where train.method = {name!r} has learnt to, and "
                f"train.method = {method!r}: change one of them"
            )
    if "sequence" in names and model not in SEQUENCE_MODELS:
        raise ConfigError(
            f"{asked}: 'sequence' needs a sequence model ({', '.join(SEQUENCE_MODELS)}), and "
            f"model.name = {model!r}: set it, or leave 'sequence' out"
        )
    if "near-ease" in names and not (config.baseline.ease_window or config.baseline.ease_decay):
        raise ConfigError(
            f"{asked}: 'near-ease' without baseline.ease_window and baseline.ease_decay is "
            "'ease': set them, for example to 20 and 10"
        )
