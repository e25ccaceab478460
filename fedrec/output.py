"""The output directory of a run: where it is, whether it can be used, atomic writing."""

from __future__ import annotations

import shutil
import tempfile
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fedrec.config import Config, flatten, known_keys
from fedrec.errors import OutputError

WRITTEN = (
    "config.toml",
    "rounds.jsonl",
    "result.json",
    "system.json",
    "test_sums.npz",
    "report.html",
    "merchants.html",
    "audit.json",
    "contribution.json",
    "checkpoint/server.ckpt",
    "checkpoint",
    "clients/*-of-*",
    "clients",
    "model/card.json",
    "model/catalogue.jsonl",
    "model/counts.ckpt",
    "model/features.ckpt",
    "model/config.toml",
    "model/items.jsonl",
    "model/shared.ckpt",
    "model",
    "systems/*-seed*",
    "systems",
    "merchants/*-seed*",
    "merchants",
    "tensorboard/*-seed*",
    "tensorboard",
)
"""What a run writes into its output directory; of a directory it is left if not empty then."""
MARKS = ("rounds.jsonl", "result.json", "system.json")
"""Names that tell an output directory from any other."""


def output_directory(config: Config, out: str | Path | None = None) -> Path:
    """Return the absolute output directory: `out`, else run.out, else runs/<run.name>."""
    return Path(out or config.run.out or Path("runs") / config.run.name).absolute()


def ready_output(directory: Path, *, overwrite: bool = False) -> Path:
    """Make sure that a new run can be written into a directory, and create it.

    Nothing in it is changed or deleted: that waits until the new run can start.

    Args:
        directory: the output directory.
        overwrite: accept a directory that already holds a run.

    Raises:
        OutputError: if it holds a run or other files, is a file, or is not writable.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        present = sorted(p.name for p in directory.iterdir())
        with tempfile.TemporaryFile(dir=directory):
            pass
    except (FileExistsError, NotADirectoryError):
        raise OutputError(
            f"cannot use {directory} as the output directory: it, or a part of its path, "
            "is a file. Choose another with --out DIR"
        ) from None
    except OSError as error:
        raise OutputError(
            f"cannot write into the output directory {directory}: {error.strerror}. "
            "Choose another with --out DIR"
        ) from None
    holds_run = is_run(directory)
    if holds_run and not overwrite:
        raise OutputError(
            f"{directory} already holds a run. Continue it with: {resume_command(directory)}; "
            "replace it with --overwrite; or choose another with --out DIR"
        )
    if present and not holds_run:
        raise OutputError(
            f"{directory} has files in it that are not of a fedrec run ({present[0]}): "
            "choose an empty or a new directory with --out DIR"
        )
    return directory


@contextmanager
def discarded_if_empty(directory: Path) -> Iterator[None]:
    """Remove a directory that has stayed empty because what was to fill it failed."""
    try:
        yield
    except BaseException:
        with suppress(OSError):  # not empty, or not ours to remove
            directory.rmdir()
        raise


def is_run(directory: Path) -> bool:
    """Return whether a directory holds a run, finished or not."""
    return any((directory / name).is_file() for name in MARKS) or _is_resolved(
        directory / "config.toml"
    )


def is_comparison(directory: Path) -> bool:
    """Return whether a directory holds a comparison of systems, finished or not."""
    return is_run(directory) and (directory / "systems").is_dir()


def compares_merchants(directory: Path) -> bool:
    """Return whether a directory holds a comparison of merchants, finished or not."""
    return is_run(directory) and (directory / "merchants").is_dir()


def resume_command(directory: Path) -> str:
    """Return what to type to continue the run or comparison in a directory."""
    if compares_merchants(directory):
        return f"fedrec compare --merchants --resume {directory}"
    return f"fedrec {'compare' if is_comparison(directory) else 'run'} --resume {directory}"


def _is_resolved(file: Path) -> bool:
    """Tell the configuration of a run, which has every key, from an experiment of the user."""
    try:
        return set(flatten(tomllib.loads(file.read_text(encoding="utf-8")))) == set(known_keys())
    except (OSError, ValueError):
        return False


def delete_run(directory: Path) -> None:
    """Delete what a run has written into a directory, and nothing else.

    It goes by name, because a user may have directories `clients` or `model` there, too.

    Raises:
        OutputError: if something cannot be deleted.
    """
    for path in [path for pattern in WRITTEN for path in directory.glob(pattern)]:
        try:
            if path.is_dir() and path.parent == directory:
                if not any(path.iterdir()):
                    path.rmdir()
            elif path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        except OSError as error:
            raise OutputError(f"cannot replace {path}: {error.strerror}") from None


def write_atomically(path: Path, text: str) -> None:
    """Write a text file so that a reader sees the old or the new content, never a part.

    Its directory is created.

    Raises:
        OutputError: if the directory is not writable.
    """
    from fedrec.storage import replace_file  # with NumPy, that most commands do without

    replace_file(path, text.encode())
