"""The app directory: found, loaded, copied, and equal to the schema."""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from fedrec.config import Config, flatten
from fedrec.engine.apps import (
    app_dir,
    check_app,
    copy_app,
    load_app,
    main,
    with_flower_config,
)
from fedrec.engine.run_engine import execute
from fedrec.errors import EngineError, OutputError


def test_pyproject_declares_the_schema() -> None:
    text = (app_dir() / "pyproject.toml").read_text()
    assert text == with_flower_config(text), "run: make config"
    declared = flatten(tomllib.loads(text)["tool"]["flwr"]["app"]["config"])
    assert declared == Config().flat()


def test_writing_the_schema(tmp_path: Path) -> None:
    file = tmp_path / "pyproject.toml"
    file.write_text('[project]\nname = "x"\n\n[tool.flwr.app.config]\nold.key = 1\n')
    main(["--write", str(file)])
    parsed = tomllib.loads(file.read_text())
    assert parsed["project"]["name"] == "x"
    assert flatten(parsed["tool"]["flwr"]["app"]["config"]) == Config().flat()
    with pytest.raises(OutputError, match=r"no line \[tool.flwr.app.config\]"):
        with_flower_config("[project]\n")


def test_flower_accepts_the_app() -> None:
    from flwr.cli.config_utils import load_and_validate

    _, warnings = load_and_validate(app_dir() / "pyproject.toml")
    assert warnings == []


def test_a_copy_is_loaded_instead_of_the_original(
    tmp_path: Path, small_run: Callable[..., Config]
) -> None:
    directory = tmp_path / "mine"
    copy_app(directory)
    strategy = directory / "server" / "app.py"
    strategy.write_text(strategy.read_text() + "\nMARK = 'edited'\n")
    assert {p.name for p in directory.iterdir()} >= {"clients", "server", "pyproject.toml"}
    load_app(directory)
    assert sys.modules["server.app"].MARK == "edited"
    assert str(directory) not in sys.path
    config = small_run(train__rounds=1)
    execute(config, app=directory)
    assert (Path(config.run.out) / "system.json").is_file()
    load_app(app_dir())
    assert not hasattr(sys.modules["server.app"], "MARK")


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "x").touch()
    with pytest.raises(OutputError, match="is not empty"):
        copy_app(tmp_path)
    with pytest.raises(OutputError, match="cannot copy the apps to"):
        copy_app(tmp_path / "x")


def test_what_is_no_app_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="is no app directory"):
        check_app(tmp_path)


def test_an_app_that_cannot_be_imported(tmp_path: Path) -> None:
    copy_app(tmp_path / "broken")
    (tmp_path / "broken" / "clients" / "app.py").write_text("import no_such_package\n")
    with pytest.raises(EngineError, match="cannot be imported: No module named 'no_such_package'"):
        load_app(tmp_path / "broken")
    load_app(app_dir())
