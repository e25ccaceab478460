"""What a configuration of a sequence model must satisfy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedrec.errors import ConfigError

if TYPE_CHECKING:
    from fedrec.config import Config

SEQUENCE_MODELS = ("gru4rec", "sasrec", "nextitnet")
"""Models whose state of a user is its history; `model.name`."""


def check_sequence(config: Config) -> None:
    """Refuse what sequence models do not learn from, and their loss for other models.

    Raises:
        ConfigError: naming the keys and what to change.
    """
    model, name = config.model, f"model.name = {config.model.name!r}"
    if model.name not in SEQUENCE_MODELS:
        if model.loss == "softmax":
            raise ConfigError(
                f"model.loss = 'softmax' is for sequence models ({', '.join(SEQUENCE_MODELS)}), "
                f"not for {name}: set model.loss = 'logistic'"
            )
        if model.contrast and model.name != "two-tower":  # see fedrec.config_features
            raise ConfigError(
                f"model.contrast = {model.contrast:g} compares views of a sequence or of an item's "
                f"attributes: it is for sequence models ({', '.join(SEQUENCE_MODELS)}) and "
                f"two-tower, not for {name}. Set it to 0"
            )
        return
    if config.data.feedback == "explicit":
        raise ConfigError(
            f"{name} predicts the next item, not its rating: set data.feedback = 'implicit'"
        )
    if model.loss == "squared":
        raise ConfigError(
            f"{name} ranks items: set model.loss = 'softmax', 'logistic' or 'bpr', not 'squared'"
        )
    if config.train.method not in ("fedavg", "fedprox", "scaffold"):
        raise ConfigError(
            f"{name} has no personal parameters and needs train.method = 'fedavg' or 'fedprox', "
            f"not {config.train.method!r}"
        )
    if model.name == "sasrec" and model.dim % model.heads:
        raise ConfigError(
            f"model.dim = {model.dim} is not a multiple of model.heads = {model.heads}: each head "
            "takes an equal part"
        )
