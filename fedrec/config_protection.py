"""Keys of differential privacy; rules of it and of secure aggregation, which keep promises."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from fedrec.config_sections import Section
from fedrec.errors import ConfigError

if TYPE_CHECKING:
    from fedrec.config import Config

CUSTOMER = "customer"
OF_CUSTOMERS = ("fedavg", "fedprox", "alternating", "ease", "item-knn")
"""Methods whose merchants bound each customer's part by itself."""


class PrivacySection(Section):
    """Differential privacy of clients; with it the last round is exported, not the best."""

    mechanism: Literal["off", "central", "local", "distributed"] = Field(
        "off",
        description="who adds noise: nobody, the server to the sum, each client to its own, or "
        "each client a share inside the secure sum, for server.min_clients to make the whole",
    )
    unit: Literal["client", "customer"] = Field(
        "client",
        description="who is protected: a client, or with clients.unit = merchant a customer of a "
        "merchant, whose part is bounded before the merchant's sum leaves",
    )
    customers: int = Field(
        0,
        ge=0,
        description="unit customer: of all merchants, about; public, and the divisor of means",
    )
    merchants_each: int = Field(
        1, ge=1, description="unit customer: merchants that a person is a customer of, at most"
    )
    clip: float = Field(0.0, ge=0, description="largest L2 norm of a client's whole update")
    clip_mode: Literal["fixed", "adaptive"] = Field(
        "fixed", description="adaptive: follow a quantile of the norms, from privacy.clip on"
    )
    clip_quantile: float = Field(
        0.5, ge=0, le=1, description="adaptive: share of clients whose norm shall stay as it is"
    )
    clip_rate: float = Field(0.2, gt=0, description="adaptive: learning rate of the norm's log")
    count_noise: float = Field(
        0.0, ge=0, description="adaptive: noise on the count of clients within; 0: a 20th of them"
    )
    row_clip: float = Field(
        0.0, ge=0, description="largest L2 norm of one row of an update, before clip; 0: any"
    )
    noise_multiplier: float = Field(
        0.0, ge=0, description="standard deviation of the noise over clip; 0: see privacy.epsilon"
    )
    epsilon: float = Field(
        0.0,
        ge=0,
        description="budget: stop before a round that exceeds it; 0: none. Without "
        "noise_multiplier the noise is such that train.rounds spend it",
    )
    delta: float = Field(0.0, ge=0, lt=1, description="of the guarantee; 0: units ** -1.1")
    draws: Literal["secret", "seeded"] = Field(
        "secret", description="noise from a secret key, or from run.seed for repeatable research"
    )
    pseudo_items: int = Field(
        0, ge=0, description="rows of random items that each client adds to its own; no guarantee"
    )


def check_privacy(config: Config) -> None:
    """Refuse noise that would not give the guarantee that is accounted.

    Raises:
        ConfigError: naming the keys and what to change.
    """
    privacy, server, clients = config.privacy, config.server, config.clients
    asked = {"noise_multiplier", "epsilon", "clip", "row_clip"}
    _check_customers(config)
    if privacy.mechanism == "off":
        for key in sorted(asked):
            if getattr(privacy, key):
                raise ConfigError(
                    f"privacy.{key} has no effect with privacy.mechanism = 'off': "
                    "set it to 'central', 'distributed' or 'local'"
                )
        return
    mechanism = f"privacy.mechanism = {privacy.mechanism!r}"
    if privacy.clip == 0:
        raise ConfigError(
            f"{mechanism} needs privacy.clip above 0: noise hides a client only if its update "
            "is bounded"
        )
    if server.weighting != "equal":
        raise ConfigError(
            f"{mechanism} needs server.weighting = 'equal': the number of samples is private, "
            "and as a weight it is not bounded"
        )
    if server.rows == "touching":
        raise ConfigError(
            f"{mechanism} needs server.rows = 'sum' or 'mean', not 'touching': how many clients "
            "touch a row is private"
        )
    if server.checkpoint_every != 1:
        raise ConfigError(
            f"{mechanism} needs server.checkpoint_every = 1: every round that is spent is recorded"
        )
    if privacy.clip_mode == "adaptive" and privacy.mechanism != "central":
        raise ConfigError(
            "privacy.clip_mode = 'adaptive' needs privacy.mechanism = 'central': "
            "it is the server that follows the norms"
        )
    if privacy.mechanism == "distributed":
        _check_distributed(config)
    if privacy.mechanism != "central":
        return
    if clients.sampling == "fixed" and clients.availability < 1:
        raise ConfigError(
            "clients.sampling = 'fixed' with clients.availability below 1: the chance to be drawn "
            "depends on who is reachable. Use clients.sampling = 'poisson'"
        )
    random_size = clients.sampling == "poisson" or clients.availability < 1
    if random_size and server.min_clients > 1:
        raise ConfigError(
            f"{mechanism} needs server.min_clients = 1 where chance decides how many clients "
            "train: their number is private, so no round may be skipped for it"
        )


