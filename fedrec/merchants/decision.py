"""What a merchant should do, and how sure that is, in plain words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fedrec.merchants.gains import Gain

JOIN, EITHER, STAY = "join", "no clear difference", "stay out"
_LIKELY = 0.9
_SMALL = 0.001


@dataclass(frozen=True)
class Verdict:
    """The answer for one merchant.

    Attributes:
        answer: "join", "no clear difference" or "stay out".
        sure: how sure that is, in words.
    """

    answer: str
    sure: str

    def to_json(self) -> dict[str, Any]:
        """Return both by name."""
        return {"answer": self.answer, "sure": self.sure}


def verdict(gains: Sequence[Gain]) -> Verdict:
    """Decide by the gains of training together over training alone.

    A difference in any of the metrics that stays after Holm's correction, over all merchants
    and metrics, decides, unless another metric says the opposite.  Else nothing is decided,
    and what is likely by the first metric is said.

    Args:
        gains: of one merchant, a metric each.
    """
    better, worse = ([g for g in gains if getattr(g, side)] for side in ("better", "worse"))
    if better and worse:
        told = f"better by {better[0].metric}, worse by {worse[0].metric}, both beyond chance"
        return Verdict(EITHER, told)
    if better or worse:
        surest = min(better or worse, key=_p)
        p = f"{_p(surest):.3f}" if _p(surest) >= _SMALL else "below 0.001"
        return Verdict(JOIN if better else STAY, f"sure: p = {p}, corrected for all merchants")
    share = gains[0].positive
    if share >= _LIKELY:
        return Verdict(EITHER, f"a gain is likely ({share:.0%} of resamples), not proven")
    if share <= 1 - _LIKELY:
        return Verdict(EITHER, f"a loss is likely ({1 - share:.0%} of resamples), not proven")
    return Verdict(EITHER, f"open: better in {share:.0%} of resamples of its customers")


def _p(gain: Gain) -> float:
    return gain.p_value if gain.p_adjusted is None else gain.p_adjusted
