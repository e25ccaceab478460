"""Merchants as clients: which take part, what they may rank, and how they are compared."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from fedrec.config_sections import Section
from fedrec.config_sums import ITEM_ITEM, SUMMED
from fedrec.errors import ConfigError

if TYPE_CHECKING:
    from fedrec.config import Config

FEWEST_TOGETHER = 3
"""Merchants in a group: of two, each would learn the other's part from the sum."""

COMPARED = ("ease",)
"""Methods that sum and solve, whose models a merchant can also solve alone."""


class MerchantsSection(Section):
    """Merchants that may train together, and the comparison that says whether they should."""

    largest: int = Field(
        0, ge=0, description="only the merchants with most customers, so many; 0: all"
    )
    catalogue: Literal["union", "intersection"] = Field(
        "union", description="items that any merchant sells, or those that all of them sell"
    )
    personalise: Literal["auto", "mix", "fine-tune", "ditto"] = Field(
        "auto",
        description="what a merchant makes of the federated model: a mixture of its scores with "
        "those of the merchant's own model; a start of further training on the merchant's own "
        "rows; or, ditto, what a copy of its tables is pulled to while it trains on these rows. "
        "auto: mix for models that are solved, else fine-tune",
    )
    pulls: str = Field(
        "0.01 0.1 1",
        description="ditto: weights of the pull to the federated tables, chosen on validation",
    )
    mixtures: str = Field(
        "0 0.25 0.5 0.75 1", description="mix: shares of the own model, chosen on validation"
    )
    ridges: str = Field(
        "300 1000 3000",
        description="train.method = ease: ridges of the own and of the pooled model, chosen on "
        "validation",
    )
    choice: Literal["together", "each"] = Field(
        "together",
        description="whether all merchants take the setting that is best over the customers of "
        "all (a sum over them), or each what is best on its own customers",
    )
    clusters: int = Field(
        0,
        ge=0,
        le=16,
        description="fedrec compare --merchants: also cut the merchants into so many groups that "
        "sell alike, by secure sums of what they sold in training, and train each group by "
        "itself; groups of fewer than 3 are put to others; 0: no groups",
    )
    cluster_by: str = Field(
        "department",
        description="clusters: the item attribute of categories in whose shares of sales "
        "merchants are alike",
    )
    only: str = Field(
        "",
        description="numbers of the merchants that train together, from 0, separated by spaces; "
        "the others are neither trained on nor evaluated; empty: all",
    )
    new_customer: int = Field(
        20, ge=1, description="a customer with at most so many training items is a new one"
    )
    head: float = Field(
        0.5,
        gt=0,
        lt=1,
        description="share of a merchant's training interactions that its head items make up",
    )


def personalised_by(config: Config) -> str:
    """Return how a merchant personalises: "mix", "fine-tune" or "ditto"."""
    asked = config.merchants.personalise
    if asked != "auto":
        return asked
    return "mix" if config.train.method in SUMMED else "fine-tune"


def numbers_of(config: Config, key: str) -> tuple[float, ...]:
    """Return a list-valued key of the section as numbers.

    Raises:
        ConfigError: if a word is not a number of at least 0.
    """
    text = str(config.flat()[f"merchants.{key}"])
    try:
        found = tuple(float(word) for word in text.replace(",", " ").split())
    except ValueError:
        found = ()
    if not found or not all(0 <= value < float("inf") for value in found):
        raise ConfigError(
            f"merchants.{key} = {text!r}: expected numbers of at least 0, separated by spaces"
        )
    return found


def only_merchants(config: Config) -> tuple[int, ...]:
    """Return the numbers of the merchants that train together, ascending; none: all do.

    Raises:
        ConfigError: if a word is no number, or stands twice.
    """
    words = config.merchants.only.replace(",", " ").split()
    numbers = sorted({int(word) for word in words if word.isdigit()})
    if len(numbers) < len(words):
        raise ConfigError(
            f"merchants.only = {config.merchants.only!r}: expected numbers of merchants, each "
            "once, separated by spaces"
        )
    return tuple(numbers)


