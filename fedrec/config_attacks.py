"""Sections of the configuration about attacks: malicious clients, defences, audits."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from fedrec.config_sections import Section

OWN = ("norm-bound", "row-clip")
"""Defences that bound each update by itself, so that clients can apply them."""
NEEDS_SINGLE = ("median", "trimmed-mean", "krum", "multi-krum", "bulyan")
"""Defences that compare updates: the server must see them one by one."""


class RobustSection(Section):
    """Malicious clients, and robust aggregation against them, of a run and of `fedrec audit`."""

    defence: Literal[
        "off",
        "norm-bound",
        "row-clip",
        "median",
        "trimmed-mean",
        "krum",
        "multi-krum",
        "bulyan",
    ] = Field(
        "off",
        description="of a run: clients bound their updates (norm-bound, row-clip), or the server "
        "sees single updates and applies a robust rule in place of their sum",
    )
    attack: Literal["off", "random", "promote", "replace", "noise", "stale"] = Field(
        "off",
        description="of a run: what simulated malicious clients send; noise, stale: free-riders",
    )
    malicious: float = Field(
        0.05, ge=0, lt=0.5, description="share of clients that attack, and that a defence expects"
    )
    who: str = Field(
        "", description="numbers of the clients that attack; empty: robust.malicious are drawn"
    )
    boost: float = Field(1.0, gt=0, description="factor on what malicious clients send")
    target: int = Field(
        -1,
        ge=-1,
        description="item to be promoted, whose exposure is measured; -1: the least popular with "
        "an interaction, measured only under attack",
    )
    norm: float = Field(
        0.0,
        ge=0,
        description="norm-bound, row-clip: largest norm; 0: the median of the round, in audits",
    )
    trim: float = Field(
        0.1, ge=0, lt=0.5, description="trimmed-mean: share of clients cut off at either end"
    )
    attacks: str = Field("random promote replace", description="audit: attacks; empty: none")
    defences: str = Field(
        "off norm-bound row-clip median trimmed-mean krum multi-krum bulyan",
        description="audit: defences put against each attack, in order",
    )
    rounds: int = Field(20, ge=0, description="audit: rounds, attacked from the first; 0: none")


class AuditSection(Section):
    """What `fedrec audit` measures."""

    rounds: str = Field("1 5 20", description="rounds in which the server's view is attacked")
    compare: bool = Field(
        False,
        description="fedrec compare --merchants attacks what the server sees in audit.rounds",
    )
    threshold: int = Field(5, ge=2, description="contributors below which a row stays hidden")
    noise: float = Field(
        1.0,
        gt=0,
        description="noise multiplier of the noisy views of a run without privacy.mechanism; their "
        "clip is the median norm",
    )
    clients: int = Field(100, ge=2, description="clients whose interactions are guessed, at most")
    shadow_passes: int = Field(
        5, ge=1, description="interaction membership: passes of the shadow client"
    )
    shadows: int = Field(
        0, ge=0, description="membership in the final model: shadow models, 64 or more; 0: skip it"
    )
    shadow_users: int = Field(200, ge=4, description="membership in the final model: users")
    shadow_rounds: int = Field(20, ge=1, description="membership in the final model: rounds")
    shadow_noise: str = Field(
        "1 4",
        description="membership in the final model: noise multipliers that are compared with none",
    )
    bootstrap: int = Field(1000, ge=1, description="bootstrap replicates over clients")
