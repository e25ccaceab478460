"""Rules of the penalty along a graph of items (`server.graph_l2`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedrec.config_graph import SUMS_FIRST
from fedrec.config_sums import SUMMED
from fedrec.errors import ConfigError

if TYPE_CHECKING:
    from fedrec.config import Config


def check_item_graph(config: Config) -> None:
    """Refuse a graph of items where no gradient could take its penalty.

    Raises:
        ConfigError: naming the keys and what to change.
    """
    server, model, method = config.server, config.model, config.train.method
    if (server.graph == "file") != bool(config.data.item_graph):
        raise ConfigError(
            f"server.graph = {server.graph!r} and data.item_graph = {config.data.item_graph!r} do "
            "not go together: server.graph = 'file' reads the edges in data.item_graph, and "
            "'attributes' reads none"
        )
    if not server.graph_l2:
        return
    asked = f"server.graph_l2 = {server.graph_l2:g}"
    if method in SUMMED:
        raise ConfigError(
            f"{asked} is added to a gradient, and train.method = {method!r} solves without one: "
            "use train.method = 'alternating', or set server.graph_l2 = 0"
        )
    if method in SUMS_FIRST:
        raise ConfigError(
            f"{asked} is not for train.method = {method!r}, whose items are propagated along a "
            "graph as it is: set server.graph_l2 = 0"
        )
    if server.lazy_rows:
        raise ConfigError(
            f"{asked} moves every row that has a neighbour, and server.lazy_rows = true moves only "
            "those of a round's update: set one of them to its default"
        )
    if model.freeze or model.adapter_rank:
        raise ConfigError(f"{asked} moves item tables, and model.freeze and model.adapter_rank "
                          "freeze them: leave one of them out")  # fmt: skip
    if server.graph == "attributes" and not server.graph_attributes.strip():
        raise ConfigError(
            f"{asked} needs a graph, and server.graph_attributes = '' names nothing to make it "
            "of: set server.graph_attributes = 'all'"
        )
