"""The section `contribution`: what each merchant brings to a federation, and its rules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from fedrec.config_sections import Section
from fedrec.config_sums import SUMMED
from fedrec.errors import ConfigError

if TYPE_CHECKING:
    from fedrec.config import Config

MOST_EXACT = 12
"""Merchants up to which all coalitions are looked at: 2**12 models."""

FEWEST = 3
"""Members of a group whose sum is opened: with two, each would read the other's update."""


class ContributionSection(Section):
    """What each merchant brings to the federation, by `fedrec contribution`."""

    groups: int = Field(
        0,
        ge=0,
        le=4,
        description="of a run with secure aggregation: merchants are cut into so many random "
        "groups, anew in every round, and the sum of each group is opened, so that contributions "
        "can be estimated; 0: only the sum of all is opened",
    )
    least: int = Field(3, ge=FEWEST, description="no group has fewer merchants")
    rounds: int = Field(
        0,
        ge=0,
        description="groups: rounds, from the first on, in which sums of groups are opened; the "
        "more, the better contributions are known, and single updates guessed; 0: all",
    )
    retrain: Literal["auto", "leave-one-out", "all", "off"] = Field(
        "auto",
        description="federations trained anew: without each merchant, or with every subset of "
        f"them (up to {MOST_EXACT} merchants), which gives exact Shapley values; auto: "
        "leave-one-out, off with secure aggregation",
    )
    permutations: int = Field(
        32,
        ge=0,
        description="Shapley values from updates: orders of merchants that are drawn; 0: all "
        f"subsets (up to {MOST_EXACT} merchants)",
    )
    tolerance: float = Field(
        0.0,
        ge=0,
        description="Shapley values from updates: an order is cut off where the utility is so near "
        "to that of all merchants, and a round is left out that gains no more",
    )
    by_round: bool = Field(
        False,
        description="Shapley values of every single round too, added up; costs as many evaluations "
        "in each round",
    )
    compare: bool = Field(
        False, description="fedrec compare --merchants measures contributions, and shows payments"
    )


def check_contribution(config: Config) -> None:
    """Refuse groups in runs that do not open sums of groups, or whose sums would say too much.

    Raises:
        ConfigError: naming the keys and what to change.
    """
    groups, secure = config.contribution.groups, config.secure
    if not groups:
        return
    asked = f"contribution.groups = {groups}"
    if groups == 1:
        raise ConfigError(f"{asked}: one group is all merchants. Set it to 2 or more, or 0")
    refused = {
        "needs clients.unit = 'merchant': single users are too many to be valued": (
            config.clients.unit != "merchant"
        ),
        "is for runs with secure aggregation; in clear single updates are seen anyway. Set "
        "secure.mode = 'semi-honest'": secure.mode == "off",
        "opens sums of groups, which a malicious server would choose so that they single a "
        "merchant out: set secure.mode = 'semi-honest'": secure.mode == "malicious-server",
        "needs privacy.mechanism = 'off': the noise is made for the sum of all, and that of a "
        "group would carry too little": config.privacy.mechanism != "off",
        "needs secure.rows = 'dense' or 'low-rank': which rows a group touches would be "
        "published": secure.rows not in ("dense", "low-rank"),
        f"needs another method than train.method = {config.train.method!r}: its clients send the "
        "same sums in every round, and sums of several groupings of the same data can be solved "
        "for each single one": config.train.method in SUMMED and config.train.rounds > 1,
        "needs clients.sampling = 'all': groups are cut from all merchants": (
            config.clients.sampling != "all"
        ),
        "needs data.feedback = 'implicit': contributions are measured by rankings": (
            config.data.feedback != "implicit"
        ),
    }
    for reason, wrong in refused.items():
        if wrong:
            raise ConfigError(f"{asked} {reason}")
