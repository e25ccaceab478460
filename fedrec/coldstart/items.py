"""Strategies for items that nobody has met: where their rows come from.

The server makes the rows, after training, of what it has: the trained table and the
catalogue.  So every strategy but two works for any trained model with an item table; the
two-tower model and IFedRec learn during training what to say of new items.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fedrec.coldstart import items_rows as rows
from fedrec.config import Config
from fedrec.data.interactions import Catalogue
from fedrec.errors import ConfigError, ModelError, nearest
from fedrec.models.features import Matrix
from fedrec.models.recommender import Recommender, constants
from fedrec.params import Shared
from fedrec.training.node import Setup

Fill = Callable[[Config, Catalogue, Matrix], Matrix]

_TABLE = "the trained item table and the catalogue at the server; nothing of a user is needed"


@dataclass(frozen=True)
class ItemStrategy:
    """Where the rows of new items come from.

    Attributes:
        name: as in `coldstart.items`.
        what: one line for a reader.
        privacy: what is needed where.
        fill: (config, items, trained rows [K, w]) -> rows of new items [N, w]; None: the
            model's own rows stay.
        attributes: whether devices need the attributes of a new item, too.
    """

    name: str
    what: str
    privacy: str
    fill: Fill | None
    attributes: bool = False

    def bytes_per_item(self, model: Recommender, shared: Shared) -> int:
        """Return the bytes that a device is sent for one new item."""
        sent = [shared.tables[name] for name in item_tables(model, shared)]
        if self.attributes:
            sent += list(constants(model).values())
        return sum(table[:1].nbytes for table in sent)


ITEM_STRATEGIES: dict[str, ItemStrategy] = {
    s.name: s
    for s in (
        ItemStrategy("random", "the row of a trained item, drawn at random", _TABLE,
                     rows.random_rows),
        ItemStrategy("mean", "the mean trained row", _TABLE, rows.mean_rows),
        ItemStrategy("category-mean", "the mean trained row of its category, brand, ...", _TABLE,
                     rows.category_rows),
        ItemStrategy("nearest", "the mean of the trained rows whose attributes are most alike",
                     _TABLE, rows.nearest_rows),
        ItemStrategy("ridge", "a linear map of attributes, fitted to the trained rows", _TABLE,
                     rows.ridge_rows),
        ItemStrategy("attribute-net", "a net of attributes, fitted to the trained rows after "
                     "training", _TABLE, rows.net_rows),
        ItemStrategy("content-tower", "the tower of attributes that clients have trained",
                     "item attributes on every device; the tower is trained by sums of updates, as "
                     "the table is", rows.mean_rows, attributes=True),
        ItemStrategy("ifedrec", "the server's net, which the table was pulled to in training",
                     "attributes at the server; devices are sent anchors beside the table, and the "
                     "net follows sums of updates", None),
    )
}  # fmt: skip
"""`coldstart.items` -> the strategy."""


def item_strategy(name: str) -> ItemStrategy:
    """Return a strategy by its name.

    Raises:
        ConfigError: if there is none of this name.
    """
    if name not in ITEM_STRATEGIES:
        raise ConfigError(
            f"unknown strategy for new items {name!r}.{nearest(name, ITEM_STRATEGIES)} "
            f"Known: {', '.join(ITEM_STRATEGIES)}"
        )
    return ITEM_STRATEGIES[name]


def item_tables(model: Recommender, shared: Shared) -> tuple[str, ...]:
    """Return the shared tables with a trained row for each item, in their order."""
    wanted = {r.table for r in model.row_inputs if r.entity == "item" and not r.fixed and not r.own}
    return tuple(name for name in shared.tables if name in wanted)


def with_new_items(setup: Setup, shared: Shared) -> Shared:
    """Return the parameters with the rows of new items as `coldstart.items` says.

    Args:
        setup: the prepared configuration.
        shared: as trained; not changed.

    Returns:
        The same arrays but for item tables, which are copies; `shared` itself where
        nothing is filled.

    Raises:
        ModelError: where the strategy has nothing to go by, as no item has a category.
    """
    name = setup.config.coldstart.items
    if name == "off":
        return shared
    return fill_rows(item_strategy(name), setup, shared, setup.population.catalogue)


def fill_rows(strategy: ItemStrategy, setup: Setup, shared: Shared, items: Catalogue) -> Shared:
    """Return the parameters with the rows of items that are not known.

    Args:
        strategy: where rows come from.
        setup: the model, and keys of the strategy.
        shared: tables [I, w].
        items: the I items; `known` says which rows are trained.

    Returns:
        As `with_new_items`.

    Raises:
        ModelError: as there, or if the model has no item table.
    """
    names, known = item_tables(setup.model, shared), rows.known_of(items)
    if strategy.fill is None or known.all() or (strategy.attributes and not names):
        return shared
    if not names or not known.any():
        raise ModelError(
            f"coldstart.items = {strategy.name!r} makes rows of trained ones, and there are none: "
            f"model.name = {setup.config.model.name!r} has the item tables {list(names)}, and "
            f"{int(known.sum())} items are trained"
        )
    section = setup.config.coldstart.model_copy(update={"items": strategy.name})
    config = setup.config.model_copy(update={"coldstart": section})
    if config.model.name == "item-item":
        table = shared.tables[names[0]]
        filled = {names[0]: _columns(strategy.fill, config, items, table) if table.size else table}
        return replace(shared, tables={**shared.tables, **filled})
    whole = np.concatenate([shared.tables[n] for n in names], axis=1)
    whole[~known] = strategy.fill(config, items, whole[known])
    ends = np.cumsum([shared.tables[n].shape[1] for n in names])[:-1]
    parts = dict(zip(names, np.split(whole, ends, axis=1), strict=True))
    return replace(shared, tables={**shared.tables, **parts})


def _columns(fill: Fill, config: Config, items: Catalogue, table: Matrix) -> NDArray[np.float32]:
    """Fill the columns of an item-item table: an item's column is what says who gets it."""
    known, out = rows.known_of(items), table.copy()
    out[:, ~known] = fill(config, items, np.ascontiguousarray(table[:, known].T)).T
    return out
