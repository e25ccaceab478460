"""The processes of a deployment: a merchant's node, and the SuperLink with its register.

Each is one process that starts Flower's and its own, passes on what ends it, and ends with
them: whatever keeps services running starts it again.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import FrameType

from fedrec.data.agreed import AGREED, read_agreed
from fedrec.data.merchant_file import NAME, MerchantFile, read_merchant_file
from fedrec.deploy.folders import (
    CA,
    NODE_KEY,
    SERVER_CERTIFICATE,
    SERVER_KEY,
)
from fedrec.engine.deployed import (
    CONNECTION,
    ServerFile,
    answers,
    flower_environment,
    flwr_command,
    read_server_file,
    write_connection,
)
from fedrec.engine.flower import END_S, HOST, START_S, SUPERNODE, free_port
from fedrec.errors import ConfigError, EngineError
from fedrec.secure.registry import REGISTRY

Say = Callable[[str], None]
POLL_S = 0.2
AGAIN_S = 10.0
"""How long a node that has ended waits before it starts again, in seconds."""

_IN_USE = "Public key already in use"


def node_commands(file: MerchantFile, port: int) -> list[str]:
    """Return the command of a merchant's SuperNode.

    Args:
        file: of the merchant.
        port: of the node's own interface, on the loopback interface.

    Raises:
        ConfigError: if no server is named, nothing is agreed, or a path cannot be handed to
            Flower.
    """
    folder = file.folder
    if not file.superlink:
        raise ConfigError(f"{folder / NAME}: superlink is missing, the server's host:port")
    read_agreed(folder / AGREED)
    values = {"merchant-file": folder / NAME, "state-dir": folder / "state"}
    values |= {"agreed": folder / AGREED}
    if (folder / REGISTRY).exists():
        values |= {"registry": folder / REGISTRY, "identity-dir": folder}
    told = " ".join(f'{key}="{value}"' for key, value in values.items())
    if told.count('"') != 2 * len(values) or "\\" in told:
        raise ConfigError(f"{folder}: a folder with quotes or \\ in its name cannot be used")
    command = [*SUPERNODE, "--superlink", file.superlink]
    command += ["--root-certificates", str(folder / CA)]
    command += ["--auth-supernode-private-key", str(folder / NODE_KEY)]
    command += ["--host", HOST, "--port", str(port), "--isolation", "process"]
    return [*command, "--node-config", told]


def run_node(folder: Path, say: Say) -> int:
    """Run a merchant's node until it is told to end; if it ends by itself, start it again.

    A SuperNode ends when the SuperLink is not there yet, or does not know its key, or still
    takes it for the one that died a minute ago.  The node answers with the code of the fedrec
    that is installed here, not with what the server sends along.

    Args:
        folder: of the merchant.
        say: takes lines for the operator.

    Returns:
        0, once it was told to end.

    Raises:
        ConfigError: if the folder cannot be used.
    """
    file = read_merchant_file(folder / NAME)
    node_commands(file, 0)  # what cannot work is told before anything is started
    os.umask(0o077)
    (folder / "state").mkdir(exist_ok=True)
    with _Processes(folder / "flower") as processes:
        while not processes.told:
            port = free_port()
            say(f"node of {file.merchant!r}, server {file.superlink}")
            node = processes.start(node_commands(file, port))
            worker = [sys.executable, "-m", "fedrec.engine.worker", "--address", f"{HOST}:{port}"]
            processes.start([*worker, "--supernode", str(node.pid)])
            if processes.wait(say):
                processes.end()
                say(f"starting again in {AGAIN_S:g} s")
                processes.pause(AGAIN_S)
    return 0


def run_link(folder: Path, say: Say) -> int:
    """Run the SuperLink until it ends or is told to, and let the merchants' nodes in.

    Args:
        folder: of the server.
        say: takes lines for the operator.

    Returns:
        0 if it was told to end, else 1.

    Raises:
        ConfigError: if the folder cannot be used.
        EngineError: if it does not start, or a node cannot be registered.
    """
    server = read_server_file(folder)
    folder = server.folder
    if answers(server.port):
        raise EngineError(
            f"port {server.port} is taken: end what listens there, or change it in server.toml "
            "and in every merchant's node.toml"
        )
    os.umask(0o077)
    home = folder / "flower"
    command = [sys.executable, "-m", "fedrec.engine.link", "--host", server.host]
    command += ["--port", str(server.port), "--enable-supernode-auth"]
    command += ["--ssl-ca-certfile", str(folder / CA)]
    command += ["--ssl-certfile", str(folder / SERVER_CERTIFICATE)]
    command += ["--ssl-keyfile", str(folder / SERVER_KEY)]
    command += ["--database", str(home / "state.db"), "--disable-runtime-dependency-installation"]
    with _Processes(home) as processes:
        link = processes.start(command)
        deadline = time.monotonic() + START_S
        while not answers(server.port):
            if link.poll() is not None or time.monotonic() > deadline:
                raise EngineError(f"the SuperLink did not start on port {server.port}")
            if processes.told:
                return 0
            time.sleep(POLL_S)
        register_nodes(server, say)
        say(f"SuperLink on port {server.port}: ready")
        return processes.wait(say)


def register_nodes(server: ServerFile, say: Say) -> None:
    """Register the public keys in a server's folder nodes/ with its SuperLink.

    Raises:
        EngineError: if one is refused; keys that are registered already are not.
    """
    with tempfile.TemporaryDirectory(prefix="fedrec-register-") as place:
        write_connection(Path(place), server)
        for path in sorted((server.folder / "nodes").glob("*.pub")):
            words = ["supernode", "register", str(path), CONNECTION, "--name", path.stem]
            done = flwr_command(words, Path(place))
            told = " ".join((done.stdout + done.stderr).split())
            if done.returncode == 0 and "registered successfully" in told:
                say(f"registered the node of {path.stem!r}")
            elif _IN_USE.lower() not in told.lower():
                raise EngineError(f"the node of {path.stem!r} cannot be registered: {told}")


class _Processes:
    """Children that end together, and with this process.

    Args:
        home: Flower's home directory for them.
    """

    def __init__(self, home: Path) -> None:
        home.mkdir(parents=True, exist_ok=True)
        self._environment = flower_environment(home)
        self._children: list[subprocess.Popen[bytes]] = []
        self._before: dict[signal.Signals, object] = {}
        self.told = False

    def __enter__(self) -> _Processes:
        for number in (signal.SIGTERM, signal.SIGINT):
            self._before[number] = signal.signal(number, self._tell)
        return self

    def __exit__(self, *_: object) -> None:
        self.end()
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def start(self, command: list[str]) -> subprocess.Popen[bytes]:
        """Start a child in a session of its own; its output is this process's."""
        child = subprocess.Popen(
            command,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._children.append(child)
        return child

    def wait(self, say: Say) -> int:
        """Wait until one child ends, or this process is told to end."""
        while not self.told:
            for child in self._children:
                if child.poll() is not None:
                    name = Path(str(child.args[0])).name  # type: ignore[index]
                    say(f"{name} (process {child.pid}) ended with {child.returncode}")
                    return 1
            time.sleep(POLL_S)
        return 0

    def pause(self, seconds: float) -> None:
        """Wait, but not longer than until this process is told to end."""
        deadline = time.monotonic() + seconds
        while not self.told and time.monotonic() < deadline:
            time.sleep(POLL_S)

    def _tell(self, number: int, frame: FrameType | None) -> None:
        self.told = True

    def end(self) -> None:
        """End all children; those that do not listen are killed."""
        for child in reversed(self._children):
            _signal_group(child.pid, signal.SIGTERM)
        deadline = time.monotonic() + END_S
        for child in self._children:
            with suppress(subprocess.TimeoutExpired):
                child.wait(max(0.0, deadline - time.monotonic()))
        for child in self._children:
            _signal_group(child.pid, signal.SIGKILL)
            child.wait()
        self._children.clear()


def _signal_group(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)
