"""Why an item is recommended: shares of its score, exact, or what is lost without a source."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

EXACT, LEFT_OUT, INFLUENCE = "exact", "leave-one-out", "influence"


@dataclass(frozen=True)
class Reason:
    """A part of a score.

    Attributes:
        kind: "history" (an item that was met), "attribute", "user attribute", or "start"
            (what the score is without any history).
        name: identifier of the item or name of the attribute; empty for "start".
        share: in units of the score.
        title: what a person calls it.
    """

    kind: str
    name: str
    share: float
    title: str = ""


@dataclass(frozen=True)
class Recommendation:
    """An item for a user.

    Attributes:
        item: identifier.
        score: of the model; scores compare within one answer only.
        title: what a person calls it; empty if the model has no titles.
        reasons: the largest first; empty if none were asked for.
        shares: "exact": all shares of an item add up to its score; "leave-one-out": a share
            is what the score loses without its source, and shares need not add up.
        boosted: whether it is a new item that stands here by its exploration boost alone.
    """

    item: str
    score: float
    title: str = ""
    reasons: tuple[Reason, ...] = ()
    shares: str = ""
    boosted: bool = False


@dataclass(frozen=True, eq=False)
class Shares:
    """Shares of the scores of k items.

    Attributes:
        history: float [k, n], of each item that was met.
        other: (kind, name) -> float [k], of attributes and the start.
        kind: `EXACT`, `LEFT_OUT` or `INFLUENCE`.
    """

    history: NDArray
    other: dict[tuple[str, str], NDArray]
    kind: str

    def reasons(self, row: int, names: Sequence[str], titles: Sequence[str]) -> list[Reason]:
        """Return the shares of one item that are not zero, the largest first.

        Args:
            row: which of the k items.
            names: of the n items that were met.
            titles: of the same.
        """
        told = [Reason(k, n, float(v[row])) for (k, n), v in self.other.items()]
        own = zip(names, titles, self.history[row], strict=True)
        told += [Reason("history", name, float(share), title) for name, title, share in own]
        order = np.argsort([-one.share for one in told], kind="stable")
        return [told[at] for at in order if told[at].share != 0]
