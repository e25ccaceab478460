"""Rules of SCAFFOLD: clients keep control variates, and send their change with every update."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedrec.config_attacks import NEEDS_SINGLE
from fedrec.errors import ConfigError

if TYPE_CHECKING:
    from fedrec.config import Config

_ASKED = "train.method = 'scaffold'"


def check_control(config: Config) -> None:
    """Refuse what control variates do not go with.

    Raises:
        ConfigError: naming the keys and what to change.
    """
    if config.train.method != "scaffold":
        return
    if config.clients.unit == "user":
        raise ConfigError(
            f"{_ASKED} keeps a gradient of the whole item table at each client: it is for clients "
            "that host many users. Set clients.unit = 'merchant', or use train.method = 'fedavg'"
        )
    if config.train.optimizer != "sgd":
        raise ConfigError(
            f"{_ASKED} makes its estimate of a gradient from steps of plain SGD: set "
            f"train.optimizer = 'sgd', not {config.train.optimizer!r}"
        )
    _check_rows(config)
    _check_robust(config)


def _check_rows(config: Config) -> None:
    """Refuse updates of fewer rows or elements, as every row moves by c."""
    secure, compress, privacy = config.secure, config.compress, config.privacy
    smaller = {
        f"secure.rows = {secure.rows!r}": secure.mode != "off" and secure.rows != "dense",
        f"compress.rows = {compress.rows}": compress.rows > 0,
        f"compress.rank = {compress.rank}": compress.rank > 0,
        f"compress.bits = {compress.bits}": compress.bits < 32,
        f"privacy.pseudo_items = {privacy.pseudo_items}": privacy.pseudo_items > 0,
        f"privacy.row_clip = {privacy.row_clip:g}": privacy.row_clip > 0,
        f"robust.defence = {config.robust.defence!r}": config.robust.defence == "row-clip",
    }
    for what, asked in smaller.items():
        if asked:
            raise ConfigError(
                f"{_ASKED} moves every row of an update, and {what} changes single rows, so that "
                "control variates would no longer belong to them: leave it out, or use "
                "train.method = 'fedavg'"
            )
    if config.model.anchor:
        raise ConfigError(
            f"{_ASKED} is not offered with model.anchor, whose net follows the rows that clients "
            "have met, and here all move: set model.anchor = 0"
        )
    if config.train.personal_store == "disk":
        raise ConfigError(
            f"{_ASKED} keeps control variates in memory: set train.personal_store = 'memory' or "
            "'auto'"
        )


def _check_robust(config: Config) -> None:
    """Refuse what would make c another thing than the mean of the clients' control variates."""
    robust = config.robust
    if robust.defence in NEEDS_SINGLE:
        raise ConfigError(
            f"{_ASKED} needs the mean of what clients send, and robust.defence = "
            f"{robust.defence!r} takes another: use robust.defence = 'norm-bound', or "
            "train.method = 'fedavg'"
        )
    if robust.attack != "off":
        raise ConfigError(
            f"robust.attack = {robust.attack!r} forges updates without control variates, which "
            f"{_ASKED} would trust: use train.method = 'fedavg'"
        )
    if config.server.fairness:
        raise ConfigError(
            f"{_ASKED} needs plain means, and server.fairness = {config.server.fairness:g} "
            "shortens updates: set server.fairness = 0"
        )
    if config.contribution.groups:
        raise ConfigError(
            f"{_ASKED} is not offered with contribution.groups, whose models of some clients "
            "would need a c of these alone: leave it out"
        )
