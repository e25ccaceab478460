"""Messages to nodes and their answers: who failed, who is silent, and what it weighed."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from flwr.app import Message
from flwr.serverapp import Grid

from fedrec.errors import EngineError
from server.ask import ask
from server.journal import Line
from server.roster import failures_of
from server.traffic import Traffic


class Exchange:
    """Asks nodes, and keeps what the line of a round tells of it.

    Args:
        patience: seconds that answers to one message are waited for; None: as long as it
            takes.
    """

    def __init__(self, patience: float | None) -> None:
        self._patience = patience
        self._traffic = Traffic()
        self._failures: tuple[str, ...] = ()
        self._silent: set[int] = set()

    def begin_round(self) -> frozenset[int]:
        """Ask everybody again; return who was silent in the last round."""
        silent, self._silent = frozenset(self._silent), set()
        return silent

    def send(
        self, grid: Grid, nodes: Collection[int], messages: Iterable[Message]
    ) -> list[Message]:
        """Send messages and return the replies; failures are noted.

        A node that has not answered in time is not asked again in this round, so that it is
        waited for once.

        Args:
            grid: of the run.
            nodes: all that are there.
            messages: at most one for each node.

        Raises:
            EngineError: if all nodes failed.
        """
        messages = [m for m in messages if m.metadata.dst_node_id not in self._silent]
        if not messages:
            return []
        replies = ask(grid, messages, self._patience)
        self._traffic.count(messages, replies)
        failures = failures_of(messages, replies)
        asked = {message.metadata.dst_node_id for message in messages}
        self._silent |= asked - {reply.metadata.src_node_id for reply in replies}
        nobody_else = asked | self._silent >= set(nodes)
        if len(failures) == len(messages) and nobody_else:
            raise EngineError(f"all {len(messages)} nodes failed. First, {failures[0]}")
        self.note(failures)
        return replies

    def note(self, failures: Iterable[str]) -> None:
        """Add failures that the answers themselves do not show."""
        self._failures += tuple(failures)

    def line(self) -> Line:
        """Return the fields of a line of the journal, and begin to count the next round."""
        line: Line = {"failed_nodes": list(self._failures), **self._traffic.line()}
        self._failures = ()
        return line
