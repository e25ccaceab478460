"""Aggregation by a graph of users: single updates come in, a sum and guides go on."""

from __future__ import annotations

from dataclasses import replace

from flwr.app import Message

from fedrec.config import Config
from fedrec.config_attacks import NEEDS_SINGLE
from fedrec.config_personal import GRAPHS
from fedrec.params import Shared
from fedrec.robust.updates import as_partial_sum
from fedrec.training.user_graph import guides_of, neighbours, similarities
from server.robust import RobustRound, collect, robust_sum
from server.roster import Roster
from server.sampling import Sample


def needs_single(config: Config) -> bool:
    """Whether the server must see every client's own update."""
    return config.robust.defence in NEEDS_SINGLE or config.train.method in GRAPHS


def single_sum(
    config: Config, shared: Shared, roster: Roster, sample: Sample, replies: list[Message]
) -> RobustRound:
    """Return what a rule makes of the single updates of a round: a graph, or a defence.

    Args:
        config: names the method and the defence.
        shared: the parameters that the clients were sent.
        roster: which node hosts which clients.
        sample: the chosen clients.
        replies: good ones, in the order of the roster.
    """
    if config.train.method in GRAPHS:
        return graph_sum(config.train.neighbour_factor, shared, roster, sample, replies)
    return robust_sum(config.robust, shared, roster, sample, replies)


def graph_sum(
    factor: float, shared: Shared, roster: Roster, sample: Sample, replies: list[Message]
) -> RobustRound:
    """Join clients with their neighbours, and sum the means of all neighbourhoods.

    The new table is the mean of the clients' neighbour means (GPFedRec, Zhang et al.,
    KDD 2024), so a client counts for as much as it is a neighbour: these are weights that
    sum to the number of clients.  A client that did not train keeps its guides.

    Args:
        factor: of the mean similarity, above which clients are neighbours.
        shared: the parameters that the clients were sent.
        roster: which node hosts which clients.
        sample: the chosen clients.
        replies: good ones, in the order of the roster.
    """
    come = collect(shared, roster, sample, replies)
    if not len(come.updates.clients):
        return RobustRound(None, None, come.failures, come.not_finite)
    joined = neighbours(similarities(come.updates, shared), factor)
    guides = guides_of(come.updates, shared, joined)
    if shared.guides is not None:
        guides = shared.guides.updated(guides)
    each = 1 / joined.sum(1)  # what a client gives to each of its neighbours
    weighed = replace(come.updates, weight=each @ joined)
    total = replace(as_partial_sum(weighed), metrics=come.metrics)
    told = {"neighbours": float(joined.sum(1).mean())}
    if shared.guides is not None:  # each client was sent its own rows, beside the tables
        sent = shared.guides.take(sample.training).num_bytes
        told["bytes_down"] = float(shared.num_bytes * len(sample.training) + sent)
    return RobustRound(total, None, come.failures, come.not_finite, guides, told)
