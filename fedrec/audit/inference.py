"""Support, sign and singletons: what can be read directly off the server's view."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedrec.audit.scoring import Attack, Floats, Scores, auc, combine, set_metrics, standard
from fedrec.audit.views import View
from fedrec.robust.updates import Updates

Bools = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Target:
    """Clients about whom something is guessed, and the truth about them.

    Attributes:
        clients: int64 [C], ascending.
        interactions: bool [C, I], what they have interacted with.
        touched: bool [C, I], rows that their training touches (negatives included).
    """

    clients: NDArray[np.int64]
    interactions: Bools
    touched: Bools

    def take(self, index: NDArray | slice) -> Target:
        """Return some of the clients, by position, mask or slice."""
        return Target(self.clients[index], self.interactions[index], self.touched[index])


def guess_support(view: View) -> Bools:
    """Guess that all visible rows are interactions, bool [C or 1, I].

    A row is visible if it is not zero or, under noise, if its norm is one that noise
    alone has for one item on average.
    """
    parts = [np.linalg.norm(rows, axis=-1) > view.floor for _, rows in view.blocks()]
    return np.concatenate(parts)


def support(view: View, target: Target) -> dict[str, Attack]:
    """Attack the support: which items has a client interacted with?

    Args:
        view: what is seen.
        target: clients of the round, as in the view.

    Returns:
        metric -> scores.  Guessing is the same attack on the sum without the client, or
        with the update of somebody else.
    """
    secure = view.protection.secure
    guess = guess_support(view)
    found = set_metrics(guess, target.interactions)
    swapped = guess_support(view.without()) if secure else np.roll(guess, 1, axis=0)
    others = set_metrics(swapped, target.interactions)
    told = set_metrics(published(view)[None], target.interactions) if secure else {}
    return {
        name: Attack(
            Scores(target.clients, values),
            Scores(target.clients, others[name][0]),
            float(chance.mean()),
            Scores(target.clients, told[name][0]) if told else None,
        )
        for name, (values, chance) in found.items()
    }


def published(view: View) -> Bools:
    """Return the rows that clients touch and the threshold lets through, bool [I]."""
    return view.counts >= max(1, view.protection.threshold)


def sign_scores(view: View, known: NDArray, negatives: int) -> Floats:
    """Score every row by how much it looks like a positive's, float64 [C or 1, I].

    With a dot product and the logistic loss the gradient of an item row is
    (sigma - y) times the user vector, plus a decay towards zero whose direction the
    server knows: it is its own row.  Without the part along it, rows of positives and
    of negatives point in opposite directions, and the projection on the first
    principal direction separates them.  Positives are on the side with fewer rows, or,
    with one negative for each positive, on the side that more clients touch.

    Args:
        view: what is seen.
        known: float32 [I, D], the server's own rows.
        negatives: sampled for each positive; a public hyper-parameter.
    """
    unit = known / np.maximum(np.linalg.norm(known, axis=-1, keepdims=True), 1e-30)
    parts, norms = [], []
    for _, rows in view.blocks():
        norms.append(np.linalg.norm(rows, axis=-1))
        gram = np.einsum("bid,bie->bde", rows, rows, optimize=True)
        direction = np.linalg.eigh(gram)[1][..., -1]
        parts.append(_project(rows, unit, direction))
    scores, sizes = np.concatenate(parts).astype(np.float64), np.concatenate(norms)
    above, below = scores > 0, scores < 0
    if negatives >= 2:
        side = np.sign(below.sum(1) - above.sum(1))
    else:
        seen = sizes if view.protection.secure else (sizes > view.floor).sum(0)[None]
        means = [(where * seen).sum(1) / np.maximum(where.sum(1), 1) for where in (above, below)]
        side = np.sign(means[0] - means[1])
    return scores * np.where(side == 0, 1.0, side)[:, None]


def _project(rows: NDArray, unit: NDArray, direction: NDArray) -> NDArray:
    """Return each row's coefficient of `direction` beside its own decay, [b, I].

    Least squares of a row on two vectors, the direction and the known unit row.
    """
    along = np.einsum("bid,bd->bi", rows, direction)
    decay = np.einsum("bid,id->bi", rows, unit)
    overlap = direction @ unit.T
    return (along - overlap * decay) / np.maximum(1.0 - overlap**2, 1e-3)


def sign(view: View, target: Target, known: NDArray, negatives: int) -> dict[str, Attack]:
    """Attack the sign: which touched rows are positives, which are sampled negatives?

    Args:
        view: what is seen.
        target: clients of the round, as in the view.
        known: float32 [I, D], the server's own rows.
        negatives: sampled for each positive.

    Returns:
        As `support`: "auc" among the rows that the view shows of a client (under a sum
        or noise these are all items), "auc, rows told" of an attacker who knows from
        elsewhere which rows a client touches and, of a sum, "auc, rows and counts told"
        of one who weighs the values of the sum with its counts.
    """
    secure = view.protection.secure
    scores = sign_scores(view, known, negatives)
    swapped = sign_scores(view.without(), known, negatives) if secure else np.roll(scores, 1, 0)
    counts = np.log1p(view.counts.astype(np.float64))[None]
    shown = not secure and not view.deviation

    def area(evidence: Floats, told: bool) -> Scores:
        among = target.touched if told else np.ones_like(target.touched)
        spread = np.broadcast_to(evidence, among.shape)
        return Scores(target.clients, auc(spread, target.interactions & among, among))

    def attack(mine: Floats, others: Floats, told: bool) -> Attack:
        side = area(counts, told) if secure else None
        return Attack(area(mine, told), area(others, told), 0.5, side)

    found = {
        "auc": attack(scores, swapped, shown),
        "auc, rows told": attack(scores, swapped, True),
    }
    if secure:
        both = weighed(scores, counts, target, scores)
        rest = weighed(scores, counts, target, swapped)
        found["auc, rows and counts told"] = attack(both, rest, True)
    return found


def weighed(scores: Floats, counts: Floats, target: Target, apply_to: Floats) -> Floats:
    """Weigh values of a sum with its counts, by clients whose truth is known.

    Args:
        scores: float64 [C or 1, I], evidence of the values; the weights follow from it.
        counts: float64 [1, I], evidence of the counts.
        target: the clients, and which rows they touch.
        apply_to: like `scores`, evidence that is scored.

    Returns:
        float64 [C, I]; 0 in rows that a client does not touch.
    """
    client, ids = np.nonzero(target.touched)

    def evidence(values: Floats) -> Floats:
        both = (np.broadcast_to(v, target.touched.shape)[client, ids] for v in (values, counts))
        return np.stack([standard(v, client) for v in both])

    positive = target.interactions[client, ids]
    out = np.zeros(target.touched.shape)
    out[client, ids] = combine(evidence(scores), positive, client, evidence(apply_to))
    return out


def singletons(
    updates: Updates, view: View, pairs: tuple[NDArray[np.int64], NDArray[np.int32]]
) -> dict[str, Scores | float]:
    """Measure rows in the sum that one client alone has contributed to.

    The server sees such a row of a single user unchanged, secure sum or not.

    Args:
        updates: of all clients of the round.
        view: for the rows that a threshold hides.
        pairs: int [T] each, position of the client and item of their interactions.

    Returns:
        "rows": share of the touched rows; "users": whether a client has such a row;
        "interactions": share of a client's interactions on such rows.
    """
    counts, everyone = updates.counts, len(updates.clients)
    alone = (counts == 1) & ~view.hidden
    owner, items = pairs
    has = np.bincount(updates.client, alone[updates.ids], everyone) > 0
    hits = np.bincount(owner, alone[items], everyone)
    share = hits / np.maximum(np.bincount(owner, minlength=everyone), 1)
    return {
        "rows": float(alone.sum() / max(1, (counts > 0).sum())),
        "users": Scores(updates.clients, has.astype(np.float64)),
        "interactions": Scores(updates.clients, share),
    }
