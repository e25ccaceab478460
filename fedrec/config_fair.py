"""Rules of what stands against popularity bias: weights, groups of items, floors of exposure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedrec.config_graph import SUMS_FIRST
from fedrec.config_sequence import SEQUENCE_MODELS
from fedrec.config_sums import ITEM_ITEM, SUMMED
from fedrec.errors import ConfigError

if TYPE_CHECKING:
    from fedrec.config import Config


def check_fair(config: Config) -> None:
    """Refuse weights and floors that have no effect, or follow from what nobody may know.

    Raises:
        ConfigError: naming the keys and what to change.
    """
    _check_published(config)
    _check_propensity(config)
    _check_exposure(config)


def _check_published(config: Config) -> None:
    """Refuse training counts of items where they may not be published, or nobody has summed them.

    Raises:
        ConfigError: naming the keys and what to change.
    """
    section, train = config.evaluate, config.train
    asked = f"evaluate.propensity = {section.propensity:g}" if section.propensity else ""
    asked = 'evaluate.item_group = "popularity"' if section.item_group == "popularity" else asked
    needed = f"train.propensity = {train.propensity:g}" if train.propensity else asked
    if needed and config.secure.mode != "off" and train.method not in (*ITEM_ITEM, *SUMS_FIRST):
        raise ConfigError(
            f"{needed} needs how many clients have each item, and in secure.mode = "
            f"{config.secure.mode!r} that must come out of a masked sum: only train.method = "
            f"{', '.join(map(repr, (*ITEM_ITEM, *SUMS_FIRST)))} make one that holds it. Leave it "
            f"out with train.method = {train.method!r}, or set secure.mode = 'off'"
        )
    if asked and config.privacy.mechanism != "off":
        raise ConfigError(
            f"{asked} publishes the training counts of items, and privacy.mechanism = "
            f"{config.privacy.mechanism!r} promises that nothing exact is published: leave it out"
        )


def _check_propensity(config: Config) -> None:
    """Refuse weights of interactions where they are not used, or publish what is private.

    Raises:
        ConfigError: naming the keys and what to change.
    """
    if not config.train.propensity:
        return
    key, asked = "train.propensity", f"train.propensity = {config.train.propensity:g}"
    _check_weights(config, key, asked)
    if config.privacy.mechanism != "off":
        raise ConfigError(
            f"{asked} publishes the training counts of items, and privacy.mechanism = "
            f"{config.privacy.mechanism!r} promises that nothing exact is published: set it to 0"
        )


def _check_weights(config: Config, key: str, asked: str) -> None:
    """Refuse weights of samples where none are used, or where samples are counted.

    Raises:
        ConfigError: naming the keys and what to change.
    """
    if config.train.method in (*SUMMED, "fcf"):
        raise ConfigError(
            f"{asked} weights samples, and train.method = {config.train.method!r} solves without: "
            "use train.method = 'alternating'"
        )
    if config.model.name in SEQUENCE_MODELS:
        raise ConfigError(
            f"{asked} is not for model.name = {config.model.name!r}, which learns from places of "
            f"sequences: set {key} = 0"
        )
    if config.server.weighting == "samples":
        raise ConfigError(
            f"{asked} makes weights of samples, and server.weighting = 'samples' counts them: set "
            "server.weighting = 'equal'"
        )


def _check_exposure(config: Config) -> None:
    """Refuse a floor under exposure that has no effect, or follows from what is not told.

    Raises:
        ConfigError: naming the keys and what to change.
    """
    asked = f"server.exposure = {config.server.exposure:g}"
    if not config.server.exposure:
        return
    if not config.evaluate.item_group:
        raise ConfigError(
            f"{asked} is a floor for groups of items, and evaluate.item_group names none: set it "
            'to an attribute of items, or to "popularity"'
        )
    _check_weights(config, "server.exposure", asked)
    if config.privacy.mechanism != "off":
        raise ConfigError(
            f"{asked} follows the exact exposure that clients measure, and privacy.mechanism = "
            f"{config.privacy.mechanism!r} promises that nothing exact is used: set it to 0"
        )
    if config.secure.mode != "off" and config.server.exposure_by == "interactions":
        raise ConfigError(
            f"{asked} compares exposure with how many clients have each item, which nobody may "
            f"count in secure.mode = {config.secure.mode!r}: set server.exposure_by = 'items'"
        )