def _check_customers(config: Config) -> None:
    """Refuse what would not protect single customers, or not as much as is accounted.

    Raises:
        ConfigError: naming the keys and what to change.
    """
    privacy, clients = config.privacy, config.clients
    if privacy.unit != CUSTOMER:
        if privacy.customers or privacy.merchants_each != 1:
            raise ConfigError(
                "privacy.customers and privacy.merchants_each need privacy.unit = 'customer'"
            )
        return
    plain = config.compress.rows == config.compress.rank == 0 and config.compress.bits == 32
    needed = {
        "clients.unit = 'merchant': of 'user' clients each is protected by itself": (
            clients.unit == "merchant"
        ),
        "privacy.mechanism = 'central', 'local' or 'distributed'": privacy.mechanism != "off",
        "privacy.customers, about how many customers all merchants have together; it is public": (
            privacy.customers > 0
        ),
        "clients.sampling = 'all': a merchant that is drawn brings all its customers, so chance "
        "hides none of them": clients.sampling == "all",
        "privacy.clip_mode = 'fixed': a count of customers would be of other norms than the "
        "server's clients": privacy.clip_mode == "fixed",
        f"train.method = {', '.join(map(repr, OF_CUSTOMERS))}: others join what customers send": (
            config.train.method in OF_CUSTOMERS
        ),
        "train.negatives_from = 'train': what a customer is compared with would follow from the "
        "rows of the others": config.train.negatives_from == "train",
        "secure.rows = 'dense': other sums say who touches a row, or are rounded elsewhere": (
            config.secure.mode == "off" or config.secure.rows == "dense"
        ),
        "server.fairness = 0, as its factors are of whole merchants": not config.server.fairness,
        "no compression of updates (compress.rows, compress.rank, compress.bits)": plain,
        "privacy.pseudo_items = 0": privacy.pseudo_items == 0,
        "robust.attack = 'off' and robust.defence = 'off', which know whole merchants": (
            config.robust.attack == config.robust.defence == "off"
        ),
    }
    for what, met in needed.items():
        if not met:
            raise ConfigError(f"privacy.unit = 'customer' needs {what}")


def _check_distributed(config: Config) -> None:
    """Refuse noise of the clients that would be seen through, or be too little.

    Raises:
        ConfigError: naming the keys and what to change.
    """
    secure, clients, least = config.secure, config.clients, config.server.min_clients
    mechanism = "privacy.mechanism = 'distributed'"
    if secure.mode == "off":
        raise ConfigError(
            f"{mechanism} needs secure.mode = 'semi-honest' or 'malicious-server': a client's "
            "share of the noise hides its update only inside a secure sum"
        )
    if secure.rows not in ("dense", "low-rank"):
        raise ConfigError(
            f"{mechanism} needs secure.rows = 'dense' or 'low-rank', not {secure.rows!r}: which "
            "rows are summed would be published without noise"
        )
    if least < 3:
        raise ConfigError(
            f"{mechanism} needs server.min_clients of 3 or more, not {least}: so many shares make "
            "the whole noise, and a round with fewer survivors is skipped. Set it to the fewest "
            "that you expect"
        )
    if clients.sampling != "all" and least > clients.per_round:
        raise ConfigError(
            f"server.min_clients = {least} is above clients.per_round = {clients.per_round}: every "
            "round would be skipped, and cost its privacy"
        )


def check_secure(config: Config) -> None:
    """Refuse secure aggregation that cannot work, or would not hide single updates.

    Raises:
        ConfigError: naming the keys and what to change.
    """
    secure, clients = config.secure, config.clients
    if secure.mode == "off":
        return
    mode = f"secure.mode = {secure.mode!r}"
    if config.server.rows == "touching":
        raise ConfigError(
            f"{mode} needs server.rows = 'sum' or 'mean', not 'touching': how many clients touch "
            "a row stays hidden"
        )
    if config.privacy.mechanism == "local":
        raise ConfigError(
            f"{mode} with privacy.mechanism = 'local' is not offered: use 'central', whose noise "
            "the server adds to the sum"
        )
    published = {"threshold": "counts who touches a row", "union": "finds out who touches a row"}
    if secure.rows in published and config.privacy.pseudo_items:
        raise ConfigError(
            f"secure.rows = {secure.rows!r} {published[secure.rows]}, and pseudo items falsify it: "
            "set privacy.pseudo_items = 0, or secure.rows = 'dense'"
        )
    if secure.rows in published and config.privacy.mechanism != "off":
        what = "counts" if secure.rows == "threshold" else "the set of touched rows"
        raise ConfigError(
            f"secure.rows = {secure.rows!r} publishes {what} without noise, which "
            f"privacy.mechanism = {config.privacy.mechanism!r} does not account for: set "
            "secure.rows = 'dense' or 'low-rank'"
        )
    if clients.sampling != "all" and clients.per_round < 3:
        raise ConfigError(
            f"{mode} needs 3 clients a round or more, not clients.per_round = {clients.per_round}: "
            "of two, each could subtract its own update from the sum and read the other's"
        )
    if 0 < config.evaluate.clients < 3:
        raise ConfigError(
            f"{mode} sums evaluation figures of 3 clients or more, not of evaluate.clients = "
            f"{config.evaluate.clients}: set it to 0 for all, or higher"
        )
    if secure.neighbours and secure.threshold > secure.neighbours:
        raise ConfigError(
            f"secure.threshold = {secure.threshold} is above secure.neighbours = "
            f"{secure.neighbours}: no secret could be recovered. Lower the threshold or raise the "
            "neighbours"
        )
