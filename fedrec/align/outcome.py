"""What a party knows at the end of an alignment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fedrec.align.ids import Ids
from fedrec.align.party import State, check_returned, receive_last
from fedrec.data.catalogue_map import WORD_DIGITS, CatalogueMap
from fedrec.errors import ProtocolError


@dataclass(frozen=True, eq=False)
class Outcome:
    """The result of one party.

    Attributes:
        ids: its own list.
        sizes: name -> length of the list, of every party whose list it has seen.
        common: name of another party -> how many of the own identifiers it has, too.  For
            union it is empty: nothing of the kind is learned.
        shared: bool [n] for match: which own keys every party has; else None.
        held: name of another party -> bool [n] for match: which own keys it has.
        pseudonyms: 32 bytes for each own key, for match and union; else None.
        rows: int64 [n] place of each own key among the rows that are trained on, -1 for none:
            of the union (union) or of what all have (match); None for scope.
        listing: the pseudonyms of all rows, in their order: the shared item list.
    """

    ids: Ids
    sizes: Mapping[str, int]
    common: Mapping[str, int] = field(default_factory=dict)
    shared: NDArray[np.bool_] | None = None
    held: Mapping[str, NDArray[np.bool_]] = field(default_factory=dict)
    pseudonyms: tuple[bytes, ...] | None = None
    rows: NDArray[np.int64] | None = None
    listing: tuple[bytes, ...] = ()

    @property
    def num_rows(self) -> int:
        """How many rows there are in all; 0 for scope."""
        return len(self.listing)

    @property
    def words(self) -> list[str]:
        """The listing as 32 hexadecimal digits each, as files have it."""
        return [pseudonym.hex()[:WORD_DIGITS] for pseudonym in self.listing]

    def catalogue_map(self) -> CatalogueMap:
        """Return what this party keeps: own identifiers that have a row, and their pseudonyms."""
        if self.rows is None:
            raise ProtocolError("a scope counts and gives no pseudonyms: agree on match or union")
        row = self.rows[self.ids.place]
        kept, words = np.flatnonzero(row >= 0), np.array([*self.words, ""], dtype=object)
        own = np.array(self.ids.raw, dtype=object)[kept]
        return CatalogueMap(own, words[row[kept]], np.ones(len(kept)))


def finish(state: State, messages: Sequence[bytes]) -> Outcome:
    """Take the last messages and return what this party learns.

    Args:
        state: after all its messages are sent.
        messages: as `fedrec.align.party.expected` says.

    Raises:
        ProtocolError: if a message is not right, or the end is not reached yet.
    """
    last = receive_last(state, messages)
    names = state.agreement.parties
    sizes = {names[number]: size for number, size in sorted(state.sizes.items())}
    if state.agreement.mode == "union":
        return _union(state, sizes, next(iter(last.values())))
    if state.agreement.in_pair:
        return _pair(state, sizes, last[1 - state.me])
    held = {names[n]: _held(state.others, entries) for n, entries in last.items()}
    sizes |= {names[n]: len(entries) for n, entries in last.items()}
    return matched(state.ids, sizes, held, state.others)


def _held(own: Sequence[bytes], others: Sequence[bytes]) -> NDArray[np.bool_]:
    theirs = set(others)
    return np.fromiter((entry in theirs for entry in own), bool, len(own))


def _pair(state: State, sizes: Mapping[str, int], returned: list[bytes]) -> Outcome:
    check_returned(state, returned)
    name = state.agreement.parties[1 - state.me]
    found = _held(returned, state.others)
    if state.agreement.mode == "scope":
        return Outcome(state.ids, sizes, {name: int(found.sum())})
    by_key = dict(zip(state.order, returned, strict=True))
    pseudonyms = tuple(by_key[key] for key in range(len(returned)))
    held = np.zeros(len(found), bool)
    held[np.array(state.order)] = found
    return matched(state.ids, sizes, {name: held}, pseudonyms)


def matched(
    ids: Ids,
    sizes: Mapping[str, int],
    held: Mapping[str, NDArray[np.bool_]],
    pseudonyms: tuple[bytes, ...],
) -> Outcome:
    """Number what all have in the order of pseudonyms, which is the same for all.

    Args:
        ids: the own list.
        sizes: name -> length of a list.
        held: name of another party -> bool [n], which own keys it has.
        pseudonyms: 32 bytes of each own key.
    """
    shared = np.logical_and.reduce(list(held.values()))
    rows = np.full(len(shared), -1)
    chosen = sorted(np.flatnonzero(shared), key=lambda key: pseudonyms[key])
    rows[chosen] = np.arange(len(chosen))
    listing = tuple(pseudonyms[key] for key in chosen)
    common = {name: int(mask.sum()) for name, mask in held.items()}
    return Outcome(ids, sizes, common, shared, held, pseudonyms, rows, listing)


def _union(state: State, sizes: Mapping[str, int], union: list[bytes]) -> Outcome:
    """Find the own pseudonyms in the coordinator's list."""
    if union != sorted(union):
        raise ProtocolError("the coordinator's list of pseudonyms is not sorted: it was changed")
    place = {entry: row for row, entry in enumerate(union)}
    missing = sum(entry not in place for entry in state.others)
    if missing:
        raise ProtocolError(
            f"{missing:,} of {len(state.others):,} own pseudonyms are not in the coordinator's "
            "list: it was made of other messages. Ask for it again"
        )
    rows = np.fromiter((place[entry] for entry in state.others), np.int64, len(state.others))
    return Outcome(state.ids, sizes, pseudonyms=state.others, rows=rows, listing=tuple(union))
