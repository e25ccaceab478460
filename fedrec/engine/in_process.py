"""The default engine: nodes in this process, one after the other.

Speed comes from training a node's whole cohort in one vectorised call, not from
anything here; this is a loop over nodes and nothing more.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterable
from typing import Any

from flwr.app import Context, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp

from fedrec.config import Config
from fedrec.engine._flower import (
    RUN_ID,
    empty_run,
    error_reply,
    identify_process,
    set_message_id,
)

_log = logging.getLogger(__name__)


class InProcessGrid(Grid):
    """A Flower Grid whose nodes are called directly.

    Args:
        client_app: answers the messages of every node.
        config: becomes the run-config of the nodes.
        num_nodes: number of nodes; node p hosts every num_nodes-th client from p.
    """

    def __init__(self, client_app: ClientApp, config: Config, num_nodes: int) -> None:
        identify_process()
        self._client_app = client_app
        self._run = empty_run()
        self._sent = 0
        self._replies: dict[str, Message] = {}
        self._contexts = {
            p + 1: Context(
                run_id=RUN_ID,
                node_id=p + 1,
                node_config={"partition-id": p, "num-partitions": num_nodes},
                state=RecordDict(),
                run_config=dict(config.flat()),
            )
            for p in range(num_nodes)
        }

    def set_run(self, run: Any) -> None:
        """Set the run that this grid belongs to."""
        self._run = run

    @property
    def run(self) -> Any:
        """The run that this grid belongs to."""
        return self._run

    def create_message(
        self,
        content: RecordDict,
        message_type: str,
        dst_node_id: int,
        group_id: str,
        ttl: float | None = None,
    ) -> Message:
        """Return a new message to a node."""
        return Message(content, dst_node_id, message_type, ttl=ttl, group_id=group_id)

    def get_node_ids(self) -> list[int]:
        """Return the ids of all nodes, from 1."""
        return list(self._contexts)

    def node_state(self, node_id: int) -> RecordDict:
        """Return what a node keeps; the server never sees it."""
        return self._contexts[node_id].state

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        """Deliver messages, one after the other, and keep the replies."""
        ids = []
        for message in messages:
            self._sent += 1
            set_message_id(message, str(self._sent))
            self._replies[str(self._sent)] = self._deliver(message)
            ids.append(str(self._sent))
        return ids

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        """Return the replies to messages, once."""
        return [self._replies.pop(i) for i in message_ids if i in self._replies]

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> list[Message]:
        """Deliver messages and return the replies; there is nothing to wait for."""
        return self.pull_messages(self.push_messages(messages))

    def _deliver(self, message: Message) -> Message:
        # A handler may change its message, and several messages may share a record.
        message.content = copy.deepcopy(message.content)
        try:
            return self._client_app(message, self._contexts[message.metadata.dst_node_id])
        except Exception as error:  # as every Flower engine: a failing node is a reply
            _log.debug("node %d failed", message.metadata.dst_node_id, exc_info=error)
            return error_reply(message, error)


def run_in_process(config: Config, server_app: ServerApp, client_app: ClientApp) -> None:
    """Run both apps in this process, with engine.nodes nodes.

    Args:
        config: of the run; `run.out` says where everything is written.
        server_app: drives the run.
        client_app: answers for every node.

    Raises:
        FedrecError: whatever the server app raises for its user.
    """
    grid = InProcessGrid(client_app, config, config.engine.nodes)
    context = Context(
        run_id=RUN_ID,
        node_id=0,
        node_config={},
        state=RecordDict(),
        run_config=dict(config.flat()),
    )
    server_app(grid, context)
