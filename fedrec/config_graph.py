"""Rules of graph models, whose server sums the graph first and then propagates along it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedrec.config_sums import check_plain_sum
from fedrec.errors import ConfigError

if TYPE_CHECKING:
    from fedrec.config import Config

GRAPH_MODELS = ("lightgcn",)
"""Models whose items are propagated along the graph of users and items."""

SUMS_FIRST = ("lightgcn",)
"""Methods whose clients send statistics in the first rounds, and gradients after them."""


def check_graph(config: Config) -> None:
    """Refuse what would leave a graph model without its graph, or spoil it.

    Raises:
        ConfigError: naming the keys and what to change.
    """
    model, method = config.model, config.train.method
    if (model.name in GRAPH_MODELS) != (method in SUMS_FIRST):
        raise ConfigError(
            f"model.name = {model.name!r} and train.method = {method!r} do not go together: "
            "model.name = 'lightgcn' needs train.method = 'lightgcn', which trains no other"
        )
    if method not in SUMS_FIRST:
        return
    asked = f"train.method = {method!r}"
    check_plain_sum(config, asked)
    if config.data.feedback == "explicit":
        raise ConfigError(f"{asked} learns from who met what: set data.feedback = 'implicit'")
    if model.loss != "bpr":
        raise ConfigError(f"{asked} needs model.loss = 'bpr', not {model.loss!r}")
    if config.train.reduction != "sum":
        raise ConfigError(
            f"{asked} sends the gradient of a sum: set train.reduction = 'sum', not "
            f"{config.train.reduction!r}"
        )
    if model.pretrained or model.freeze or model.adapter_rank:
        raise ConfigError(
            f"{asked} propagates a base table that stays at the server, which no earlier run has "
            "left: leave out model.pretrained, model.freeze and model.adapter_rank"
        )
    _check_clients(config, asked)


def _check_clients(config: Config, asked: str) -> None:
    clients, rounds = config.clients, config.train.graph_rounds
    if clients.unit != "user":
        raise ConfigError(
            f"{asked} is for clients.unit = 'user', not {clients.unit!r}: a client's sub-graph is "
            "that of one user"
        )
    if clients.sampling != "all":
        raise ConfigError(
            f"{asked} needs clients.sampling = 'all', not {clients.sampling!r}: the graph would be "
            "that of the clients drawn in its rounds alone"
        )
    if config.train.rounds <= rounds:
        raise ConfigError(
            f"{asked} sums the graph in the first train.graph_rounds = {rounds} rounds and trains "
            f"after them: set train.rounds above that, not to {config.train.rounds}"
        )
    if rounds > config.evaluate.every:
        raise ConfigError(
            f"{asked} has no graph before round train.graph_rounds = {rounds}: raise "
            f"evaluate.every = {config.evaluate.every} to {rounds} or more"
        )
    if config.privacy.mechanism != "off":
        raise ConfigError(
            f"{asked} with privacy.mechanism = {config.privacy.mechanism!r} is not offered: one "
            "privacy.clip cannot bound both a share of the graph and a gradient, and noise on "
            "every pair of items outweighs the graph. train.method = 'ease' takes noise once"
        )
