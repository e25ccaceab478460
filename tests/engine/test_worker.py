"""A node on a SuperLink: one process answers all its messages, and its end is the node's."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from fedrec.config import Config
from fedrec.engine import _flower, worker
from fedrec.engine.apps import app_dir, copy_app, load_client_app
from fedrec.engine.flower import _Node
from fedrec.engine.run_engine import execute
from fedrec.errors import EngineError

Make = Callable[..., Config]

TELL = """
import os
from pathlib import Path

with open(Path(__file__).with_name("answered"), "a") as file:
    file.write(f"import {os.getpid()}\\n")


def train_and_tell(message, context):
    with open(Path(__file__).with_name("answered"), "a") as file:
        file.write(f"train {os.getpid()}\\n")
    FAIL
    return train(message, context)


app = ClientApp()
app.train()(train_and_tell)
app.evaluate()(evaluate)
app.query("roster")(roster)
"""


def telling_app(directory: Path, line: str = "pass") -> Path:
    """Return an app whose node writes down which process answers, and then runs a line."""
    copy_app(directory)
    file = directory / "clients" / "app.py"
    there = repr(str(directory / "answered"))
    tell = TELL.replace("FAIL", line).replace('Path(__file__).with_name("answered")', there)
    file.write_text(file.read_text() + tell)
    return directory


def sleeper() -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])


@pytest.mark.slow
def test_one_process_answers_all_messages(tmp_path: Path, small_run: Make) -> None:
    app = telling_app(tmp_path / "app")
    execute(small_run(engine__nodes=1, train__rounds=3), engine="superlink", app=app)
    lines = (tmp_path / "app" / "answered").read_text().splitlines()
    at_node = lines[-1].split()[1]
    assert lines.count(f"train {at_node}") == 3
    assert lines.count(f"import {at_node}") == 1


@pytest.mark.slow
def test_what_a_node_raises_is_its_answer(tmp_path: Path, small_run: Make) -> None:
    app = telling_app(tmp_path / "app", "raise ValueError('no such thing')")
    with pytest.raises(EngineError, match=r"all 1 nodes failed.*no such thing"):
        execute(small_run(engine__nodes=1), engine="superlink", app=app)


def test_a_supernode_without_its_worker_is_ended() -> None:
    with sleeper() as supernode, sleeper() as process:
        node = _Node(supernode, process)
        assert not node.ended()
        process.kill()
        process.wait()
        node.ended()
        supernode.wait(10)
        assert node.ended()


def test_a_worker_ends_with_its_supernode() -> None:
    with sleeper() as supernode:
        command = [sys.executable, "-m", "fedrec.engine.worker", "--address", "127.0.0.1:1"]
        command += ["--supernode", str(supernode.pid), "--app", str(app_dir())]
        with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
            supernode.kill()
            supernode.wait()
            assert process.wait(60) == 0


class Parts:
    """Answers whether a part of a message is there."""

    def __init__(self, *there: bool) -> None:
        self.there = list(there)

    def PullObject(self, request: object) -> SimpleNamespace:  # noqa: N802
        return SimpleNamespace(object_available=self.there.pop(0))

    def close(self) -> str:
        return "closed"


def test_parts_that_never_come_are_given_up() -> None:
    node = _flower.PatientNode(Parts(True, False), stall_s=-1.0)
    assert node.close() == "closed"
    assert node.PullObject(None).object_available
    with pytest.raises(_flower.StalledMessage, match="no part of it has come"):
        node.PullObject(None)


def test_parts_that_are_late_are_waited_for() -> None:
    node = _flower.PatientNode(Parts(False, False, True), stall_s=60.0)
    assert [node.PullObject(None).object_available for _ in range(3)] == [False, False, True]


WAITS = """
import signal, sys, threading, time
from fedrec.engine import _flower
_flower.NUDGE_S = 0.1
_flower._keep_interruptible()
def other():
    time.sleep(0.5)
    signal.raise_signal(signal.SIGINT)
threading.Thread(target=other, daemon=True).start()
try:
    threading.Event().wait()
except KeyboardInterrupt:
    print("interrupted")
"""


def test_a_wait_without_end_is_interrupted_from_another_thread() -> None:
    done = subprocess.run(
        [sys.executable, "-c", WAITS], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "interrupted"


def test_a_worker_is_told_where_and_what(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple] = []
    monkeypatch.setattr(worker, "answer_tasks", lambda *given: told.append(given))
    words = ["--address", "127.0.0.1:9", "--supernode", str(os.getpid()), "--app", str(app_dir())]
    worker.main(words)
    ((address, parent, client_app),) = told
    assert (address, parent) == ("127.0.0.1:9", os.getpid())
    assert client_app is load_client_app(app_dir())


def test_flower_has_what_a_worker_needs() -> None:
    from flwr.supernode.runtime import run_clientapp

    for name in ("pull_task_input", "push_message", "push_task_output"):
        assert callable(getattr(run_clientapp, name))
    assert _flower.POLL_S < 1
