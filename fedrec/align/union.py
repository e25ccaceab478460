"""The coordinator of a union: it numbers pseudonyms and learns how many are common.

It sees each party's pseudonyms, so the size of every intersection of any parties, and
not one identifier: to make the pseudonym of a guess takes all parties' keys.  If it
shares what it sees with a party, or is one, that party learns which of its own
identifiers each other party has.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedrec.align.agreement import Agreement
from fedrec.align.messages import COORDINATOR, EVERYBODY, Header, Kind, pack, peek, unpack
from fedrec.errors import ProtocolError


@dataclass(frozen=True, eq=False)
class Union:
    """What the coordinator knows and sends.

    Attributes:
        message: the sorted pseudonyms of all, for every party.
        pairs: int64 [n, n], how many pseudonyms two parties have in common; on the
            diagonal, how many a party has.
        holders: int64 [n], at k - 1: how many pseudonyms k parties have.
    """

    message: bytes
    pairs: NDArray[np.int64]
    holders: NDArray[np.int64]

    def __len__(self) -> int:
        return int(self.holders.sum())


def number_union(agreement: Agreement, messages: Sequence[bytes]) -> Union:
    """Make the union of all parties' pseudonyms.

    Args:
        agreement: the terms.
        messages: PSEUDONYMS of every party, in any order.

    Raises:
        ProtocolError: if one is missing, malformed, or of another agreement or attempt.
    """
    parties = len(agreement.parties)
    if len(messages) != parties:
        raise ProtocolError(
            f"expected the pseudonyms of {parties} parties ({', '.join(agreement.parties)}), got "
            f"{len(messages)} message(s)"
        )
    headers = [peek(raw, agreement) for raw in messages]
    senders, session = [header.sender for header in headers], headers[0].session
    if sorted(senders) != list(range(parties)):
        raise ProtocolError("expected one message of pseudonyms from each party")
    lists = [
        unpack(raw, Header(Kind.PSEUDONYMS, session, number, COORDINATOR, number), agreement)
        for number, raw in sorted(zip(senders, messages, strict=True))
    ]
    union = sorted(set().union(*lists))
    pairs, holders = _count(lists, union)
    header = Header(Kind.UNION, session, COORDINATOR, EVERYBODY, COORDINATOR)
    return Union(pack(header, union, agreement, None), pairs, holders)


def _count(
    lists: list[list[bytes]], union: list[bytes]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return `pairs` and `holders` of a union."""
    from scipy.sparse import csr_matrix

    place = {entry: row for row, entry in enumerate(union)}
    columns = np.array([place[entry] for entries in lists for entry in entries])
    ends = np.cumsum([0, *map(len, lists)])
    has = csr_matrix((np.ones(len(columns), np.int64), columns, ends), (len(lists), len(union)))
    times = np.bincount(columns, minlength=len(union))
    return (has @ has.T).toarray(), np.bincount(times, minlength=len(lists) + 1)[1:]
