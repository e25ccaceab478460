"""Who is there: which node hosts which clients."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace

import numpy as np
from flwr.app import Message
from flwr.serverapp import Grid
from numpy.typing import NDArray

from fedrec.errors import EngineError
from fedrec.wire import ROSTER, RosterReply, RosterRequest
from server.ask import ask

FIRST_S = 240.0
"""How long the server waits for its nodes at the start, in seconds.

On a busy machine a process takes a minute to load TensorFlow alone.
"""

PATIENCE_S = 60.0
"""How long it waits for an answer of nodes that come later, in seconds."""

POLL_S = 0.2
WAIT_S = 1.0
"""How often the server looks whether missing merchants are back, in seconds."""


_RAISED = re.compile(r"<class '[^']*'>:<'(.*)'>", re.DOTALL)
"""How Flower writes down an exception of a ClientApp."""


@dataclass(frozen=True, eq=False)
class Roster:
    """The connected nodes.

    Attributes:
        hosted: node id -> int64 clients, ascending; ordered by first client, so that
            sums are folded in the same order whatever the node ids are.
        failures: reasons of nodes that did not answer.
    """

    hosted: dict[int, NDArray[np.int64]]
    failures: tuple[str, ...] = field(default=())

    @property
    def clients(self) -> NDArray[np.int64]:
        """All hosted clients, int64, ascending."""
        every = list(self.hosted.values())
        return np.sort(np.concatenate(every)) if every else np.zeros(0, np.int64)

    def good(self, replies: Iterable[Message]) -> list[Message]:
        """Return replies without error, in the order of the roster."""
        order = {node: place for place, node in enumerate(self.hosted)}
        good = [reply for reply in replies if not reply.has_error()]
        return sorted(good, key=lambda reply: order[reply.metadata.src_node_id])

    def without(self, nodes: Collection[int]) -> Roster:
        """Return the roster without some nodes: they have to answer anew to be in it."""
        hosted = {node: clients for node, clients in self.hosted.items() if node not in nodes}
        return replace(self, hosted=hosted)

    def digest(self) -> str:
        """Return a hash of how clients are spread, whatever the node ids."""
        content = b"|".join(clients.tobytes() for clients in self.hosted.values())
        return hashlib.sha256(content).hexdigest()[:16]


def call_roll(grid: Grid, num_clients: int, min_nodes: int, patience: float = FIRST_S) -> Roster:
    """Wait for the nodes and ask each for its clients.

    Returns as soon as all clients are hosted by at least `min_nodes` nodes, or with
    the nodes that are there when patience ends or the others refuse.

    Args:
        grid: of the run.
        num_clients: number of clients of the data set.
        min_nodes: fewer nodes are an error.
        patience: seconds to wait.

    Raises:
        EngineError: if too few nodes came, or two nodes host the same client.
    """
    deadline = time.monotonic() + patience
    roster = Roster({})
    while True:
        roster = update_roster(grid, roster, num_clients, max(patience, PATIENCE_S))
        ready = len(roster.hosted) >= min_nodes
        if ready and len(roster.clients) == num_clients:
            return roster
        refused = bool(roster.failures) and len(roster.hosted) + len(roster.failures) >= min_nodes
        if refused or time.monotonic() > deadline:
            break  # nodes that answered with an error will not change their mind by waiting
        time.sleep(POLL_S)
    if not ready:
        reason = f" First failure: {roster.failures[0]}" if roster.failures else ""
        raise EngineError(
            f"{len(roster.hosted)} of at least {min_nodes} nodes are ready: "
            f"start more nodes, or lower server.min_nodes and engine.nodes.{reason}"
        )
    return roster


def await_clients(
    grid: Grid, known: Roster, num_clients: int, needed: int, patience: float
) -> Roster:
    """Return the roster once so many clients are there, or as it is when patience ends.

    Args:
        grid: of the run.
        known: the roster so far.
        num_clients: number of clients of the data set.
        needed: clients to wait for.
        patience: seconds to wait; 0: do not wait.

    Raises:
        EngineError: as `update_roster`.
    """
    deadline = time.monotonic() + patience
    roster = update_roster(grid, known, num_clients)
    while len(roster.clients) < needed and time.monotonic() < deadline:
        time.sleep(WAIT_S)
        roster = update_roster(grid, roster, num_clients)
    return roster


def update_roster(
    grid: Grid, known: Roster, num_clients: int, patience: float = PATIENCE_S
) -> Roster:
    """Return the roster after nodes came or went; only new nodes are asked.

    Args:
        grid: of the run.
        known: the roster so far.
        num_clients: number of clients of the data set.
        patience: seconds to wait for their answers.

    Raises:
        EngineError: if two nodes host the same client, or one hosts an unknown client.
    """
    present = set(grid.get_node_ids())
    if present == set(known.hosted):
        return known
    strangers = sorted(present - set(known.hosted))
    questions = [Message(RosterRequest().pack(), node, ROSTER) for node in strangers]
    replies = ask(grid, questions, patience)
    hosted = {node: clients for node, clients in known.hosted.items() if node in present}
    failures = []
    for reply in replies:
        if reply.has_error():
            failures.append(failure_reason(reply))
        else:
            hosted[reply.metadata.src_node_id] = RosterReply.unpack(reply.content).clients
    _check_hosting(hosted.values(), num_clients)
    ordered = sorted(hosted.items(), key=lambda item: int(item[1][0]))
    return Roster(dict(ordered), tuple(failures))


def _check_hosting(hosted: Iterable[NDArray[np.int64]], num_clients: int) -> None:
    counts = np.zeros(num_clients, np.int64)
    for clients in hosted:
        if len(clients) == 0 or clients[-1] >= num_clients:
            raise EngineError(
                f"a node hosts clients that the server does not know ({num_clients} in all): "
                "all nodes must use the same data and configuration"
            )
        counts[clients] += 1
    if counts.max(initial=0) > 1:
        raise EngineError(
            f"client {int(np.argmax(counts > 1))} is hosted by two nodes: give every node another "
            "partition-id, and all the same num-partitions, in --node-config"
        )


def failure_reason(reply: Message) -> str:
    """Return why a node failed, in one line."""
    reason = (reply.error.reason or f"error code {reply.error.code}").strip()
    raised = _RAISED.fullmatch(reason)
    text = raised.group(1) if raised else reason
    return f"node {reply.metadata.src_node_id}: {' '.join(text.split())}"


def failures_of(messages: Iterable[Message], replies: Iterable[Message]) -> tuple[str, ...]:
    """Return the reasons of nodes that were sent a message and gave no good reply."""
    by_node = {reply.metadata.src_node_id: reply for reply in replies}
    failures = []
    for message in messages:
        node = message.metadata.dst_node_id
        reply = by_node.get(node)
        if reply is None:
            failures.append(f"node {node}: no reply")
        elif reply.has_error():
            failures.append(failure_reason(reply))
    return tuple(failures)
