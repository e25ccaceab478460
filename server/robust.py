"""Robust aggregation of a run: single updates come in, one robust sum goes on.

What follows (mean update, optimiser, journal) sees a partial sum as in any other round.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from flwr.app import Message

from fedrec.config_attacks import RobustSection
from fedrec.errors import ConfigError, EngineError
from fedrec.params import Guides, PartialSum, Shared
from fedrec.robust.rules import defend
from fedrec.robust.updates import Updates, merge, nothing
from fedrec.wire_robust import SinglesReply
from server.roster import Roster
from server.sampling import Sample


@dataclass(frozen=True, eq=False)
class RobustRound:
    """What came of the single updates of a round.

    Attributes:
        total: the robust sum; None if no update came, or too few.
        skipped: why there is none, or None.
        failures: replies that were not used, one line each.
        not_finite: clients whose update was left out.
        guides: rows made for single clients, by methods that make some.
        told: more that the journal keeps.
    """

    total: PartialSum | None
    skipped: str | None
    failures: tuple[str, ...]
    not_finite: int
    guides: Guides | None = None
    told: dict[str, Any] = field(default_factory=dict)

    def line(self) -> dict[str, Any]:
        """Return what the journal keeps."""
        return {"robust": {"not_finite": self.not_finite}, **self.told}


def robust_sum(
    section: RobustSection, shared: Shared, roster: Roster, sample: Sample, replies: list[Message]
) -> RobustRound:
    """Put the single updates of all nodes together and apply the rule.

    With too few clients left for the rule the round is skipped: chance decides how many
    that are, so it is no error.

    Args:
        section: names the defence.
        shared: the parameters that the clients were sent.
        roster: which node hosts which clients.
        sample: the chosen clients.
        replies: good ones, in the order of the roster.
    """
    come = collect(shared, roster, sample, replies)
    if not len(come.updates.clients):
        return RobustRound(None, None, come.failures, come.not_finite)
    try:
        total = defend(come.updates, section.defence, section)
    except ConfigError as error:
        return RobustRound(None, str(error), come.failures, come.not_finite)
    total = replace(total, metrics=come.metrics)
    return RobustRound(total, None, come.failures, come.not_finite)


@dataclass(frozen=True, eq=False)
class Collected:
    """The single updates of a round.

    Attributes:
        updates: finite ones, of all nodes.
        metrics: name -> plain sum over clients.
        failures: replies that were not used, one line each.
        not_finite: clients whose update was left out.
    """

    updates: Updates
    metrics: dict[str, float]
    failures: tuple[str, ...]
    not_finite: int


def collect(shared: Shared, roster: Roster, sample: Sample, replies: list[Message]) -> Collected:
    """Put the single updates of all nodes together.

    A node whose reply is malformed counts as failed.

    Args:
        shared: the parameters that the clients were sent.
        roster: which node hosts which clients.
        sample: the chosen clients.
        replies: good ones, in the order of the roster.
    """
    parts, metrics, failures = [nothing(shared)], dict[str, float](), []
    for reply in replies:
        node = reply.metadata.src_node_id
        asked = np.intersect1d(roster.hosted[node], sample.training, assume_unique=True)
        if not len(asked):
            continue  # it was only to save its state
        try:
            singles = SinglesReply.unpack(reply.content, shared, asked).singles
        except EngineError as error:
            failures.append(f"node {node}: {error}")
            continue
        parts.append(singles.updates)
        _add(metrics, singles.metrics)
    updates = merge(parts)
    kept = finite(updates)
    return Collected(kept, metrics, tuple(failures), len(updates.clients) - len(kept.clients))


def finite(updates: Updates) -> Updates:
    """Return the updates that are finite: one NaN would reach every rule's result."""
    good = np.isfinite(updates.norms)
    return updates if good.all() else updates.take(np.flatnonzero(good))


def _add(metrics: dict[str, float], more: Mapping[str, float]) -> None:
    for name, value in more.items():
        metrics[name] = metrics.get(name, 0.0) + value
