"""Messages out, replies in, without Flower's pauses."""

from __future__ import annotations

import time
from collections.abc import Iterable

from flwr.app import Message
from flwr.serverapp import Grid

SOON_S = 0.05
LATE_S = 3.0
"""Shortest and longest pause between two looks for replies, in seconds.

Flower's own `send_and_receive` looks every three seconds, in which the five stages of a
secure round among merchants wait for longer than they work.
"""
SLOWER = 1.2


def ask(grid: Grid, messages: Iterable[Message], patience: float | None) -> list[Message]:
    """Send messages and return the replies that come in time, in the order they come.

    Pauses between looks grow, so that a short answer is found soon and a long one costs few looks.

    Args:
        grid: of the run.
        messages: to nodes.
        patience: seconds to wait; None: until all have answered.
    """
    waiting = set(grid.push_messages(messages)) - {""}  # what Flower says of those it refused
    deadline = None if patience is None else time.monotonic() + patience
    replies: list[Message] = []
    pause = SOON_S
    while waiting:
        found = list(grid.pull_messages(waiting))
        replies += found
        waiting -= {reply.metadata.reply_to_message_id for reply in found}
        left = LATE_S if deadline is None else deadline - time.monotonic()
        if not waiting or left <= 0:
            break
        time.sleep(min(pause, left))
        pause = min(pause * SLOWER, LATE_S)
    return replies
