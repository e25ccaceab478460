"""Who should pay whom: a rule that takes from gain and gives by contribution.

Every merchant gains something from the federation (what its customers get over what it could
give them alone), and brings something to it (its contribution).  The rule: all gains together
are shared out in proportion to contributions, where a negative one counts as nothing; a
merchant is paid the difference between its share and its gain, or pays it.  After that each
one's gain is in proportion to what it brought, and what is paid equals what is received.

Gains and contributions are in units of the metric, so these are not sums of money: whoever
knows what a point of the metric is worth multiplies.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

NOTHING = "All together gain nothing from the federation: there is nothing to share, nobody pays."
NOBODY = "No merchant has a positive contribution: the gain cannot be shared by it, nobody pays."


@dataclass(frozen=True, eq=False)
class Payments:
    """Transfers between n merchants, in parts of all gains together.

    Attributes:
        gains: float64 [n], each one's part of all gains; they add up to 1, single ones may be
            negative.  Zeros where nothing is shared.
        shares: float64 [n], each one's part of the contributions, none negative; adds up to 1.
        transfers: float64 [n], shares - gains: who is above 0 is paid.  They add up to 0.
        sentence: the same in plain words.
    """

    gains: Floats
    shares: Floats
    transfers: Floats
    sentence: str

    def to_json(self) -> dict[str, object]:
        """Return the entry of contribution.json."""
        listed = {n: getattr(self, n).tolist() for n in ("gains", "shares", "transfers")}
        return {**listed, "sentence": self.sentence}


def settle(gains: Floats, contributions: Floats, names: Sequence[str]) -> Payments:
    """Return who pays whom by the rule above.

    Args:
        gains: float64 [n], in units of the utility: what each merchant's customers have in the
            federation less what they have with the merchant alone.
        contributions: float64 [n], in any unit.
        names: of the merchants.
    """
    none, kept = np.zeros(len(gains)), np.maximum(contributions, 0.0)
    if gains.sum() <= 0:
        return Payments(none, none, none, NOTHING)
    if kept.sum() <= 0:
        return Payments(gains / gains.sum(), none, none, NOBODY)
    parts, shares = gains / gains.sum(), kept / kept.sum()
    transfers = shares - parts
    return Payments(parts, shares, transfers, _told(transfers, names))


def _told(transfers: Floats, names: Sequence[str]) -> str:
    rounded = np.round(100 * transfers).astype(int)
    order = np.argsort(rounded, kind="stable")
    pay = [f"{names[i]} {-rounded[i]}" for i in order if rounded[i] < 0]
    get = [f"{names[i]} {rounded[i]}" for i in order[::-1] if rounded[i] > 0]
    if not pay or not get:
        return "Everybody gains what it brings, to one part in a hundred: nobody pays."
    return (
        "Of 100 parts of the gain that all have together, those who gain more than they bring pay: "
        f"{_listed(pay)}; those who bring more than they gain are paid: {_listed(get)}."
    )


def _listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
