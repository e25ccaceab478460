"""What a check of a deployment finds."""

from __future__ import annotations

import stat
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from fedrec.errors import FedrecError


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        good: whether it is as it must be.
        told: what was found.
        todo: what to do if it is not.
    """

    good: bool
    told: str
    todo: str = ""


def good(told: str) -> Finding:
    """Return a finding that asks for nothing."""
    return Finding(True, told)


def tried(
    what: str, look: Callable[[], str], todo: str = "correct it, or get the file again"
) -> Finding:
    """Return what a look found; an error is a finding, with its way out.

    Args:
        what: is looked at.
        look: returns what it found.
        todo: what to do if the error does not say.
    """
    try:
        return good(f"{what}: {look()}")
    except FedrecError as error:
        first, _, rest = str(error).partition(". ")
        return Finding(False, f"{what}: {first}", rest or todo)


def check_versions(path: Path) -> list[Finding]:
    """Compare the installed versions with those that the federation has agreed on."""
    try:
        wanted = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        return [Finding(False, f"versions: {path} cannot be read ({error})", "get it again")]
    found = []
    for package, agreed in wanted.items():
        here = version(package)
        told = f"version of {package}: {here}, agreed {agreed}"
        todo = f'pip install "{package}=={agreed}"'
        found.append(Finding(here == agreed, told, todo))
    return found


def check_secret(path: Path) -> Finding:
    """See that a secret file is there and that its owner alone may read it."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        return Finding(
            False,
            f"{path.name}: {error.strerror}",
            "copy the whole folder that was handed out, hidden from others",
        )
    told = f"{path.name}: mode {stat.S_IMODE(mode):04o}"
    return Finding(not mode & 0o077, told, f"others can read a secret: chmod 600 {path}")
