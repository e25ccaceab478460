"""Bytes between the server and its nodes, as the messages of a round carry them."""

from __future__ import annotations

from collections.abc import Iterable

from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord

from server.journal import Line


def content_bytes(messages: Iterable[Message]) -> int:
    """Return the bytes of what messages carry; errors carry nothing."""
    contents = [message.content for message in messages if message.has_content()]
    return sum(_size(record) for content in contents for record in content.values())


def _size(record: ArrayRecord | MetricRecord | ConfigRecord) -> int:
    if isinstance(record, ConfigRecord):  # Flower cannot count empty lists, text and bytes
        record = ConfigRecord({n: v for n, v in record.items() if v not in ([], "", b"")})
    return record.count_bytes()


class Traffic:
    """Counts the messages of a round.

    A node stands for many clients: it gets the shared parameters once, and answers with
    one sum, whose tables hold the touched rows alone.
    """

    def __init__(self) -> None:
        self._down = self._up = 0

    def count(self, messages: Iterable[Message], replies: Iterable[Message]) -> None:
        """Add what was sent to nodes, and what they answered."""
        self._down += content_bytes(messages)
        self._up += content_bytes(replies)

    def line(self) -> Line:
        """Return the fields of a line of the journal, and begin the next round."""
        line = {"node_bytes_down": self._down, "node_bytes_up": self._up}
        self._down = self._up = 0
        return line
