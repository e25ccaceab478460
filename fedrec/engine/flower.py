"""Flower's own engines on this machine: its Ray simulation, or a SuperLink with SuperNodes.

Both are started the way a person would, by Flower's commands, in a Flower home
of their own and on free ports of the loopback interface, and are always ended.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fedrec import errors
from fedrec.config import Config, to_toml
from fedrec.engine.apps import FILES, PACKAGES, with_flower_config
from fedrec.errors import EngineError, FedrecError, MissingExtraError
from fedrec.storage import RunDirectory

HOST = "127.0.0.1"
SUPERNODE = (sys.executable, "-m", "fedrec.engine.supernode")
"""The command of a SuperNode, without its options."""

START_S = 90.0
"""How long a SuperLink may take to start, in seconds."""

END_S = 10.0
"""How long a process may take to end before it is killed, in seconds."""

QUIET = {
    "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "FLWR_TELEMETRY_ENABLED": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "TF_CPP_MIN_LOG_LEVEL": "3",
}
"""Environment of every child: nothing is sent out, installed or checked for."""

_RAISED = re.compile(r"^fedrec\.errors\.(\w+): (.*)$", re.MULTILINE)
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_TAIL_LINES = 25


def run_on_flower(config: Config, app: Path, *, simulation: bool) -> None:
    """Run an app directory on Flower.

    Args:
        config: of the run; engine.nodes is the number of nodes.
        app: the app directory.
        simulation: Ray simulation instead of SuperNodes.

    Raises:
        MissingExtraError: if Ray is not installed.
        FedrecError: what the server app raised for its user.
        EngineError: if Flower fails, with the end of its log.
    """
    if simulation and importlib.util.find_spec("ray") is None:
        raise MissingExtraError("ray", "ray", "The Ray engine")
    with contextlib.ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fedrec-flower-")))
        bundle = bundle_app(app, home)
        link = _SuperLink(home)
        stack.callback(link.end)
        link.start(simulation=simulation)
        if not simulation:
            for partition in range(config.engine.nodes):
                link.add_node(partition, config.engine.nodes, bundle)
        link.run(config, bundle, simulation=simulation)


def bundle_app(app: Path, home: Path) -> Path:
    """Copy what Flower needs of an app to a directory with a name that it accepts.

    Flower refuses keys that pyproject does not declare, so the copy declares the
    schema of this fedrec, whichever version the app was copied out of.
    """
    bundle = home / "fedrec-app"
    bundle.mkdir()
    for name in PACKAGES:
        shutil.copytree(app / name, bundle / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in FILES:
        if (app / name).is_file():
            shutil.copy2(app / name, bundle / name)
    declared = bundle / "pyproject.toml"
    declared.write_text(with_flower_config(declared.read_text(encoding="utf-8")), encoding="utf-8")
    return bundle


@dataclass(frozen=True, eq=False)
class _Node:
    """A SuperNode and the process that answers its messages."""

    supernode: subprocess.Popen[bytes]
    worker: subprocess.Popen[bytes]

    def ended(self) -> bool:
        """Return whether the SuperNode has ended; without its worker it is told to."""
        if self.worker.poll() is not None and self.supernode.poll() is None:
            _signal(self.supernode.pid, signal.SIGTERM)  # else it would wait for an answer
        return self.supernode.poll() is not None


class _SuperLink:
    """A SuperLink on a free port, with the processes that belong to it."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._port = free_port()
        self._log = home / "flower.log"
        self._children: list[subprocess.Popen[bytes]] = []
        self._nodes: list[_Node] = []
        bin_directory = str(Path(sys.executable).parent)
        self._environment = {
            **os.environ,
            **QUIET,
            "FLWR_HOME": str(home),
            "PATH": os.pathsep.join([bin_directory, os.environ.get("PATH", "")]),
        }

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"{HOST}:{self._port}"

    def start(self, *, simulation: bool) -> None:
        """Start it and wait until it answers.

        Raises:
            EngineError: if it does not.
        """
        command = ["flower-superlink", "--insecure", "--host", HOST, "--port", str(self._port)]
        command += ["--disable-runtime-dependency-installation"]
        child = self._spawn([*command, *(["--simulation"] if simulation else [])])
        deadline = time.monotonic() + START_S
        while not _answers(self._port):
            if child.poll() is not None or time.monotonic() > deadline:
                raise EngineError(f"Flower's SuperLink did not start:\n{self._tail()}")
            time.sleep(0.1)
        (self._home / "config.toml").write_text(
            f'[superlink]\ndefault = "local"\n\n[superlink.local]\n'
            f'address = "{self.address}"\ninsecure = true\n'
        )

    def add_node(self, partition: int, num_partitions: int, app: Path) -> None:
        """Start a SuperNode that hosts every num_partitions-th client, and its worker.

        The worker answers all its messages; without one Flower would start a process for
        each, which imports, loads and compiles everything again.
        """
        port = str(free_port())
        command = [*SUPERNODE, "--insecure", "--superlink", self.address]
        command += ["--host", HOST, "--port", port, "--isolation", "process"]
        values = f"partition-id={partition} num-partitions={num_partitions}"
        node = self._spawn([*command, "--node-config", values])
        command = [sys.executable, "-m", "fedrec.engine.worker", "--address", f"{HOST}:{port}"]
        worker = self._spawn([*command, "--supernode", str(node.pid), "--app", str(app)])
        self._nodes.append(_Node(node, worker))

    def run(self, config: Config, bundle: Path, *, simulation: bool) -> None:
        """Submit an app and wait for its end.

        Raises:
            FedrecError: what the server app raised.
            EngineError: if a process of Flower fails.
        """
        values = self._home / "run-config.toml"
        values.write_text(to_toml(config), encoding="utf-8")
        command = ["flwr", "run", str(bundle), "local", "--stream", "--run-config", str(values)]
        if simulation:
            cpus = max(1, (os.cpu_count() or 1) // config.engine.nodes)
            command += ["--federation-config", f"num-supernodes={config.engine.nodes} "
                        f"client-resources-num-cpus={cpus}"]  # fmt: skip
        child = self._spawn(command)
        while child.poll() is None:
            time.sleep(0.1)
            if self._children[0].poll() is not None:
                raise EngineError(f"Flower's SuperLink ended during the run:\n{self._tail()}")
            # A node that ends is the strategy's to survive, unless nobody is left to wait for.
            ended = [node.ended() for node in self._nodes]
            if ended and all(ended):
                raise EngineError(f"all SuperNodes ended during the run:\n{self._tail()}")
        raise_reported(plain_log(self._log))
        if child.returncode or not RunDirectory(Path(config.run.out)).system.is_file():
            raise EngineError(f"the run failed on Flower:\n{self._tail()}")

    def end(self) -> None:
        """End all processes and what they have started; kill those that do not end."""
        started = descendants([child.pid for child in self._children])
        for child in reversed(self._children):
            _signal(child.pid, signal.SIGTERM)
        deadline = time.monotonic() + END_S
        for child in self._children:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(max(0.0, deadline - time.monotonic()))
        for pid in started:  # Flower's grandchildren leave the process group on purpose
            _signal(pid, signal.SIGKILL)
        for child in self._children:
            child.kill()
            child.wait()

    def _spawn(self, command: list[str]) -> subprocess.Popen[bytes]:
        with open(self._log, "ab") as log:
            child = subprocess.Popen(
                command,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._children.append(child)
        return child

    def _tail(self) -> str:
        return log_tail(plain_log(self._log))


def plain_log(path: Path) -> str:
    """Return a log of Flower's without its colours."""
    return _COLOUR.sub("", path.read_text(encoding="utf-8", errors="replace"))


def log_tail(text: str) -> str:
    """Return the last lines of a log."""
    return "\n".join(text.splitlines()[-_TAIL_LINES:])


def raise_reported(text: str) -> None:
    """Raise the error of the server app again, as its own class, if a log names one.

    Raises:
        FedrecError: what the server app raised.
    """
    found = _RAISED.findall(text)
    if found:
        name, message = found[-1]
        kind = getattr(errors, name, FedrecError)
        raise (FedrecError if kind is MissingExtraError else kind)(message.strip())


def free_port() -> int:
    """Return a port of the loopback interface that nobody listens on."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex((HOST, port)) == 0


def descendants(pids: Sequence[int]) -> list[int]:
    """Return all processes that some processes have started, as far as the system tells."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(stat.parent.name))
    found, waiting = [], list(pids)
    while waiting:
        new = children.get(waiting.pop(), [])
        found += new
        waiting += new
    return found


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)
