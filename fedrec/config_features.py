"""What a configuration that reads attributes must satisfy, and one of items that are new."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedrec.errors import ConfigError

if TYPE_CHECKING:
    from fedrec.config import Config

ATTRIBUTE_MODELS = ("two-tower", "deepfm")
"""Models that read attributes of items and users; `model.name`."""

METHODS = ("fedavg", "fedprox", "scaffold", "alternating", "fedrecon")
"""What trains them: rows, weights and personal vectors at once or in turn."""

ANCHORED_MODELS = ("mf", "head")
"""Models whose item table the attribute net of the server can pull (`model.anchor`)."""

READING = ("nearest", "ridge", "attribute-net")
"""Strategies for new items that read attributes whatever the model; `coldstart.items`."""

_ANCHORING = (*METHODS, "pfedrec")
_OWN = ("user_attributes", "id_rows", "spread", "scales")
_READ = (*_OWN, "tower", "item_attributes", "text", "text_width", "most_values")


def check_features(config: Config) -> None:
    """Refuse keys of attributes that nothing reads, and losses that a model does not have.

    Raises:
        ConfigError: naming the keys and what to change.
    """
    model, name = config.model, f"model.name = {config.model.name!r}"
    _check_new_items(config)
    _check_anchor(config)
    if model.loss == "hinge" and model.name != "two-tower":
        raise ConfigError(
            f"model.loss = 'hinge' is for model.name = 'two-tower', not {model.name!r}: set "
            "model.loss = 'logistic'"
        )
    if model.name not in ATTRIBUTE_MODELS:
        _refuse_unread(config, _OWN if _reads(config) else _READ)
        return
    if config.data.feedback == "explicit":
        raise ConfigError(f"{name} ranks items: set data.feedback = 'implicit'")
    if config.train.method not in METHODS:
        raise ConfigError(
            f"{name} needs train.method = {' or '.join(map(repr, METHODS))}, not "
            f"{config.train.method!r}, which is made for the rows of an item table"
        )
    if model.loss not in ("logistic", "bpr", "hinge"):
        raise ConfigError(
            f"{name} needs model.loss = 'logistic', 'bpr' or 'hinge', not {model.loss!r}"
        )
    if model.name == "deepfm" and not model.id_rows:
        raise ConfigError("model.id_rows = false is for model.name = 'two-tower': an item of "
                          "DeepFM has an embedding")  # fmt: skip
    if not model.id_rows and not model.item_attributes.strip() and not config.data.item_vectors:
        raise ConfigError(
            "model.id_rows = false leaves an item its attributes, and model.item_attributes = "
            "'' names none: set model.item_attributes = 'all'"
        )
    if model.scales.strip() and (model.name != "two-tower" or model.contrast):
        raise ConfigError(
            f"model.scales = {model.scales!r} is for model.name = 'two-tower' without "
            "model.contrast, whose views it would not enter: remove one of them"
        )
    if model.contrast:
        _check_contrast(config)


def _check_contrast(config: Config) -> None:
    """Refuse views of attributes that there are not, or that a method would cut apart."""
    asked = f"model.contrast = {config.model.contrast:g}"
    if not config.model.item_attributes.strip() and not config.data.item_vectors:
        raise ConfigError(
            f"{asked} compares views of an item's attributes, and model.item_attributes = '' names "
            "none: set model.item_attributes = 'all'"
        )
    if config.train.method not in METHODS[:4]:
        raise ConfigError(
            f"{asked} compares the items of a client's sample, which train.method = "
            f"{config.train.method!r} cuts in two: set train.method = "
            f"{' or '.join(map(repr, METHODS[:4]))}"
        )


def _refuse_unread(config: Config, keys: tuple[str, ...]) -> None:
    defaults = type(config.model)()
    for key in keys:
        value = getattr(config.model, key)
        if value != getattr(defaults, key):
            raise ConfigError(
                f"model.{key} = {value!r} is for models of attributes "
                f"({', '.join(ATTRIBUTE_MODELS)}), not for model.name = {config.model.name!r}: "
                "remove it, or change model.name"
            )
    if config.data.item_vectors and not _reads(config):
        raise ConfigError(
            f"data.item_vectors = {config.data.item_vectors!r} is read by models of attributes "
            f"({', '.join(ATTRIBUTE_MODELS)}), and model.name = {config.model.name!r} is none: "
            "remove it, or change model.name"
        )


def _reads(config: Config) -> bool:
    """Return whether the server reads item attributes, whatever the model."""
    return bool(config.model.anchor) or config.coldstart.items in READING


def _check_anchor(config: Config) -> None:
    model = config.model
    if not model.anchor:
        return
    asked = f"model.anchor = {model.anchor:g}"
    if model.name not in ANCHORED_MODELS or config.train.method not in _ANCHORING:
        raise ConfigError(
            f"{asked} pulls an item table that is trained by gradients: it needs model.name = "
            f"{' or '.join(map(repr, ANCHORED_MODELS))} and train.method = "
            f"{' or '.join(map(repr, _ANCHORING))}, not {model.name!r} and {config.train.method!r}"
        )
    if model.freeze or model.adapter_rank:
        raise ConfigError(f"{asked} pulls an item table, and model.freeze and model.adapter_rank "
                          "freeze it: leave one of them out")  # fmt: skip
    if not model.item_attributes.strip() and not config.data.item_vectors:
        raise ConfigError(
            f"{asked} is a pull towards what attributes say, and model.item_attributes = '' names "
            "none: set model.item_attributes = 'all'"
        )


def _check_new_items(config: Config) -> None:
    """Refuse never to draw new items where old ones compete with them: that would leak."""
    new = config.evaluate.candidates == "new"
    if new and config.split.protocol != "cold-items":
        raise ConfigError(
            "evaluate.candidates = 'new' ranks the items that were held out entirely: it needs "
            f"split.protocol = 'cold-items', not {config.split.protocol!r}"
        )
    if new and (config.evaluate.sampled or config.data.feedback == "explicit"):
        raise ConfigError(
            "evaluate.candidates = 'new' is a list of candidates of its own: it needs "
            "evaluate.sampled = 0 and data.feedback = 'implicit'"
        )
    filled = config.coldstart.items != "off" and config.split.protocol == "cold-items"
    if config.train.negatives_from == "known" and not (new or filled):
        raise ConfigError(
            "train.negatives_from = 'known' never draws items without training interactions: "
            "ranked among others these would stand out, as in a leak. Set split.protocol = "
            "'cold-items' and evaluate.candidates = 'new' or a strategy in coldstart.items, or "
            "train.negatives_from = 'train'"
        )
