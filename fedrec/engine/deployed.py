"""Runs on a SuperLink that is there already, as `fedrec deploy` sets one up.

The folder of the server holds server.toml, the authority's certificate and what the run
has in common with the merchants.  Only processes of the SuperLink's own machine may start a
run, so this is where runs are started.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from fedrec.config import Config, Scalar, to_toml
from fedrec.config_coldstart import user_strategies
from fedrec.engine.flower import QUIET, bundle_app, log_tail, plain_log, raise_reported
from fedrec.errors import ConfigError, EngineError
from fedrec.storage import RunDirectory

NAME = "server.toml"
CONNECTION = "deployed"
CA = "ca.crt"
HOST = "127.0.0.1"
POLL_S = 0.2
LOST_S = 5.0
"""How long a SuperLink may not answer before a run is given up, in seconds."""

STOP_S = 30.0
_STARTED = re.compile(r"Successfully started run (\d+)")


@dataclass(frozen=True)
class ServerFile:
    """A server's server.toml.

    Attributes:
        folder: where it lies.
        host: address that the SuperLink listens on.
        port: its port.
    """

    folder: Path
    host: str
    port: int


def read_server_file(folder: Path) -> ServerFile:
    """Read the server.toml of a folder.

    Raises:
        ConfigError: if it is missing or malformed.
    """
    path = folder.absolute() / NAME
    try:
        given = tomllib.loads(path.read_text(encoding="utf-8"))
        return ServerFile(path.parent, str(given["host"]), int(given["port"]))
    except OSError as error:
        raise ConfigError(
            f"cannot read {path}: {error.strerror}. Expected the folder of a server, as "
            "'fedrec deploy init' makes it"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, KeyError, ValueError) as error:
        raise ConfigError(f"{path} is malformed ({error}): expected host and port") from None


def as_deployed(config: Config, folder: Path) -> Config:
    """Return a configuration with the files of a server's folder named in full.

    Args:
        config: of the run; its relative paths are taken from the folder.
        folder: of the server.

    Raises:
        ConfigError: if it measures strangers, whom no node holds in the place of a client.
    """
    if user_strategies(config):
        raise ConfigError(
            f"coldstart.users = {config.coldstart.users!r} is measured where all data lie, and the "
            "data of a deployment lie with its nodes: set coldstart.users = 'off'"
        )
    if config.coldstart.merchant:
        raise ConfigError(
            f"coldstart.merchant = {config.coldstart.merchant!r} is taken out of data that lie "
            "together, and those of a deployment lie with its nodes: leave it empty"
        )
    values: dict[str, Scalar] = {}
    for key in ("silo.items", "secure.registry"):
        given = str(config.flat()[key])
        if given:
            values[key] = str(folder.absolute() / Path(given).expanduser())
    return config.with_(values)


def answers(port: int) -> bool:
    """Return whether something listens on a port of this machine."""
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex((HOST, port)) == 0


def flower_environment(home: Path) -> dict[str, str]:
    """Return the environment of Flower's commands."""
    beside = str(Path(sys.executable).parent)
    path = os.pathsep.join([beside, os.environ.get("PATH", "")])
    return {**os.environ, **QUIET, "FLWR_HOME": str(home), "PATH": path}


def write_connection(home: Path, server: ServerFile) -> None:
    """Tell Flower's commands how to reach the SuperLink from its own machine."""
    text = (
        f'[superlink]\ndefault = "{CONNECTION}"\n\n[superlink.{CONNECTION}]\n'
        f'address = "{HOST}:{server.port}"\n'
        f"root-certificates = '{server.folder / CA}'\n"
    )
    (home / "config.toml").write_text(text, encoding="utf-8")


def run_on_deployment(config: Config, app: Path, folder: Path) -> None:
    """Run an app on the SuperLink of a server's folder, and wait for its end.

    Args:
        config: of the run, with absolute paths (`as_deployed`).
        app: the app directory.
        folder: of the server.

    Raises:
        FedrecError: what the server app raised for its user.
        EngineError: if no SuperLink answers, or it or the run fails.
    """
    server = read_server_file(folder)
    if not answers(server.port):
        raise EngineError(
            f"no SuperLink answers on port {server.port} of this machine: start it with "
            f"{server.folder / 'start.sh'}"
        )
    with tempfile.TemporaryDirectory(prefix="fedrec-deployed-") as place:
        home = Path(place)
        write_connection(home, server)
        values = home / "run-config.toml"
        values.write_text(to_toml(config), encoding="utf-8")
        command = ["run", str(bundle_app(app, home)), CONNECTION, "--stream"]
        child = _Flwr([*command, "--run-config", str(values)], home)
        try:
            child.wait_while_answering(server)
        finally:
            child.end()
        text = child.text()
        raise_reported(text)
        if child.failed or not RunDirectory(Path(config.run.out)).system.is_file():
            raise EngineError(f"the run failed on Flower:\n{log_tail(text)}")


def flwr_command(words: list[str], home: Path) -> subprocess.CompletedProcess[str]:
    """Run a short command of Flower's and return what it printed."""
    return subprocess.run(
        ["flwr", *words],
        env=flower_environment(home),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


class _Flwr:
    """A ``flwr run`` that streams the log of a run."""

    def __init__(self, words: list[str], home: Path) -> None:
        self._home = home
        self._log = home / "flwr.log"
        environment: Mapping[str, str] = flower_environment(home)
        with self._log.open("wb") as log:
            self._child = subprocess.Popen(
                ["flwr", *words],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._over = False

    @property
    def failed(self) -> bool:
        """Whether the command ended with an error."""
        return self._child.returncode != 0

    def wait_while_answering(self, server: ServerFile) -> None:
        """Wait for the end of the run.

        Raises:
            EngineError: if the SuperLink stops answering.
        """
        heard = time.monotonic()
        while self._child.poll() is None and time.monotonic() - heard <= LOST_S:
            time.sleep(POLL_S)
            if answers(server.port):
                heard = time.monotonic()
        ended = self._child.poll()
        self._over = True
        if ended is None or (ended and not answers(server.port)):
            raise EngineError(  # nobody is left to be told to stop the run
                f"the SuperLink on port {server.port} ended during the run: start it again, "
                "and continue the run with --resume"
            )

    def text(self) -> str:
        """Return what it has printed so far."""
        return plain_log(self._log)

    def end(self) -> None:
        """End the command, and the run if it goes on."""
        self._child.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._child.wait(LOST_S)
        self._child.kill()
        self._child.wait()
        started = _STARTED.search(self.text())
        if self._over or started is None:
            return
        with suppress(subprocess.TimeoutExpired):
            subprocess.run(
                ["flwr", "stop", started.group(1), CONNECTION],
                env=flower_environment(self._home),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=STOP_S,
                check=False,
            )
