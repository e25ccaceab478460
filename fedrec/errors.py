"""Errors that a user of fedrec can meet.

Every message says what was expected, what came and what to do.  The command
line prints the message alone (no traceback) and exits with `exit_code`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class FedrecError(Exception):
    """Base of all errors that fedrec raises for its users."""

    exit_code = 2


class ConfigError(FedrecError):
    """A configuration key or value, or a combination of them, is not usable."""


class DataError(FedrecError):
    """A data set cannot be found, read, cleaned or split as asked."""


class ModelError(FedrecError):
    """A model does not fit its contract or the configuration."""


class EngineError(FedrecError):
    """An engine or a node could not do its part."""


class CheckpointError(FedrecError):
    """A checkpoint is missing, corrupted or belongs to another run."""


class OutputError(FedrecError):
    """The output directory cannot be used."""


class ProtocolError(FedrecError):
    """A message of a protocol is malformed, forged, replayed or out of order.

    The message has changed nothing.  In a round of secure aggregation its sender counts
    as lost.
    """


class AlignmentError(FedrecError):
    """An alignment is refused: lists too short or too unlike, or too many agreements."""


class SkippedRound(FedrecError):
    """A round of secure aggregation ended without a sum: too few parties were left.

    Attributes:
        stage: the stage after which the round ended.
        remaining: the parties that were left, among those whose shares were needed.
        threshold: how many were needed.
    """

    def __init__(self, stage: str, remaining: int, threshold: int, reason: str) -> None:
        super().__init__(
            f"round skipped after the stage {stage!r}: {reason} "
            "The model is unchanged; invite more clients, or lower the threshold"
        )
        self.stage = stage
        self.remaining = remaining
        self.threshold = threshold


class MissingExtraError(FedrecError):
    """An optional dependency is needed and not installed."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(
            f"{purpose} needs the package {package!r}, which is not installed. "
            f'Install it with: pip install "fedrec[{extra}]"'
        )


MOST_WORDS = 30
"""Known words that a hint lists; a data set may have hundreds of merchants."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Return a hint naming the known word closest to `name`.

    Args:
        name: the word that was given.
        known: the words that would have been accepted.

    Returns:
        ``" Did you mean 'x'?"`` or, without a close match, ``" Known: a, b."``, the first
        `MOST_WORDS` of many.
    """
    words = sorted(set(known))
    close = difflib.get_close_matches(name, words, n=1, cutoff=0.5)
    if not close:  # the right key may stand in another table: train.lr for server.lr
        tails = {word.rsplit(".", 1)[-1]: word for word in words}
        tail = difflib.get_close_matches(name.rsplit(".", 1)[-1], tails, n=1, cutoff=0.7)
        close = [tails[t] for t in tail]
    if close:
        return f" Did you mean {close[0]!r}?"
    more = len(words) - MOST_WORDS
    return f" Known: {', '.join(words[:MOST_WORDS])}{f' and {more} more' if more > 0 else ''}."
