"""Keys and rules of items that nobody has met (section `coldstart`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from fedrec.config_features import ATTRIBUTE_MODELS
from fedrec.config_graph import SUMS_FIRST
from fedrec.config_sections import Section
from fedrec.errors import ConfigError

if TYPE_CHECKING:
    from fedrec.config import Config

ItemStrategyName = Literal[
    "off",
    "random",
    "mean",
    "category-mean",
    "nearest",
    "ridge",
    "attribute-net",
    "content-tower",
    "ifedrec",
]


class NewItemKeys(Section):
    """What new items are scored with; the section's part about items."""

    items: ItemStrategyName = Field(
        "off",
        description="split.protocol = cold-items: where the rows of new items come from: random, "
        "mean, category-mean, nearest, ridge, attribute-net, content-tower (model.name = "
        "two-tower or deepfm) or ifedrec (model.anchor); off: the model's own",
    )
    levels: str = Field(
        "all",
        description="category-mean: categories and tags from the coarsest to the finest; a finer "
        "one falls back on the one before it; all: all, those of few values first",
    )
    level_shrink: float = Field(
        3.0,
        gt=0,
        description="category-mean: items that the coarser level counts for in a finer one",
    )
    neighbours: int = Field(
        10, ge=1, description="nearest: trained items whose rows a new item gets the mean of"
    )
    item_ridge: float = Field(
        10.0, gt=0, description="ridge: weight of the squared norm of the map of attributes"
    )
    net_steps: int = Field(
        300, ge=1, description="attribute-net: steps of Adam, each over all trained items; its "
        "layers are model.tower"
    )  # fmt: skip
    net_lr: float = Field(0.01, gt=0, description="attribute-net: its learning rate")
    boost: float = Field(
        1.0,
        ge=0,
        description="recommend --new: bonus of an item that was never shown, in standard "
        "deviations of a user's scores; 0: none",
    )
    boost_share: float = Field(
        0.1, ge=0, le=1, description="boost: places of a list that boosted items may take at most"
    )
    boost_half: float = Field(
        100.0, gt=0, description="boost: times an item was shown after which its bonus is half"
    )
    boost_budget: int = Field(
        1000, ge=0, description="boost: times an item is shown before its bonus ends; 0: no end"
    )


def check_new_items(config: Config) -> None:
    """Refuse strategies for new items where there are none, or no rows for them.

    Raises:
        ConfigError: naming the keys and what to change.
    """
    name = config.coldstart.items
    if name == "off":
        return
    asked = f"coldstart.items = {name!r}"
    if config.split.protocol != "cold-items":
        raise ConfigError(
            f"{asked} makes rows for items that were held out entirely: it needs split.protocol = "
            f"'cold-items', not {config.split.protocol!r}"
        )
    if config.train.negatives_from != "known":
        raise ConfigError(
            f"{asked} is for items that come after training, and train.negatives_from = "
            f"{config.train.negatives_from!r} draws them as negatives: set it to 'known'"
        )
    _check_model(config, asked)


def _check_model(config: Config, asked: str) -> None:
    """Refuse models that have no rows for the strategy to fill."""
    name, model, method = config.coldstart.items, config.model, config.train.method
    if name == "content-tower" and model.name not in ATTRIBUTE_MODELS:
        raise ConfigError(
            f"{asked} scores new items by the attributes that the model has learnt from: it needs "
            f"model.name = {' or '.join(map(repr, ATTRIBUTE_MODELS))}, not {model.name!r}"
        )
    if name == "ifedrec" and not model.anchor:
        raise ConfigError(
            f"{asked} takes what the server's net has learnt during training: set model.anchor "
            "above 0, or coldstart.items = 'attribute-net', which is fitted after training"
        )
    if name != "content-tower" and model.name == "two-tower" and not model.id_rows:
        raise ConfigError(
            f"{asked} fills rows of an item table, and model.id_rows = false leaves none: set "
            "coldstart.items = 'content-tower'"
        )
    if method in SUMS_FIRST:
        raise ConfigError(
            f"{asked} is not for train.method = {method!r}, whose rows follow from a graph in "
            "which new items have no edges: use train.method = 'alternating'"
        )
    if method == "item-knn" or (method == "ease" and name == "attribute-net"):
        way = "'ridge', or train.method = 'alternating'" if method == "ease" else "'off'"
        raise ConfigError(
            f"{asked} needs item vectors, and train.method = {method!r} has none: set "
            f"coldstart.items = {way}"
        )
