"""The only file that touches internals of Flower; a test pins what it relies on.

Outside a Flower process a `Message` cannot be made until the process has an
identity, and the abstract Grid wants a `Run`.  Both are internal to flwr 1.41.
"""

from __future__ import annotations

from typing import Any

from flwr.app import Error, Message
from flwr.common.constant import SUPERLINK_NODE_ID, ErrorCode
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity

RUN_ID = 1


def identify_process() -> None:
    """Give this process the identity of a ServerApp, so that it can make messages."""
    TaskIdentity.task_id = 1
    TaskIdentity.run_id = RUN_ID
    TaskIdentity.node_id = SUPERLINK_NODE_ID


def empty_run() -> Any:
    """Return a Run as `Grid.run` is expected to have."""
    return Run.create_empty(RUN_ID)


def set_message_id(message: Message, message_id: str) -> None:
    """Give a message the id that a SuperLink would have given it."""
    message.metadata.__dict__["_message_id"] = message_id


def error_reply(message: Message, error: BaseException) -> Message:
    """Return the reply that Flower sends when a ClientApp raises."""
    code = ErrorCode.CLIENT_APP_RAISED_EXCEPTION
    return Message(Error(code=code, reason=f"{type(error)}:<'{error}'>"), reply_to=message)
