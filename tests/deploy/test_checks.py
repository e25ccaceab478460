"""What `fedrec deploy check` finds in folders that are broken in one way each."""

from __future__ import annotations

import re
import shutil
import socket
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fedrec.cli.app import app
from fedrec.deploy.checks import check_folder
from fedrec.deploy.folders import init_federation
from fedrec.errors import ConfigError
from tests.deploy.test_folders import planned
from tests.silo_files import NAMES


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A federation in which the merchants have put their rows, and no process runs."""
    place = tmp_path_factory.mktemp("whole")
    init_federation(place / "f", planned(place, secure__mode="malicious-server"))
    for name in NAMES:
        shutil.copy(place / f"{name}.csv", place / "f" / "merchants" / name / "rows.csv")
    return place / "f"


@pytest.fixture
def copy(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "f"))


def wrong(folder: Path, now: datetime | None = None) -> list[str]:
    found = [f"{f.told} | {f.todo}" for f in check_folder(folder, now) if not f.good]
    return [line for line in found if "not reachable" not in line]  # no SuperLink runs here


def test_nothing_is_wrong_with_what_was_made(whole: Path) -> None:
    assert wrong(whole) == []
    assert wrong(whole / "server") == []
    for name in NAMES:
        assert wrong(whole / "merchants" / name) == []


def swap_key(folder: Path) -> None:
    shutil.copy(folder.parent / "south" / "node.key", folder / "node.key")
    (folder / "node.key").chmod(0o600)


def swap_identity(folder: Path) -> None:
    shutil.copy(folder.parent / "south" / "node-1-of-3.keys", folder / "node-0-of-3.keys")
    (folder / "node-0-of-3.keys").chmod(0o600)


def edit(name: str, old: str, new: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        text = (folder / name).read_text()
        assert old in text
        (folder / name).write_text(text.replace(old, new, 1))

    return change


MERCHANT: dict[str, tuple[Callable[[Path], None], str]] = {
    "readable": (lambda f: (f / "node.key").chmod(0o644), "mode 0644 | others can .*chmod 600"),
    "readable identity": (lambda f: (f / "node-0-of-3.keys").chmod(0o640), "chmod 600"),
    "no rows": (lambda f: (f / "rows.csv").unlink(), r"rows: .*rows\.csv.* \| "),
    "other column": (edit("node.toml", '"user"', '"buyer"'), "buyer"),
    "unknown key": (edit("node.toml", "superlink", "superlnk"), "Did you mean 'superlink'"),
    "other items": (edit("items.jsonl", "i001", "i999"), "another list than the agreed one"),
    "no items": (lambda f: (f / "items.jsonl").unlink(), "cannot read the item list"),
    "other key": (swap_key, "the two are of different nodes"),
    "other identity": (swap_identity, "holds no identity|not the one in the registry"),
    "no identity": (lambda f: (f / "node-0-of-3.keys").unlink(), "0 files .*copy the whole"),
    "no authority": (lambda f: (f / "ca.crt").write_text("?"), "ca.crt: not a certificate"),
    "nothing agreed": (lambda f: (f / "agreed.toml").unlink(), "cannot read .*agreed.toml"),
    "another's folder": (edit("node.toml", '"north"', '"nobody"'), "names north, south, web"),
    "other version": (edit("versions.toml", 'flwr = "', 'flwr = "9.'), "pip install"),
    "no address": (edit("node.toml", ":", ""), "not host:port"),
}


@pytest.mark.parametrize("case", MERCHANT)
def test_a_broken_folder_of_a_merchant(copy: Path, case: str) -> None:
    folder = copy / "merchants" / "north"
    change, told = MERCHANT[case]
    change(folder)
    found = wrong(folder)
    assert len(found) == 1
    assert re.search(told, found[0]), found


SERVER: dict[str, tuple[Callable[[Path], None], str]] = {
    "readable": (lambda f: (f / "server.key").chmod(0o604), "chmod 600"),
    "no node": (lambda f: (f / "nodes" / "web.pub").unlink(), r"nodes/web\.pub is missing"),
    "other items": (edit("items.jsonl", "i001", "i999"), "is not the one of this run"),
    "a merchant's secret": (
        lambda f: shutil.copy(f.parent / "merchants" / "web" / "node.key", f / "nodes") and None,
        r"nodes/node\.key: a secret that is not the server's",
    ),
    "other pair": (
        lambda f: shutil.copy(f.parent / "authority" / "ca.key", f / "server.key") and None,
        "not of one pair",
    ),
    "no port": (edit("server.toml", "port", "prt"), "server.toml is malformed"),
}


@pytest.mark.parametrize("case", SERVER)
def test_a_broken_folder_of_the_server(copy: Path, case: str) -> None:
    change, told = SERVER[case]
    change(copy / "server")
    found = wrong(copy / "server")
    assert len(found) == 1
    assert re.search(told, found[0]), found


def test_certificates_end(whole: Path) -> None:
    now = datetime.now(UTC)  # not when this file is read, which may be long before
    assert "server.crt" in wrong(whole / "server", now + timedelta(days=398))[0]
    assert "fedrec deploy renew" in wrong(whole / "server", now + timedelta(days=398))[0]
    early = wrong(whole / "merchants" / "web", now - timedelta(days=1))
    assert "set the clock" in early[0]
    soon = check_folder(whole / "server", now + timedelta(days=389, hours=12))
    assert any("ENDS IN 7 DAYS" in f.told for f in soon)


def test_a_taken_port_is_called_and_must_speak_tls(copy: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as plain:
        port = plain.getsockname()[1]
        threading.Thread(target=hang_up, args=(plain,), daemon=True).start()
        for folder, name in ((copy / "server", "server"), (copy / "merchants" / "web", "node")):
            file = folder / f"{name}.toml"
            file.write_text(file.read_text().replace("shop.example", "127.0.0.1"))
            file.write_text(file.read_text().replace("9092", str(port)))
            assert "speaks no TLS" in wrong(folder)[0]


def hang_up(listening: socket.socket) -> None:
    """Close every connection at once, as what expects another protocol does."""
    while True:
        try:
            listening.accept()[0].close()
        except OSError:
            return


def test_the_command_says_what_to_do(copy: Path) -> None:
    (copy / "server" / "server.key").chmod(0o644)
    done = CliRunner().invoke(app, ["deploy", "check", str(copy)])
    assert done.exit_code == 1
    assert "FAIL server.key: mode 0644" in done.output
    assert "chmod 600" in done.output
    with pytest.raises(ConfigError, match="is no folder of a deployment"):
        check_folder(copy / "authority")
