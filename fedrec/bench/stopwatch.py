"""Seconds by phase of code that carries no clock itself.

While a stopwatch runs, named functions are replaced by timed ones wherever fedrec and
its apps have imported them, so that what is measured is the code that every run executes.
"""

from __future__ import annotations

import functools
import importlib
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

PHASES = ("sampling", "gather", "train", "privacy", "fold", "server", "evaluate")

PROBES: tuple[tuple[str, str, str], ...] = (
    ("fedrec.data.batches", "draw_samples", "sampling"),
    ("fedrec.training.prefetch", "Ahead.take", "sampling"),  # waiting for them
    ("fedrec.training.node", "train_node", "gather"),  # what is left of it: blocks, copies
    ("fedrec.data.tiles", "lay_out", "gather"),
    ("fedrec.training.rows", "index_tables", "gather"),
    ("fedrec.training.local", "train_cohort", "train"),
    ("fedrec.privacy.policy", "PrivacyPolicy.on_update", "privacy"),
    ("fedrec.privacy.policy", "PrivacyPolicy.on_cohort", "privacy"),
    ("fedrec.training.aggregate", "partial_sum", "fold"),
    ("fedrec.engine.server_side", "AppServer.apply", "server"),
    ("fedrec.training.node", "evaluate_node", "evaluate"),
)
"""Module, function or method, phase.  Of nested calls each counts for itself alone."""


class Stopwatch:
    """Adds up the seconds that the main thread spends in each phase."""

    def __init__(self) -> None:
        self.seconds = dict.fromkeys(PHASES, 0.0)
        self._open: list[str] = []
        self._since = 0.0
        self._thread = threading.get_ident()

    def timed(self, function: Callable[..., Any], phase: str) -> Callable[..., Any]:
        """Return `function`, timed as `phase`, less the phases inside it."""

        @functools.wraps(function)
        def call(*arguments: Any, **named: Any) -> Any:
            if threading.get_ident() != self._thread:
                return function(*arguments, **named)
            self._turn()
            self._open.append(phase)
            try:
                return function(*arguments, **named)
            finally:
                self._turn()
                self._open.pop()

        return call

    def take(self) -> dict[str, float]:
        """Return the seconds of each phase since the last call, and begin anew."""
        taken, self.seconds = self.seconds, dict.fromkeys(PHASES, 0.0)
        return taken

    def _turn(self) -> None:
        """Give the time since the last turn to the innermost open phase."""
        now = time.perf_counter()
        if self._open:
            self.seconds[self._open[-1]] += now - self._since
        self._since = now


@contextmanager
def watched() -> Iterator[Stopwatch]:
    """Time the phases of all rounds within."""
    watch = Stopwatch()
    with ExitStack() as stack:
        for module, name, phase in PROBES:
            original = _find(module, name)
            stack.enter_context(replaced(original, watch.timed(original, phase), module, name))
        yield watch


@contextmanager
def replaced(
    original: Callable[..., Any], substitute: Callable[..., Any], module: str, name: str
) -> Iterator[None]:
    """Put another function in the place of one, wherever it has been imported.

    Args:
        original: the function.
        substitute: what is called instead.
        module: where it is defined.
        name: its name there; ``Class.method`` for a method.
    """
    holder, attribute = _holder(module, name)
    places: Sequence[Any] = [holder]
    if "." not in name:
        rooms = ("fedrec", "clients", "server")
        loaded = [m for n, m in list(sys.modules.items()) if n.split(".")[0] in rooms]
        places = [m for m in loaded if vars(m).get(attribute) is original]
    for place in places:
        setattr(place, attribute, substitute)
    try:
        yield
    finally:
        for place in places:
            setattr(place, attribute, original)


def _holder(module: str, name: str) -> tuple[Any, str]:
    place: Any = importlib.import_module(module)
    *outer, attribute = name.split(".")
    for word in outer:
        place = getattr(place, word)
    return place, attribute


def _find(module: str, name: str) -> Callable[..., Any]:
    place, attribute = _holder(module, name)
    found: Callable[..., Any] = getattr(place, attribute)
    return found
