"""The only file that touches internals of Flower; a test pins what it relies on.

Outside a Flower process a `Message` cannot be made until the process has an
identity, and the abstract Grid wants a `Run`.  A SuperNode starts a new process for
every message; one that stays has to ask it for tasks itself.  All this is internal
to flwr 1.41.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from types import SimpleNamespace
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
ASK_S = 0.25
"""How often a SuperNode asks its SuperLink for a message, in seconds."""
STALL_S = 60.0
"""How long it waits for the next part of a message."""
NUDGE_S = 1.0
"""How often its main thread is woken, so that it sees signals that other threads have raised."""

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


def run_supernode() -> None:
    """Run ``flower-supernode`` in this process, with its command line and shorter pauses.

    Flower's own asks the SuperLink for messages every three seconds; a round among merchants
    has many short stages.
    """
    from flwr.supernode import start_client_internal
    from flwr.supernode.cli import flower_supernode

    vars(start_client_internal)["time"] = SimpleNamespace(
        **{**vars(time), "sleep": lambda seconds: time.sleep(min(seconds, ASK_S))}
    )
    _pull_soon()
    flower_supernode()


def _pull_soon() -> None:
    """Let parts of messages that are not there yet be asked for again soon, not after a second.

    Parts follow right behind their message, so that nearly every message meets this pause.
    """
    from flwr.supercore.inflatable import inflatable_utils

    for pull in (
        inflatable_utils.pull_objects,
        inflatable_utils.pull_and_inflate_object_from_tree,
    ):
        pull.__kwdefaults__["initial_backoff"] = POLL_S


def answer_tasks(address: str, parent: int, app: ClientApp) -> None:
    """Answer the messages of a SuperNode in this process, until the SuperNode ends.

    Args:
        address: host:port of its runtime API; it was started with ``--isolation process``.
        parent: process id of the SuperNode.
        app: answers.
    """
    from flwr.proto.runtime_pb2 import AcquireTaskRequest
    from flwr.supercore.constant import TaskType

    tasks = _runtime(address, "SuperExec")
    wanted = AcquireTaskRequest(supported_task_types=[TaskType.CLIENT_APP])
    _pull_soon()
    _keep_interruptible(parent)  # last: what it interrupts must be in the loop by then
    while True:
        # This process is interrupted when the SuperNode has ended, and by a heartbeat
        # when its task has: the run is over, or the SuperLink has died.  Then others will come.
        try:
            found = tasks.AcquireTask(wanted)
            if found.token:
                _answer_task(address, found.token, app)
            else:
                time.sleep(POLL_S)
        except StalledMessage as error:
            _log.warning("a message is given up: %s", error)
        except KeyboardInterrupt:
            if not _alive(parent):
                return


def _keep_interruptible(parent: int | None = None) -> None:
    """Wake the main thread again and again while it waits for a lock.

    Flower's threads interrupt it by a signal that they raise in themselves: without a wake-up
    it is noticed only when the wait ends, which may be never.  And Flower tells once that a
    parent has ended; an interrupt that falls into a destructor is lost.

    Args:
        parent: interrupt it again and again once this process has ended; None: of none.
    """

    def nudge() -> None:
        while True:
            time.sleep(NUDGE_S)
            gone = parent is not None and not _alive(parent)
            signal.pthread_kill(main, signal.SIGINT if gone else signal.SIGUSR1)

    main = threading.get_ident()
    signal.signal(signal.SIGUSR1, lambda *_: None)
    # A shell lets what it starts in the background ignore this signal.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    threading.Thread(target=nudge, daemon=True).start()


class StalledMessage(Exception):
    """The parts of a message have stopped coming."""


class PatientNode:
    """A client of a SuperNode that does not wait for hours for parts of a message.

    A SuperNode hands a message out before it has all of its parts, and parts that were lost with
    a SuperLink never come.  Flower waits for them for two hours, in a process of its own for each
    message; here one process answers all, and the messages of the next run wait behind it.

    Args:
        node: the client; everything but `PullObject` is its own.
        stall_s: seconds without a new part after which the message is given up.
    """

    def __init__(self, node: Any, stall_s: float = STALL_S) -> None:
        self._node, self._stall_s = node, stall_s
        self._since = time.monotonic()

    def PullObject(self, request: Any) -> Any:  # noqa: N802  (Flower's name)
        """Ask for a part of a message.

        Raises:
            StalledMessage: if none has come for too long.
        """
        response = self._node.PullObject(request)
        now = time.monotonic()
        if response.object_available:
            self._since = now
        elif now - self._since > self._stall_s:
            raise StalledMessage(f"no part of it has come for {self._stall_s:.0f} s")
        return response

    def __getattr__(self, name: str) -> Any:
        return getattr(self._node, name)


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
        message, context, *_ = pull_task_input(PatientNode(node))
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
