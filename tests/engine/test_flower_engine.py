"""Flower's own engines: errors come back as they were, and no process is left."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from fedrec.config import Config
from fedrec.engine import flower
from fedrec.engine.apps import app_dir, copy_app
from fedrec.engine.run_engine import execute
from fedrec.errors import DataError, EngineError, MissingExtraError

Make = Callable[..., Config]


def flower_processes() -> list[str]:
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = file.read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if any(Path(w).name.startswith(("flower-", "flwr-")) for w in words[:2]):
            found.append(" ".join(words))
    return found


def test_the_servers_error_comes_back_and_nothing_is_left(small_run: Make) -> None:
    before = len(flower_processes())
    with pytest.raises(DataError, match="unknown data set 'marketplaces'"):
        execute(small_run(data__name="marketplaces"), engine="ray")
    deadline = time.monotonic() + 10
    while len(flower_processes()) > before and time.monotonic() < deadline:
        time.sleep(0.2)
    assert len(flower_processes()) == before


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import no_such_package\n", "Unable to find attribute app in module server.app"),
        ("import no_such_package\napp = 1\n", "No module named 'no_such_package'"),
    ],
)
def test_a_broken_app_is_reported_with_the_log(
    tmp_path: Path, small_run: Make, code: str, message: str
) -> None:
    copy_app(tmp_path / "broken")
    (tmp_path / "broken" / "server" / "app.py").write_text(code)
    with pytest.raises(EngineError, match=f"(?s)the run failed on Flower:.*{message}"):
        execute(small_run(), engine="ray", app=tmp_path / "broken")


def test_ray_is_an_extra(small_run: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flower.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"fedrec\[ray\]"):
        execute(small_run(), engine="ray")


def test_descendants_are_found() -> None:
    code = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'input()'])"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE) as child:
        deadline = time.monotonic() + 20
        while not (found := flower.descendants([child.pid])) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert len(found) == 1
        child.communicate(b"\n")


def test_the_bundle_declares_this_schema(tmp_path: Path) -> None:
    old = tmp_path / "old"
    copy_app(old)
    pyproject = old / "pyproject.toml"
    pyproject.write_text(pyproject.read_text().replace("rounds = ", "an_old_name = "))
    bundle = flower.bundle_app(old, tmp_path)
    assert (bundle / "pyproject.toml").read_text() == (app_dir() / "pyproject.toml").read_text()
