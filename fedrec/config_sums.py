"""Rules of methods that sum statistics and solve: what does not fit them, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedrec.errors import ConfigError

if TYPE_CHECKING:
    from fedrec.config import Config

ITEM_ITEM = ("ease", "item-knn")
"""Methods that solve an item-item model from one Gram matrix."""

SUMMED = (*ITEM_ITEM, "ials")
"""Methods whose clients send statistics, from which the server solves.

Each is called as the baseline that is its centralised twin."""


def check_sums(config: Config) -> None:
    """Refuse what would spoil an exact sum, or has no meaning for it.

    Raises:
        ConfigError: naming the keys and what to change.
    """
    method, model = config.train.method, config.model
    if (method in ITEM_ITEM) != (model.name == "item-item"):
        raise ConfigError(
            f"train.method = {method!r} and model.name = {model.name!r} do not go together: an "
            "item-item model is solved by train.method = 'ease' or 'item-knn', and these solve "
            "no other"
        )
    if model.recent and model.name != "item-item":
        raise ConfigError(
            f"model.recent = {model.recent} is for model.name = 'item-item', not {model.name!r}"
        )
    if method not in SUMMED:
        return
    asked = f"train.method = {method!r}"
    if config.data.feedback == "explicit":
        raise ConfigError(f"{asked} learns from who met what: set data.feedback = 'implicit'")
    check_plain_sum(config, asked)
    if config.server.schedule != "constant":
        raise ConfigError(
            f"{asked} solves, and makes no steps: server.schedule = {config.server.schedule!r} "
            "would change nothing. Set it to 'constant'"
        )
    if method in ITEM_ITEM:
        _check_gram(config, asked)
    else:
        _check_equations(config, asked)


def check_plain_sum(config: Config, asked: str) -> None:
    """Refuse what would spoil a sum from which the server solves.

    Args:
        config: the configuration.
        asked: what asks for it, as the message shall say.

    Raises:
        ConfigError: naming the keys and what to change.
    """
    server, secure = config.server, config.secure
    if server.weighting != "equal" or server.rows != "sum":
        raise ConfigError(
            f"{asked} solves from a plain sum: set server.weighting = 'equal' and "
            "server.rows = 'sum'"
        )
    if secure.mode != "off" and secure.rows != "dense":
        raise ConfigError(
            f"{asked} with secure.rows = {secure.rows!r} is not offered: all items' rows are "
            "summed, which hides who has which. Set secure.rows = 'dense'"
        )
    compress = config.compress
    if compress.rows or compress.rank or compress.bits < 32:
        raise ConfigError(
            f"{asked} solves from an exact sum, and compress.rows, compress.rank and compress.bits "
            "change it: set them to 0, 0 and 32"
        )
    if compress.download_bits < 32:
        raise ConfigError(
            f"{asked} promises the result of exact sums, and compress.download_bits = "
            f"{compress.download_bits} rounds what clients receive: set it to 32"
        )
    if config.server.fairness:
        raise ConfigError(
            f"{asked} solves from plain sums, in which all clients count alike: set "
            "server.fairness = 0"
        )
    if config.privacy.pseudo_items:
        raise ConfigError(
            f"{asked} counts, and pseudo items falsify counts: set privacy.pseudo_items = 0"
        )
    robust = config.robust
    if robust.attack != "off" or robust.defence != "off":
        raise ConfigError(
            f"{asked} is not offered with robust.attack or robust.defence: they know changes of "
            "the model, not statistics. Set both to 'off'"
        )


def _check_gram(config: Config, asked: str) -> None:
    rounds, clients = config.train.rounds, config.clients
    if rounds == 0:
        raise ConfigError(f"{asked} needs train.rounds of at least 1: nothing is solved before")
    if rounds > config.evaluate.every:
        raise ConfigError(
            f"{asked} sums a block of the matrix in each of train.rounds = {rounds} rounds, and "
            f"there is no model before the last: raise evaluate.every = {config.evaluate.every} "
            f"to {rounds}"
        )
    if rounds > 1 and clients.sampling != "all":
        raise ConfigError(
            f"{asked} with clients.sampling = {clients.sampling!r} needs train.rounds = 1: with "
            f"{rounds}, each block of the matrix would be of other clients"
        )
    if rounds > 1 and config.privacy.mechanism != "off":
        raise ConfigError(
            f"{asked} with privacy.mechanism = {config.privacy.mechanism!r} needs train.rounds = "
            f"1, not {rounds}: one release costs least"
        )
    if config.secure.mode != "off" and config.secure.clip < 1:
        raise ConfigError(
            f"{asked} sums ones, and secure.clip = {config.secure.clip:g} cuts them off: raise it. "
            "secure.bits = 2 with secure.clip = 1.5 holds 0 and 1 exactly"
        )


def _check_equations(config: Config, asked: str) -> None:
    if config.clients.sampling != "all":
        raise ConfigError(
            f"{asked} needs clients.sampling = 'all', not {config.clients.sampling!r}: an item "
            "that none of the drawn clients has met would lose its vector"
        )
    if config.privacy.mechanism != "off":
        raise ConfigError(
            f"{asked} with privacy.mechanism = {config.privacy.mechanism!r} is not offered: "
            "equations with noise have no useful solution. train.method = 'ease' takes noise once"
        )
