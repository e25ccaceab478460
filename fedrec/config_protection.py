"""Rules of differential privacy and of secure aggregation: what would lose their promise."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedrec.errors import ConfigError

if TYPE_CHECKING:
    from fedrec.config import Config


def check_privacy(config: Config) -> None:
    """Refuse noise that would not give the guarantee that is accounted.

    Raises:
        ConfigError: naming the keys and what to change.
    """
    privacy, server, clients = config.privacy, config.server, config.clients
    asked = {"noise_multiplier", "epsilon", "clip", "row_clip"}
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
