"""A comparison of merchants in words: the answer, and how sure it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

KEY = "merchants"
FOUND, QUALITY = "recall@20", "ndcg@10"
_WORDS = (
    "No", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine", "Ten",
    "Eleven", "Twelve",
)  # fmt: skip


def counted(count: int, word: str) -> str:
    """Return "Seven shops", "1 shop"-like words that can begin a sentence."""
    amount = _WORDS[count] if count < len(_WORDS) else str(count)
    return f"{amount} {word}{'' if count == 1 else 's'}"


def answer(told: Mapping[str, Any]) -> str:
    """Return the answer in one sentence: how many shops should join, and how many should not."""
    shops = told["merchants"]
    by = {a: [s for s in shops if s["verdict"]["answer"] == a] for a in ("join", "stay out")}
    join, stay, total = len(by["join"]), len(by["stay out"]), len(shops)
    surest = [g for g in told["overall"]["gains"] if g["difference"] > 0 and g["p_adjusted"] < 0.05]
    if join == total:
        return f"All {total} shops gain by training together"
    parts = [f"{counted(join, 'shop')} of {total} should join" if join else ""]
    if not join:
        parts = ["Taken together the shops gain, though no single one proves it" if surest
                 else "No shop proves a gain"]  # fmt: skip
    parts.append(
        f"{counted(stay, 'shop').lower()} should stay out" if stay else "none is shown to lose"
    )
    rest = total - join - stay
    if join and rest:
        sees = "sees" if rest == 1 else "see"
        parts.insert(1, f"{counted(rest, 'shop').lower()} {sees} no clear difference")
    if join and surest:
        parts = ["Taken together the shops gain", parts[0].lower(), *parts[1:]]
    return "; ".join(parts)


def lead(told: Mapping[str, Any]) -> str:
    """Return what stands under the answer: the gain over all customers, and how sure it is."""
    overall = told["overall"]
    found = by_metric(overall["gains"], FOUND)
    quality = by_metric(overall["gains"], QUALITY)
    shops = len(told["merchants"])
    text = (
        f"For the {overall['customers']:,} customers of {shops} shops whose later purchases were "
        f"held back, lists of 20 recommendations find {found['first']:.1%} of these purchases if "
        f"the shops train together and each adds its own touch, and {found['second']:.1%} if each "
        f"trains alone: {_change(found)}. The order of the first ten (NDCG) "
        f"{_change(quality, verb=True)}."
    )
    share = overall["of_pooled_gain"].get(FOUND)
    if share is not None:
        text += (
            f" That is {share:.0%} of the gain that putting all data in one place would bring, "
            "while the records of purchases stay in their shops (what could still be inferred from "
            "updates is told below)."
        )
    return text


def clusters_told(told: Mapping[str, Any]) -> list[str]:
    """Return lines about groups that trained by themselves; none without them."""
    found = told.get("clusters")
    if not found:
        return []
    gain = by_metric(found["gains"], QUALITY)
    numbers = [f"{gain[key]:+.4f}".replace("-", "−") for key in ("difference", "low", "high")]
    lines = [
        f"Groups by {found['by']}: " + "; ".join(", ".join(map(str, g)) for g in found["groups"]),
        f"Training in groups instead of all together changes NDCG@10 by {numbers[0]} "
        f"[{numbers[1]}, {numbers[2]}], told and not tested.",
    ]
    return [*lines, *([found["merged"]] if found["merged"] else []), found["statement"]]


def _change(gain: Mapping[str, Any], *, verb: bool = False) -> str:
    """Return a relative change with its interval, and whether it can be chance."""
    base = gain["second"] or 1.0
    ends = f"95% interval {gain['low'] / base:+.0%} to {gain['high'] / base:+.0%}"
    p = gain.get("p_adjusted")
    told = "beyond chance" if p is not None and p < 0.05 else "this may be chance"
    change = f"{gain['difference'] / base:+.0%} ({ends}; {told})"
    return (f"changes by {change}" if verb else change).replace("-", "−")


def by_metric(gains: Sequence[Mapping[str, Any]], metric: str) -> Mapping[str, Any]:
    """Return the gain in a metric."""
    return next(g for g in gains if g["metric"] == metric)
