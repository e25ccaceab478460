"""Keys and rules of a merchant that joins when the others have trained (section `coldstart`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from fedrec.config_sections import Section
from fedrec.errors import ConfigError

if TYPE_CHECKING:
    from fedrec.config import Config


class NewcomerKeys(Section):
    """A merchant that no training sees; the section's part about merchants."""

    merchant: str = Field(
        "",
        description="name or number (from 0) of a merchant that is left out of the data entirely "
        "and joins after training (train.method = ease); what it could recommend then is "
        "measured on its last weeks; empty: none",
    )
    weeks: str = Field(
        "0 1 2 4 8 16",
        description="merchant: weeks of its own that it has when it joins, separated by spaces",
    )
    merchant_weeks: int = Field(
        4, ge=1, description="merchant: its last weeks, whose new purchases are to be found"
    )
    merchant_pull: float = Field(
        300.0,
        gt=0,
        description="merchant: customers that the shared model counts for beside its own, in "
        "fine-tuning and in the mixture",
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
    """Refuse a newcomer whose strategies would not be closed forms of sums, or not be told of.

    Raises:
        ConfigError: naming the keys and what to change.
    """
    own_weeks(config)
    name, method = config.coldstart.merchant, config.train.method
    if not name:
        return
    asked = f"coldstart.merchant = {name!r}"
    near = config.baseline.ease_window or config.baseline.ease_decay
    if method != "ease" or near:
        why = "baseline.ease_window or ease_decay weigh pairs" if near and method == "ease" else (
            f"train.method = {method!r}"
        )  # fmt: skip
        raise ConfigError(
            f"{asked} solves what a newcomer makes of its own rows in the closed form of EASE, and "
            f"{why}: set train.method = 'ease', model.name = 'item-item' and no window or decay"
        )
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
