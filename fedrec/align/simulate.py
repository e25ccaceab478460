"""All parties of an alignment in one process: for tests, benchmarks and files on one machine."""

from __future__ import annotations

from collections.abc import Mapping

from fedrec.align.agreement import Agreement, Mode, new_agreement
from fedrec.align.ids import Ids
from fedrec.align.outcome import Outcome, finish
from fedrec.align.party import Secrets, State, answer, expected, start
from fedrec.align.union import Union, number_union
from fedrec.errors import ConfigError


def simulate(
    agreement: Agreement,
    lists: Mapping[str, Ids],
    *,
    secrets: Mapping[str, Secrets] | None = None,
) -> tuple[dict[str, Outcome], Union | None]:
    """Run an alignment with real messages between parties in this process.

    Args:
        agreement: the terms.
        lists: name -> list, of every party.
        secrets: for tests; else drawn from the operating system.

    Returns:
        name -> what the party learns, and what the coordinator of a union learns (else None).

    Raises:
        ConfigError: if the lists are not those of the parties.
        AlignmentError: if a list is shorter or more lopsided than agreed.
    """
    names = agreement.parties
    if set(lists) != set(names):
        raise ConfigError(f"expected the lists of {', '.join(names)}, got {', '.join(lists)}")
    begun = [start(agreement, n, lists[n], secrets=(secrets or {}).get(n)) for n in names]
    while not begun[0][0].finished:
        sent = [message for _, message in begun]
        begun = [answer(state, incoming(state, sent)) for state, _ in begun]
    sent = [message for _, message in begun]
    union = number_union(agreement, sent) if agreement.mode == "union" else None
    outcomes = {
        name: finish(state, [union.message] if union else incoming(state, sent))
        for name, (state, _) in zip(names, begun, strict=True)
    }
    return outcomes, union


def incoming(state: State, sent: list[bytes]) -> list[bytes]:
    """Return, of one message of each party in their order, those that a party needs next."""
    return [sent[header.sender] for header in expected(state)]


def align(lists: Mapping[str, Ids], mode: Mode = "match", **terms: object) -> dict[str, Outcome]:
    """Run an alignment under a new agreement; see `simulate`."""
    return simulate(new_agreement(mode, tuple(lists), **terms), lists)[0]
