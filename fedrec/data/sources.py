"""How the files of a known data set get into the cache.

Every file that is fetched has its SHA-256 checked before it is used, and is
renamed into the cache only when complete, so an interrupted download leaves
nothing behind that looks whole.
"""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import os
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
import zipfile
from pathlib import Path

from fedrec.data.directory import make_directory
from fedrec.data.registry import Entry, Source
from fedrec.errors import DataError

log = logging.getLogger("fedrec.data")

_CONNECT_SECONDS = 15.0
_PIP_SECONDS = 600.0
_CHUNK = 1 << 16


def is_cached(entry: Entry, directory: Path) -> bool:
    """Whether `entry` can be had without the network (its files are not verified)."""
    return (
        not entry.sources
        or any((directory / entry.name).glob("parsed-*.npz"))
        or any((directory / entry.name / source.filename).exists() for source in entry.sources)
        or any(_installed(source) is not None for source in entry.sources)
    )


def fetch(entry: Entry, directory: Path) -> tuple[Source, Path | zipfile.Path]:
    """Return the files of a data set, downloading them if need be.

    Args:
        entry: a data set with sources.
        directory: the cache directory.

    Returns:
        the source that had it, and the root of its files (an archive or a directory).

    Raises:
        DataError: if every source failed, with the reason of each and how to
            place the file by hand.
    """
    folder = directory / entry.name
    for source in entry.sources:
        installed = _installed(source)
        if installed is not None:
            return source, installed
        if _verified(folder / source.filename, source):
            return source, zipfile.Path(folder / source.filename)
    make_directory(folder)
    failures = []
    for source in entry.sources:
        try:
            _acquire(source, folder)
        except (OSError, urllib.error.URLError, subprocess.SubprocessError, DataError) as error:
            failures.append(f"  {source.place()}: {_reason(error)}")
            continue
        return source, zipfile.Path(folder / source.filename)
    first = entry.sources[0]
    raise DataError(
        f"data set {entry.name!r} could not be fetched. Tried:\n"
        + "\n".join(failures)
        + f"\nTo place it by hand, get {first.filename} (see {entry.home}) and copy it to "
        f"{folder / first.filename}"
    )


def _installed(source: Source) -> Path | None:
    if not source.package:
        return None
    spec = importlib.util.find_spec(source.package)
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(spec.submodule_search_locations[0]).parent


def _verified(path: Path, source: Source) -> bool:
    if not path.exists():
        return False
    found = _sha256(path)
    if found == source.sha256:
        return True
    log.warning(
        "%s is damaged (SHA-256 %s..., expected %s...); it is fetched again",
        path,
        found[:12],
        source.sha256[:12],
    )
    return False


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _acquire(source: Source, folder: Path) -> None:
    """Fetch into a temporary directory beside the target, check, rename."""
    with tempfile.TemporaryDirectory(dir=folder, prefix=".fetch-") as temporary:
        target = Path(temporary) / source.filename
        if source.url:
            _download(source.url, target)
        else:
            _pip_download(source.requirement, target.parent)
        if not target.exists():
            raise DataError(f"no file {source.filename} came")
        found = _sha256(target)
        if found != source.sha256:
            raise DataError(f"SHA-256 is {found}, expected {source.sha256}")
        os.replace(target, folder / source.filename)


def _download(url: str, target: Path) -> None:
    from rich.console import Console
    from rich.progress import DownloadColumn, Progress, TransferSpeedColumn

    console = Console(stderr=True)
    columns = (*Progress.get_default_columns(), DownloadColumn(), TransferSpeedColumn())
    with (
        urllib.request.urlopen(url, timeout=_CONNECT_SECONDS) as response,  # noqa: S310
        target.open("wb") as file,
        Progress(*columns, console=console, disable=not console.is_terminal) as progress,
    ):
        length = response.headers.get("Content-Length")
        task = progress.add_task(target.name, total=int(length) if length else None)
        while chunk := response.read(_CHUNK):
            file.write(chunk)
            progress.advance(task, len(chunk))


def _pip_download(requirement: str, folder: Path) -> None:
    """Let pip fetch a wheel, so that its index, proxy and certificate settings hold."""
    from rich.console import Console

    command = [
        sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:",
        "--disable-pip-version-check", "--no-input", "--dest", str(folder), requirement,
    ]  # fmt: skip
    console = Console(stderr=True)
    if console.is_terminal:
        with console.status(f"pip download {requirement}"):
            done = subprocess.run(command, capture_output=True, text=True, timeout=_PIP_SECONDS)
    else:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_PIP_SECONDS)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()] or ["no message"]
        errors = [line for line in lines if "error" in line.lower()] or lines
        raise DataError(f"pip exited with {done.returncode}: {errors[-1].strip()}")


def _reason(error: BaseException) -> str:
    if isinstance(error, subprocess.TimeoutExpired):
        return f"no answer within {error.timeout:.0f} s"
    if isinstance(error, urllib.error.URLError):
        return str(error.reason)
    return str(error) or type(error).__name__
