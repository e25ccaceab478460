"""Keys and rules of a merchant that joins when the others have trained (section `coldstart`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from fedrec.config_merchants import numbers_of
from fedrec.config_sections import Section
from fedrec.config_tasks import TASK_MODELS
from fedrec.errors import ConfigError

if TYPE_CHECKING:
    from fedrec.config import Config

STEPPED = ("fedavg", "fedprox", "scaffold", "alternating", "fedrecon")
"""Methods of rounds whose model a newcomer can train alone, and train on."""


class NewcomerKeys(Section):
    """A merchant that no training sees; the section's part about merchants."""

    merchant: str = Field(
        "",
        description="name or number (from 0) of a merchant that is left out of the data entirely "
        "and joins after training (train.method = ease, or merchants as clients that train in "
        "rounds); what it could recommend then is measured on its last weeks; empty: none",
    )
    weeks: str = Field(
        "0 1 2 4 8 16",
        description="merchant: weeks of its own that it has when it joins, separated by spaces",
    )
    merchant_weeks: int = Field(
        4, ge=1, description="merchant: its last weeks, whose new purchases are to be found"
    )
    merchant_items: Literal["all", "sold"] = Field(
        "all",
        description="merchant: rank all items, or those that it sells, which it knows when it "
        "joins (here: of which it has any row)",
    )
    merchant_pull: float = Field(
        300.0,
        gt=0,
        description="merchant: customers that the shared model counts for beside its own, in "
        "fine-tuning of EASE and, where its own weeks teach nothing else, in the mixture",
    )


def own_weeks(config: Config) -> tuple[int, ...]:
    """Return the numbers of `coldstart.weeks`, ascending.

    Raises:
        ConfigError: if a word is not a whole number of at least 0.
    """
    words = config.coldstart.weeks.replace(",", " ").split()
    if not words or not all(word.isdigit() for word in words):
        raise ConfigError(
            f"coldstart.weeks = {config.coldstart.weeks!r}: expected whole numbers of at least 0, "
            "separated by spaces"
        )
    return tuple(sorted({int(word) for word in words}))


def check_newcomer(config: Config) -> None:
    """Refuse a newcomer whose strategies are not offered for a run, or could not be told of.

    Raises:
        ConfigError: naming the keys and what to change.
    """
    own_weeks(config)
    name, method = config.coldstart.merchant, config.train.method
    if not name:
        return
    asked = f"coldstart.merchant = {name!r}"
    if method == "ease":
        if config.baseline.ease_window or config.baseline.ease_decay:
            raise ConfigError(
                f"{asked} solves what a newcomer makes of its own rows in the closed form of EASE, "
                "and baseline.ease_window or ease_decay weigh pairs: set no window or decay"
            )
    else:
        _check_stepped(config, asked)
    if config.privacy.mechanism != "off":
        raise ConfigError(
            f"{asked} takes sums over merchants after training, which the epsilon of "
            f"privacy.mechanism = {config.privacy.mechanism!r} does not cover: leave it out"
        )
    if config.silo.merchants or config.domain.by or config.data.store == "disk":
        raise ConfigError(
            f"{asked} is taken out of data that hold the rows of all merchants in memory: it needs "
            "no silo.merchants, no domain.by, and data.store = 'memory' or 'auto'"
        )
    if config.merchants.largest or config.merchants.catalogue != "union":
        raise ConfigError(
            f"{asked} is named among all merchants: leave merchants.largest and "
            "merchants.catalogue as they are"
        )
    if {config.split.event, config.split.train_event} - {"any", "auto"}:
        raise ConfigError(
            f"{asked} counts all events of the newcomer alike: set split.event and "
            "split.train_event to 'any'"
        )


def _check_stepped(config: Config, asked: str) -> None:
    """Refuse what a newcomer could not train alone in the same way as the others did."""
    method, model = config.train.method, config.model.name
    if method not in STEPPED:
        raise ConfigError(
            f"{asked} trains the model of the run on the newcomer's own rows, which train.method = "
            f"{method!r} is not offered for: set train.method = 'ease' with model.name = "
            f"'item-item', or one of {', '.join(STEPPED)}"
        )
    if config.clients.unit != "merchant":
        raise ConfigError(
            f"{asked} joins merchants that train together, and clients.unit = "
            f"{config.clients.unit!r}: set clients.unit = 'merchant', or train.method = 'ease'"
        )
    if config.data.feedback == "explicit" or model in TASK_MODELS:
        raise ConfigError(
            f"{asked} ranks what customers buy first: it needs data.feedback = 'implicit' and a "
            f"model of one task, not data.feedback = {config.data.feedback!r} with model.name = "
            f"{model!r}"
        )
    numbers_of(config, "mixtures")
