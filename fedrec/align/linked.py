"""What becomes of links: common names of all cards, which both sides compute alike."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedrec.align.cards import Cards
from fedrec.align.link import Links, link
from fedrec.data.catalogue_map import WORD_DIGITS, CatalogueMap


@dataclass(frozen=True, eq=False)
class Linked:
    """The own cards of one side after linking.

    Attributes:
        names: object [N], a common name for each own card.
        confidence: float64 [N], 1 where nothing was guessed.
        partner: int64 [N], the linked card of the other side, -1 for none.
        listing: the names of both sides' cards, sorted: the shared item list.
        links: all pairs, the own side first.
    """

    names: NDArray[np.object_]
    confidence: NDArray[np.float64]
    partner: NDArray[np.int64]
    listing: tuple[str, ...]
    links: Links

    def catalogue_map(self, items: NDArray[np.object_]) -> CatalogueMap:
        """Return the map of own ids (object [N], in the order of the cards)."""
        return CatalogueMap(items, self.names, self.confidence)


def link_own(own: Cards, other: Cards, least: float) -> Linked:
    """Link own cards with another merchant's; the other, with the roles changed, finds the same.

    Args:
        own: of this side.
        other: of the other.
        least: links with less confidence are left alone: their items stay two.

    Raises:
        AlignmentError: if the cards were made with other keys or columns.
    """
    first = own.digest <= other.digest
    found = link(own, other) if first else link(other, own)
    mine, theirs = (found.one, found.other) if first else (found.other, found.one)
    sure = found.confidence >= least
    sides = (own, other) if first else (other, own)
    names = [side.names.copy() for side in sides]
    marks = [side.digest for side in sides]
    for number, held in enumerate(names):
        for place in np.flatnonzero(held == ""):
            held[place] = _word(b"alone", own.key, marks[number], int(place))
    for place, partner in zip(found.one[sure], found.other[sure], strict=True):
        word = _word(b"pair", own.key, marks[0] + marks[1], int(place))
        names[0][place] = names[1][partner] = word
    confidence, partners = np.ones(len(own)), np.full(len(own), -1)
    confidence[mine[sure]] = found.confidence[sure]
    partners[mine[sure]] = theirs[sure]
    listing = tuple(sorted({*names[0], *names[1]}))
    turned = Links(
        mine, theirs, found.score, found.lead, found.confidence, calibrated=found.calibrated
    )
    return Linked(names[0 if first else 1], confidence, partners, listing, turned)


def _word(what: bytes, key: bytes, sides: bytes, place: int) -> str:
    content = what + key + sides + place.to_bytes(8, "little")
    return hashlib.sha256(b"fedrec linked" + content).hexdigest()[:WORD_DIGITS]
