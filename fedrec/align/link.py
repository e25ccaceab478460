"""Items without a common id, linked by their cards, each with a confidence.

Cards are compared by TF-IDF (Spärck Jones 1972) and cosine; among the likeliest partners of
each item one is chosen so that every card is used once and the sum of similarities is
largest.  The confidence is a logistic function of a pair's similarity and of its lead over
the next best, fitted on pairs that are known (matched by an identifier before): half of them
are tried with their partner taken away, so that a wrong choice is seen as well.  How many of
the others have a partner at all is estimated from them (Saerens, Latinne and Decaestecker,
Neural Computation 2002).  Linkage as a decision under known and unknown pairs: Fellegi and
Sunter 1969.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, hstack, vstack

from fedrec.align.cards import Cards
from fedrec.errors import AlignmentError

KEPT, FLOOR = 20, 0.2
LEAST_KNOWN = 40
"""Known pairs that a calibration needs."""
_TEMPERATURE, _RIDGE, _BLOCK, _SWEEPS = 0.05, 1e-3, 2048, 50
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Links:
    """L pairs of cards, every card in one at most.

    Attributes:
        one: int64 [L], number of the card of the first side.
        other: int64 [L], of the second.
        score: float64 [L], cosine, 0 to 1.
        lead: float64 [L], the score less the best other score of either card.
        confidence: float64 [L], 0 to 1.
        calibrated: whether known pairs were enough to fit the confidence; else it is a share
            of similarity that only orders pairs.
    """

    one: Ints
    other: Ints
    score: Floats
    lead: Floats
    confidence: Floats
    calibrated: bool = False

    def __len__(self) -> int:
        return len(self.one)


def link(one: Cards, other: Cards) -> Links:
    """Link the cards that have no common name yet.

    Args:
        one: of one merchant.
        other: of another.

    Raises:
        AlignmentError: if the cards were made with other keys or columns.
    """
    if one.key != other.key:
        raise AlignmentError("these cards were made with different keys: agree on one (--key)")
    if list(one.fields) != list(other.fields):
        raise AlignmentError(
            f"these cards are of different columns ({', '.join(one.fields)}; "
            f"{', '.join(other.fields)}): agree on the same, in one order"
        )
    left, right = _weighed(one, other)
    open_one, open_other = np.flatnonzero(one.names == ""), np.flatnonzero(other.names == "")
    found = _assign(left[open_one], right[open_other])
    fitted = _calibrate(one, other, left, right)
    told = replace(found, one=open_one[found.one], other=open_other[found.other])
    if fitted is None:
        return told
    return replace(told, confidence=_shifted(fitted, found), calibrated=True)


def _weighed(one: Cards, other: Cards) -> tuple[csr_matrix, csr_matrix]:
    """Return TF-IDF rows of length 1 of both sides, all columns beside each other."""
    parts = []
    for name in one.fields:
        bags = vstack([one.fields[name], other.fields[name]]).tocsr()
        bags.data = 1.0 + np.log(bags.data)
        seen = np.bincount(bags.indices, minlength=bags.shape[1])
        rare = np.log((1.0 + bags.shape[0]) / (1.0 + seen)) + 1.0
        bags.data = bags.data * rare[bags.indices]
        parts.append(_of_length_one(bags))
    both = _of_length_one(hstack(parts).tocsr())
    return both[: len(one)], both[len(one) :]


def _of_length_one(rows: csr_matrix) -> csr_matrix:
    squares = np.asarray(rows.multiply(rows).sum(axis=1)).ravel()
    found: csr_matrix = rows.copy()
    found.data = found.data / np.repeat(np.sqrt(np.maximum(squares, 1e-12)), np.diff(rows.indptr))
    return found


def _likeliest(left: csr_matrix, right: csr_matrix) -> csr_matrix:
    """Return the KEPT largest cosines of each row above FLOOR, [n, m]."""
    turned, parts = right.T.tocsr(), []
    for at in range(0, left.shape[0], _BLOCK):
        block = (left[at : at + _BLOCK] @ turned).tocsr()
        block.data[block.data < FLOOR] = 0.0
        block.eliminate_zeros()
        row = np.repeat(np.arange(block.shape[0]), np.diff(block.indptr))
        order = np.lexsort((block.indices, -block.data, row))
        place = np.arange(len(row)) - block.indptr[row[order]]
        kept = order[place < KEPT]
        cells = (block.data[kept], (row[kept], block.indices[kept]))
        parts.append(csr_matrix(cells, block.shape))
    return vstack(parts).tocsr() if parts else csr_matrix((0, right.shape[0]))


def _assign(left: csr_matrix, right: csr_matrix) -> Links:
    """Choose pairs one to one; a card without a partner above FLOOR stays alone."""
    from scipy.sparse.csgraph import min_weight_full_bipartite_matching

    likely = _likeliest(left, right)
    rows, columns = likely.shape
    if not likely.nnz:
        none = np.zeros(0)
        return Links(none.astype(np.int64), none.astype(np.int64), none, none, none)
    alone = csr_matrix((np.full(rows, 1.0 + 1e-6), (np.arange(rows), np.arange(rows))))
    costs = likely.copy()
    costs.data = 1.0 + 1e-6 - (costs.data - FLOOR)
    chosen, partner = min_weight_full_bipartite_matching(hstack([costs, alone]).tocsr())
    paired = partner < columns
    row: Ints = np.asarray(chosen[paired], np.int64)
    column: Ints = np.asarray(partner[paired], np.int64)
    score = np.asarray(likely[row, column], np.float64).ravel()
    rival = np.maximum(_rival(likely, row, column), _rival(likely.T.tocsr(), column, row))
    share = np.exp(score / _TEMPERATURE)
    share /= share + np.exp(rival / _TEMPERATURE) + np.exp(FLOOR / _TEMPERATURE)
    return Links(row, column, score, score - rival, share)


def _rival(likely: csr_matrix, row: Ints, column: Ints) -> Floats:
    """Return the best cosine of each row but the chosen one, 0 if there is none."""
    cells, chosen = likely.tocoo(), np.full(likely.shape[0], -1)
    chosen[row] = column
    rest = cells.col != chosen[cells.row]
    best = np.zeros(likely.shape[0])
    np.maximum.at(best, cells.row[rest], cells.data[rest])
    return best[row]


def _features(found: Links) -> Floats:
    return np.stack([np.ones(len(found)), found.score, found.lead], axis=1)


def _calibrate(
    one: Cards, other: Cards, left: csr_matrix, right: csr_matrix
) -> tuple[Floats, float] | None:
    """Fit weights on known pairs; returns them and the share of right pairs among these."""
    place = {name: number for number, name in enumerate(other.names) if name}
    partner = np.array([place.get(name, -1) for name in one.names], np.int64)
    known = np.flatnonzero(partner >= 0)
    if len(known) < LEAST_KNOWN:
        return None
    pool = np.ones(len(other), bool)
    pool[partner[known[::2]]] = False  # their partner is taken away; cards lie in no order
    kept = np.flatnonzero(pool)
    found = _assign(left, right[kept])
    tried = partner[found.one] >= 0
    right_one = kept[found.other] == partner[found.one]
    share = float(right_one[tried].mean()) if tried.any() else 0.0
    if not 0 < share < 1:
        return None
    return _logistic(_features(found)[tried], right_one[tried].astype(np.float64)), share


def _logistic(x: Floats, y: Floats) -> Floats:
    """Return weights [3] of a logistic regression, by Newton's method with a small ridge."""
    weights = np.zeros(x.shape[1])
    for _ in range(_SWEEPS):
        p = _sigmoid(x @ weights)
        slope = x.T @ (p - y) + _RIDGE * weights
        curve = (x * (p * (1 - p))[:, None]).T @ x + _RIDGE * np.eye(len(weights))
        step = np.linalg.solve(curve, slope)
        weights = weights - step * min(1.0, 5.0 / max(float(np.abs(step).max()), 1e-12))
        if np.abs(step).max() < 1e-9:
            break
    return weights


def _sigmoid(x: Floats) -> Floats:
    from scipy.special import expit

    found: Floats = expit(x)
    return found


def _shifted(fitted: tuple[Floats, float], found: Links) -> Floats:
    """Return confidences for pairs among which another share is right than where it was fitted."""
    weights, before = fitted
    p = _sigmoid(_features(found) @ weights)
    share, told = before, p
    for _ in range(_SWEEPS):
        for_it, against = p * share / before, (1 - p) * (1 - share) / (1 - before)
        told = for_it / np.maximum(for_it + against, 1e-300)
        share = float(np.clip(told.mean(), 1e-3, 1 - 1e-3)) if len(told) else share
    return told
