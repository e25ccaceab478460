"""The only file that touches internals of Flower; a test pins what it relies on.

Outside a Flower process a `Message` cannot be made until the process has an
identity, and the abstract Grid wants a `Run`.  A SuperNode starts a new process for
every message; one that stays has to ask it for tasks itself.  All this is internal
to flwr 1.41.
"""

from __future__ import annotations

import logging
import os
import time
from typing import TYPE_CHECKING, Any

from flwr.app import Context, Error, Message
from flwr.common.constant import SUPERLINK_NODE_ID, ErrorCode, SubStatus
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity

if TYPE_CHECKING:
    from flwr.clientapp import ClientApp

RUN_ID = 1
POLL_S = 0.05
"""How often a process that stays asks its SuperNode for a task, in seconds."""

_log = logging.getLogger(__name__)


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


def run_superlink(guard: Any) -> None:
    """Run ``flower-superlink`` in this process, behind a middleware, with its command line.

    Args:
        guard: ASGI middleware class, outermost.
    """
    from flwr.superlink import extensions
    from flwr.superlink.cli import flower_superlink
    from starlette.middleware import Middleware

    others = extensions.get_middleware()
    extensions.get_middleware = lambda: (Middleware(guard), *others)
    flower_superlink()


def answer_tasks(address: str, parent: int, app: ClientApp) -> None:
    """Answer the messages of a SuperNode in this process, until the SuperNode ends.

    Args:
        address: host:port of its runtime API; it was started with ``--isolation process``.
        parent: process id of the SuperNode.
        app: answers.
    """
    from flwr.proto.runtime_pb2 import AcquireTaskRequest
    from flwr.supercore.app_utils import start_parent_process_monitor
    from flwr.supercore.constant import TaskType

    start_parent_process_monitor(parent)
    tasks = _runtime(address, "SuperExec")
    wanted = AcquireTaskRequest(supported_task_types=[TaskType.CLIENT_APP])
    while True:
        # The monitor interrupts this process when the SuperNode has ended, and a heartbeat does
        # when its task has: the run is over, or the SuperLink has died.  Then others will come.
        try:
            found = tasks.AcquireTask(wanted)
            if found.token:
                _answer_task(address, found.token, app)
            else:
                time.sleep(POLL_S)
        except KeyboardInterrupt:
            if not _alive(parent):
                return


def _alive(pid: int) -> bool:
    """Return whether a process is there."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _answer_task(address: str, token: str, app: ClientApp) -> None:
    """Do for one message what a process of ``flwr-clientapp`` does, and stay."""
    from flwr.supercore.heartbeat import HeartbeatSender, make_task_heartbeat_fn_http
    from flwr.supernode.runtime.run_clientapp import (
        pull_task_input,
        push_message,
        push_task_output,
    )

    node = _runtime(address, "flwr-clientapp", token)
    heartbeat = HeartbeatSender(make_task_heartbeat_fn_http(node))
    heartbeat.start()
    context: Context | None = None
    status, details = SubStatus.FAILED, "the task could not be fetched"
    try:
        message, context, *_ = pull_task_input(node)
        try:
            reply, status, details = app(message, context), SubStatus.COMPLETED, ""
        except Exception as error:  # as every Flower engine: a failing node is a reply
            _log.exception("ClientApp raised an exception")
            reply, details = error_reply(message, error), str(error)
        push_message(node, reply, context)
    finally:
        push_task_output(node, context, status, details)
        heartbeat.stop()
        node.close()


def _runtime(address: str, component: str, token: str = "") -> Any:
    from flwr.supercore.interceptors import (
        RuntimeTokenHttpInterceptor,
        RuntimeVersionHttpInterceptor,
    )
    from flwr.supercore.retry import make_simple_http_retry_invoker
    from flwr.supercore.runtime import RuntimeHttpClient

    interceptors: list[Any] = [RuntimeVersionHttpInterceptor(component_name=component)]
    if token:
        interceptors.append(RuntimeTokenHttpInterceptor(token))
    return RuntimeHttpClient.from_server_address(
        server_address=address,
        insecure=True,
        root_certificates=None,
        interceptors=interceptors,
        retry_invoker=make_simple_http_retry_invoker(),
    )
