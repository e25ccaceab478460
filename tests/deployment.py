"""A deployment on the loopback interface: folders, processes of its own, and their end."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fedrec.config import from_flat
from fedrec.deploy.folders import Federation, init_federation
from fedrec.engine.flower import _signal, descendants, free_port
from tests.silo_files import NAMES, silo_values, write_merchants

PATIENCE_S = 600.0
OWN = ("run.out", "data.path", "data.merchant_column", "silo.merchants", "silo.items_hash")


class Deployment:
    """A federation whose server and nodes run on this machine."""

    def __init__(self, folder: Path, **overrides: str | int | float | bool) -> None:
        write_merchants(folder)
        given = silo_values(folder, folder / "joined")
        self.joined = from_flat(
            {**given, **{k.replace("__", "."): v for k, v in overrides.items()}}
        )
        kept = {k: v for k, v in self.joined.flat().items() if not k.startswith("silo.")}
        kept |= {"silo.most_users": 200, "silo.answer_s": self.joined.silo.answer_s}
        kept |= {"run.out": "", "data.path": "unused.csv"}
        self.port = free_port()
        plan = Federation(NAMES, from_flat(kept), folder / "items.jsonl", ("127.0.0.1",), self.port)
        self.folder = folder / "federation"
        self.fingerprint = init_federation(self.folder, plan)
        self.server = self.folder / "server"
        for name in NAMES:
            (self.merchant(name) / "rows.csv").write_bytes((folder / f"{name}.csv").read_bytes())
        self._started: list[subprocess.Popen[bytes]] = []

    def merchant(self, name: str) -> Path:
        """Return the folder of a merchant."""
        return self.folder / "merchants" / name

    def log(self, name: str) -> str:
        """Return what a process has printed."""
        path = self.folder / f"{name}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def start(self, name: str, *command: str) -> subprocess.Popen[bytes]:
        """Start a command of fedrec's; its output goes to a log of this name."""
        return self.spawn(name, [sys.executable, "-m", "fedrec", *command])

    def spawn(self, name: str, command: list[str]) -> subprocess.Popen[bytes]:
        """Start a command; its output goes to a log of this name."""
        beside = str(Path(sys.executable).parent)
        path = os.pathsep.join([beside, os.environ.get("PATH", "")])
        home = str(self.folder / "home")
        with open(self.folder / f"{name}.log", "ab") as log:
            child = subprocess.Popen(
                command,
                env={**os.environ, "PATH": path, "FLWR_HOME": home},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._started.append(child)
        return child

    def start_link(self) -> subprocess.Popen[bytes]:
        """Start the SuperLink and wait until the nodes' keys are registered."""
        before = self.log("link").count(": ready")
        child = self.start("link", "deploy", "link", str(self.server))
        wait_for(lambda: self.log("link").count(": ready") > before, lambda: self.log("link"))
        return child

    def start_node(self, name: str) -> subprocess.Popen[bytes]:
        """Start the node of a merchant."""
        return self.start(name, "deploy", "node", str(self.merchant(name)))

    def ids(self, name: str) -> list[str]:
        """Return the ids that the node of a merchant was let in with, one for each start."""
        return re.findall(r"SuperNode ID: (\d+)", self.log(name))

    def end(self) -> None:
        """End all processes and what they have started."""
        below = descendants([child.pid for child in self._started])
        for child in self._started:
            _signal(child.pid, signal.SIGTERM)
        for child in self._started:
            with suppress(subprocess.TimeoutExpired):
                child.wait(15)
        for pid in below:
            _signal(pid, signal.SIGKILL)
        for child in self._started:
            child.kill()
            child.wait()


@contextmanager
def deployed(folder: Path, **overrides: str | int | float | bool) -> Iterator[Deployment]:
    """Give a deployment, and end its processes."""
    made = Deployment(folder, **overrides)
    try:
        yield made
    finally:
        made.end()


def wait_for(ready: Callable[[], bool], told: Callable[[], str], patience: float = 0.0) -> None:
    """Wait until something is so.

    Raises:
        AssertionError: if it takes too long, with what was told.
    """
    deadline = time.monotonic() + (patience or PATIENCE_S)
    while not ready():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited in vain:\n{told()[-3000:]}")
        time.sleep(0.2)


def process_named(word: str, below: int) -> int:
    """Return the process that a process has started whose command holds a word."""
    for pid in descendants([below]):
        with suppress(OSError):
            if word in Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace"):
                return pid
    raise AssertionError(f"no process {word!r} below {below}")