def check_merchants(config: Config) -> None:
    """Refuse lists that are none, shares above 1 and splits that do not go together.

    Raises:
        ConfigError: naming the key and what to change.
    """
    if min(numbers_of(config, "ridges")) <= 0:
        raise ConfigError(f"merchants.ridges = {config.merchants.ridges!r}: expected above 0")
    if max(numbers_of(config, "mixtures")) > 1:
        raise ConfigError(
            f"merchants.mixtures = {config.merchants.mixtures!r}: a share of the own model is at "
            "most 1"
        )
    _check_some(config)
    section = config.merchants
    chosen = bool(section.largest) or section.catalogue != "union"
    if chosen and (config.clients.unit != "merchant" or config.silo.merchants):
        raise ConfigError(
            "merchants.largest and merchants.catalogue choose from data that hold the rows of all "
            "merchants: they need clients.unit = 'merchant', and no silo.merchants"
        )
    if config.train.negatives_from == "own" and config.clients.unit != "merchant":
        raise ConfigError(
            "train.negatives_from = 'own' draws what the customer's merchant sells: it needs "
            f"clients.unit = 'merchant', not {config.clients.unit!r}"
        )
    if config.split.days and config.split.protocol != "time":
        raise ConfigError(
            f"split.days = {config.split.days:g} cuts by time: set split.protocol = 'time'"
        )


def _check_some(config: Config) -> None:
    """Refuse sums over some of the merchants where they would tell more than was promised."""
    section, secure = config.merchants, config.secure.mode != "off"
    numbers = only_merchants(config)
    asked = f"merchants.clusters = {section.clusters}" if section.clusters else ""
    asked = asked or (f"merchants.only = {section.only!r}" if numbers else "")
    if not asked:
        return
    refused = {
        f"needs clients.unit = 'merchant', not {config.clients.unit!r}": (
            config.clients.unit != "merchant"
        ),
        "needs privacy.mechanism = 'off': the noise is made for the sum of all, that of some would "
        "carry too little, and profiles carry none": config.privacy.mechanism != "off",
        "opens sums of some merchants, and a malicious server would choose these so that two sums "
        "differ by one merchant: set secure.mode = 'semi-honest'": (
            config.secure.mode == "malicious-server"
        ),
        "needs contribution.groups = 0: sums of two groupings of the same merchants can be solved "
        "for single ones": config.contribution.groups > 0,
        f"with secure aggregation needs {FEWEST_TOGETHER} merchants or more: of fewer, a sum tells "
        "each the other's update": secure and 0 < len(numbers) < FEWEST_TOGETHER,
        "would be one group, which is all merchants: set it to 2 or more, or 0": (
            section.clusters == 1
        ),
        f"needs {FEWEST_TOGETHER * section.clusters} merchants or more, {FEWEST_TOGETHER} in each "
        f"group: merchants.largest = {section.largest}": (
            0 < section.largest < FEWEST_TOGETHER * section.clusters
        ),
    }
    for reason, wrong in refused.items():
        if wrong:
            raise ConfigError(f"{asked} {reason}")


def check_comparison(config: Config) -> None:
    """Refuse what a comparison of merchants cannot decide.

    Raises:
        ConfigError: naming the key and what to change.
    """
    method, unit = config.train.method, config.clients.unit
    if config.merchants.only:
        raise ConfigError(
            f"merchants.only = {config.merchants.only!r}: a comparison of merchants is about all "
            "of them. Leave it out, or use merchants.largest"
        )
    if unit != "merchant":
        raise ConfigError(
            f"a comparison of merchants needs clients.unit = 'merchant', not {unit!r}"
        )
    if config.data.feedback == "explicit":
        raise ConfigError(
            "a comparison of merchants ranks items: set data.feedback = 'implicit', which "
            "data.min_rating can make of ratings"
        )
    if config.evaluate.bootstrap == 0:
        raise ConfigError(
            "a comparison of merchants tells how sure it is: set evaluate.bootstrap, to 2000 say"
        )
    if method in SUMMED and method not in COMPARED:
        raise ConfigError(
            f"train.method = {method!r}: of the methods that sum and solve, a merchant alone can "
            f"repeat {', '.join(COMPARED)}. Set one of these, or a method that trains"
        )
    asked = config.merchants.personalise
    if method in ITEM_ITEM and asked in ("fine-tune", "ditto"):
        raise ConfigError(
            f"merchants.personalise = {asked!r} trains on, and train.method = {method!r} "
            "solves: set it to 'mix'"
        )
    if asked == "ditto" and config.model.name != "mf":
        raise ConfigError(
            "merchants.personalise = 'ditto' pulls table rows, and model.name = "
            f"{config.model.name!r} also has layers, which it would leave alone: set model.name = "
            "'mf', or merchants.personalise = 'fine-tune'"
        )
