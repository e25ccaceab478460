"""What is told at the end of an alignment, and what it has shown to whom."""

from __future__ import annotations

from fedrec.align.agreement import Agreement
from fedrec.align.outcome import Outcome
from fedrec.align.union import Union


def lines_of(name: str, outcome: Outcome) -> list[str]:
    """Return what one party has learned, in lines for people."""
    own, merged = len(outcome.ids), len(outcome.ids.raw) - len(outcome.ids)
    more = f" ({merged:,} more are written differently)" if merged else ""
    lines = [f"{name}: {own:,} identifiers{more}"]
    lines += [
        f"  {other} has {outcome.sizes[other]:,}, {count:,} of them in common"
        for other, count in outcome.common.items()
    ]
    if outcome.rows is not None:
        lines.append(f"  shared item list: {outcome.num_rows:,}")
    return lines


def union_lines(agreement: Agreement, union: Union) -> list[str]:
    """Return what the coordinator of a union learns, in lines for people."""
    names = agreement.parties
    lines = [f"union of {len(names)} parties: {len(union):,} pseudonyms"]
    lines += [
        f"  had by {number:,} {'party' if number == 1 else 'parties'}: {count:,}"
        for number, count in enumerate(union.holders, 1)
    ]
    lines += [
        f"  {one} and {other}: {union.pairs[i, j]:,} in common"
        for i, one in enumerate(names)
        for j, other in enumerate(names)
        if i < j
    ]
    return lines


LEAKS = {
    "scope": "the size of both lists and of what they have in common, to both parties",
    "match": "the size of every list to all parties, and to each which of its own identifiers "
    "each other party has; with three parties or more also how many any of them have in common",
    "union": "the size of every list to all parties, the size of the union (of two parties, so of "
    "what they have in common), and to the coordinator the size of every intersection",
}
"""Mode -> what is learned beyond the result by parties that follow the protocol."""
