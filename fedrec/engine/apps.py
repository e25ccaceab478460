"""Find, load and copy the Flower app directory: `clients/`, `server/`, pyproject.toml.

In a wheel it lies as data in `fedrec/_app`, in a checkout it is the root of the
repository.  ``python -m fedrec.engine.apps --write pyproject.toml`` writes the
configuration schema into `[tool.flwr.app.config]`.
"""

from __future__ import annotations

import argparse
import importlib
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedrec.config import Config, to_toml
from fedrec.errors import EngineError, OutputError

if TYPE_CHECKING:
    from flwr.clientapp import ClientApp
    from flwr.serverapp import ServerApp

PACKAGES = ("clients", "server")
FILES = ("pyproject.toml", "README.md", "LICENSE")
CONFIG_HEADER = "[tool.flwr.app.config]"


def app_dir() -> Path:
    """Return the app directory that belongs to this fedrec.

    Raises:
        EngineError: if it is missing from the installation.
    """
    package = Path(__file__).resolve().parents[1]
    for candidate in (package / "_app", package.parent):
        if _is_app(candidate):
            return candidate
    raise EngineError(
        f"the client and server apps are missing from {package}: install fedrec again, "
        "or name a copy of them with --app DIR"
    )


def _is_app(directory: Path) -> bool:
    packages = all((directory / name / "app.py").is_file() for name in PACKAGES)
    return packages and (directory / "pyproject.toml").is_file()


def check_app(directory: Path) -> Path:
    """Return the absolute path of an app directory.

    Raises:
        EngineError: if it is none.
    """
    if not _is_app(directory):
        raise EngineError(
            f"{directory} is no app directory: expected clients/app.py, server/app.py and "
            "pyproject.toml in it, as 'fedrec new DIR' makes them"
        )
    return directory.resolve()


def load_app(directory: Path) -> tuple[ServerApp, ClientApp]:
    """Import `server.app:app` and `clients.app:app` from an app directory.

    Packages of these names that were imported from elsewhere are forgotten first.

    Args:
        directory: an app directory.

    Returns:
        The server app and the client app.

    Raises:
        EngineError: if it is no app directory, or cannot be imported.
    """
    server, clients = _import_apps(directory, "server.app", "clients.app")
    return server, clients


def load_client_app(directory: Path) -> ClientApp:
    """Import `clients.app:app` alone, as `load_app` does."""
    (clients,) = _import_apps(directory, "clients.app")
    return clients


def _import_apps(directory: Path, *names: str) -> list[Any]:
    directory = check_app(directory)
    _forget_other_apps(directory)
    sys.path.insert(0, str(directory))
    try:
        return [importlib.import_module(name).app for name in names]
    except ImportError as error:
        raise EngineError(f"the apps in {directory} cannot be imported: {error}") from error
    finally:
        sys.path.remove(str(directory))


def _forget_other_apps(directory: Path) -> None:
    for name in PACKAGES:
        file = getattr(sys.modules.get(name), "__file__", None)
        if file is not None and Path(file).resolve().parents[1] == directory:
            continue
        for module in [m for m in sys.modules if m == name or m.startswith(f"{name}.")]:
            del sys.modules[module]
    importlib.invalidate_caches()


def copy_app(directory: Path) -> None:
    """Copy the app out, to be edited.

    Args:
        directory: created; must not exist or be empty.

    Raises:
        OutputError: if it has files in it or cannot be written.
    """
    source = app_dir()
    try:
        if directory.exists() and any(directory.iterdir()):
            raise OutputError(
                f"{directory} is not empty: name a new directory, nothing is overwritten"
            )
        directory.mkdir(parents=True, exist_ok=True)
        for name in PACKAGES:
            ignore = shutil.ignore_patterns("__pycache__")
            shutil.copytree(source / name, directory / name, ignore=ignore)
        for name in FILES:
            shutil.copy2(source / name, directory / name)
    except OSError as error:
        reason = error.strerror or error
        raise OutputError(f"cannot copy the apps to {directory}: {reason}") from None


def flower_config(config: Config | None = None) -> str:
    """Return a configuration as the tables under `[tool.flwr.app.config]`."""
    text = to_toml(config or Config())
    lines = [
        line.replace("[", "[tool.flwr.app.config.", 1) if line.startswith("[") else line
        for line in text.splitlines()
    ]
    return "\n".join(lines).strip() + "\n"


def with_flower_config(pyproject: str) -> str:
    """Return the text of a pyproject.toml with the schema of this version in it.

    The tables of the configuration are the last ones of the file.

    Raises:
        OutputError: if the text has no `[tool.flwr.app.config]`.
    """
    head, found, _ = pyproject.partition(f"{CONFIG_HEADER}\n")
    if not found:
        raise OutputError(f"no line {CONFIG_HEADER} in pyproject.toml: add one at its end")
    return f"{head}{found}\n{flower_config()}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the schema into a pyproject.toml."""
    parser = argparse.ArgumentParser(prog="python -m fedrec.engine.apps", description=main.__doc__)
    parser.add_argument("--write", type=Path, required=True, metavar="pyproject.toml")
    file = parser.parse_args(arguments).write
    file.write_text(with_flower_config(file.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
