"""Progress of a run, read from its rounds.jsonl: the same for every engine."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fedrec.storage import RunDirectory, read_arrays

OnEvent = Callable[[dict[str, Any]], None]
POLL_S = 0.1


@contextmanager
def followed(files: RunDirectory, on_event: OnEvent | None) -> Iterator[None]:
    """Report each new round while a run goes on inside.

    Args:
        files: of the run.
        on_event: called with {"event": "round", ...} in the order of rounds, from
            another thread; rounds done before a resume are not reported again.

    Raises:
        Exception: what `on_event` raised, after the run.
    """
    if on_event is None:
        yield
        return
    follower = _Follower(files, on_event)
    follower.start()
    try:
        yield
    finally:
        follower.finish()
    if follower.error is not None:
        raise follower.error


class _Follower(threading.Thread):
    def __init__(self, files: RunDirectory, on_event: OnEvent) -> None:
        super().__init__(name="fedrec-progress", daemon=True)
        self.error: BaseException | None = None
        self._path = files.rounds
        self._on_event = on_event
        self._stale = _identity(files.rounds)  # the server replaces the file when it begins
        self._reported = _checkpointed_round(files.checkpoint)
        self._done = threading.Event()

    def run(self) -> None:
        """Report what is new until `finish` is called."""
        while not self._done.wait(POLL_S):
            self._report()

    def finish(self) -> None:
        """Stop, and report what came last."""
        self._done.set()
        self.join()
        self._report()

    def _report(self) -> None:
        if self.error is not None or _identity(self._path) in (None, self._stale):
            return
        try:
            for text in self._path.read_text(encoding="utf-8").splitlines(keepends=True):
                if text.endswith("\n"):
                    self._report_line(json.loads(text))
        except Exception as error:  # shown to the caller once the run is over
            self.error = error

    def _report_line(self, line: dict[str, Any]) -> None:
        if line["round"] > self._reported:
            self._reported = line["round"]
            self._on_event({"event": "round", **line})


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_dev


def _checkpointed_round(path: Path) -> int:
    """Return the round that a resume starts from; the server complains if it is broken."""
    if not path.exists():
        return 0
    try:
        return int(read_arrays(path)[1]["round"])
    except Exception:
        return 0
