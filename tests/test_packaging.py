"""The wheel installs one top-level package and works from a fresh environment."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from fedrec.config import Config, to_toml
from fedrec.engine.apps import app_dir


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel with the build back end that is installed."""
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out)]
    done = subprocess.run([*command, str(app_dir())], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = out.iterdir()
    return built


@pytest.fixture(scope="module")
def fresh(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the wheel into an environment of its own; return that directory.

    To stay quick, dependencies come from the environment of the tests: its
    directory is put on the path, but its .pth files, and so a checkout that is
    installed there for editing, are not followed.
    """
    directory = tmp_path_factory.mktemp("fresh") / "venv"
    venv.create(directory, with_pip=False)
    install = [sys.executable, "-m", "pip", "--python", str(directory / "bin" / "python")]
    install += ["install", "--quiet", "--no-deps", "--no-index", "--disable-pip-version-check"]
    subprocess.run([*install, str(wheel)], check=True)
    borrowed = site_packages(directory) / "borrowed.pth"
    borrowed.write_text(sysconfig.get_path("purelib") + "\n")
    return directory


def site_packages(directory: Path) -> Path:
    (found,) = directory.glob("lib/python*/site-packages")
    return found


def run_fresh(fresh: Path, *command: str, cwd: Path) -> str:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    program = str(fresh / "bin" / command[0])
    done = subprocess.run(
        [program, *command[1:]], cwd=cwd, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_one_top_level_package_lands(wheel: Path, fresh: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    top = {name.split("/")[0] for name in names}
    assert {name for name in top if not name.endswith(".dist-info")} == {"fedrec"}
    landed = {p.name for p in site_packages(fresh).iterdir()} - {"borrowed.pth", "__pycache__"}
    assert {name for name in landed if not name.endswith(".dist-info")} == {"fedrec"}


def test_the_app_travels_as_data(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    root = app_dir()
    for package in ("clients", "server"):
        for file in (root / package).glob("*.py"):
            assert f"fedrec/_app/{package}/{file.name}" in names
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        assert f"fedrec/_app/{name}" in names
    assert not [name for name in names if "__pycache__" in name or "tests/" in name]


def test_data_files_of_the_package_are_in_it(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    package = app_dir() / "fedrec"
    for file in package.rglob("*"):
        if file.is_file() and "__pycache__" not in file.parts:
            assert f"fedrec/{file.relative_to(package).as_posix()}" in names


def test_an_experiment_runs_from_there(
    fresh: Path, tmp_path: Path, small_run: Callable[..., Config]
) -> None:
    config = small_run()
    (tmp_path / "experiment.toml").write_text(to_toml(config))
    code = (
        "import importlib.util, fedrec; from pathlib import Path\n"
        "assert importlib.util.find_spec('server') is None, 'a top-level package called server'\n"
        f"assert Path(fedrec.__file__).is_relative_to({str(fresh)!r}), fedrec.__file__\n"
        "from fedrec.config import load_config\n"
        "from fedrec.engine.apps import app_dir\n"
        "from fedrec.engine.run_engine import execute\n"
        "assert app_dir().name == '_app'\n"
        "execute(load_config('experiment.toml'))\n"
    )
    run_fresh(fresh, "python", "-c", code, cwd=tmp_path)
    system = json.loads((Path(config.run.out) / "system.json").read_text())
    assert system["metrics"]["test"]["full"]


def test_the_app_can_be_copied_out_and_run(
    fresh: Path, tmp_path: Path, small_run: Callable[..., Config]
) -> None:
    run_fresh(fresh, "fedrec", "new", "mine", cwd=tmp_path)
    assert (tmp_path / "mine" / "server" / "app.py").is_file()
    config = small_run(train__rounds=1)
    (tmp_path / "experiment.toml").write_text(to_toml(config))
    code = (
        "from pathlib import Path; from fedrec.config import load_config\n"
        "from fedrec.engine.run_engine import execute\n"
        "execute(load_config('experiment.toml'), app=Path('mine'))\n"
        "import server; assert Path(server.__file__).parent.parent.name == 'mine'\n"
    )
    run_fresh(fresh, "python", "-c", code, cwd=tmp_path)
