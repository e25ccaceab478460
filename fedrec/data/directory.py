"""Where data sets are kept between runs."""

from __future__ import annotations

import os
from pathlib import Path

from fedrec.errors import DataError


def cache_directory(configured: str) -> Path:
    """Return the cache directory: configured, else $FEDREC_CACHE, else ~/.cache/fedrec."""
    chosen = configured or os.environ.get("FEDREC_CACHE", "")
    return Path(chosen).expanduser() if chosen else Path.home() / ".cache" / "fedrec"


def make_directory(path: Path) -> None:
    """Create a directory of the cache.

    Raises:
        DataError: if it cannot be created or written.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        writable = os.access(path, os.W_OK)
    except OSError as error:
        raise DataError(unwritable(path, error.strerror or str(error))) from None
    if not writable:
        raise DataError(unwritable(path, "permission denied"))


def unwritable(path: Path, reason: str) -> str:
    """Return the message for a cache directory that cannot be written."""
    return (
        f"cannot write the cache directory {path}: {reason}. "
        f"Choose another with data.cache or the environment variable FEDREC_CACHE."
    )
