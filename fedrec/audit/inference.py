"""Support, sign and singletons: what can be read directly off the server's view."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedrec.audit.rounds import Updates
from fedrec.audit.scoring import Floats, Scores, auc, set_metrics
from fedrec.audit.views import View

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


def support(
    view: View, target: Target, bystanders: Target
) -> dict[str, tuple[Scores, Scores | None, float]]:
    """Attack the support: which items has a client interacted with?

    Args:
        view: what the server sees.
        target: clients of the round, as in the view.
        bystanders: clients that are not in the round.

    Returns:
        metric -> scores, scores of guessing, and mean of a random set of the same
        size.  Single updates are guessed by swapping them among clients.
    """
    guess = guess_support(view)
    found = set_metrics(guess, target.interactions)
    if view.protection.secure:
        others, clients = set_metrics(guess, bystanders.interactions), bystanders.clients
    else:  # somebody else's update knows popularity too
        others = set_metrics(np.roll(guess, 1, axis=0), target.interactions)
        clients = target.clients
    return {
        name: (
            Scores(target.clients, values),
            Scores(clients, others[name][0]),
            float(chance.mean()),
        )
        for name, (values, chance) in found.items()
    }


def sign_scores(view: View, known: NDArray, negatives: int) -> Floats:
    """Score every row by how much it looks like a positive's, float64 [C or 1, I].

    With a dot product and the logistic loss the gradient of an item row is
    (sigma - y) times the user vector, plus a decay towards zero whose direction the
    server knows: it is its own row.  Without the part along it, rows of positives and
    of negatives point in opposite directions, and the projection on the first
    principal direction separates them.  Positives are on the side with fewer rows, or,
    with one negative for each positive, on the side that more clients touch.

    Args:
        view: what the server sees.
        known: float32 [I, D], the server's own rows.
        negatives: sampled for each positive; a public hyper-parameter.
    """
    unit = known / np.maximum(np.linalg.norm(known, axis=-1, keepdims=True), 1e-30)
    parts, seen = [], np.zeros(len(view.hidden))
    for _, rows in view.blocks():
        norms = np.linalg.norm(rows, axis=-1)
        seen += norms[0] if view.protection.secure else (norms > view.floor).sum(0)
        gram = np.einsum("bid,bie->bde", rows, rows, optimize=True)
        direction = np.linalg.eigh(gram)[1][..., -1]
        parts.append(_project(rows, unit, direction))
    scores = np.concatenate(parts).astype(np.float64)
    above, below = scores > 0, scores < 0
    if negatives >= 2:
        side = np.sign(below.sum(1) - above.sum(1))
    else:
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


def sign(
    view: View, target: Target, bystanders: Target, known: NDArray, negatives: int
) -> dict[str, tuple[Scores, Scores | None, float]]:
    """Attack the sign: which touched rows are positives, which are sampled negatives?

    Args:
        view: what the server sees.
        target: clients of the round, as in the view.
        bystanders: clients that are not in the round.
        known: float32 [I, D], the server's own rows.
        negatives: sampled for each positive.

    Returns:
        As `support`: "auc" among the rows that the view shows of a client (under a sum
        or noise these are all items), and "auc, rows told" of an attacker who knows
        from elsewhere which rows a client touches.
    """
    scores = sign_scores(view, known, negatives)
    secure = view.protection.secure
    theirs = bystanders if secure else target
    swapped = scores if secure else np.roll(scores, 1, axis=0)
    shown = not secure and not view.deviation

    def pair(told: bool) -> tuple[Scores, Scores | None, float]:
        mine = auc(*_spread(scores, target, told))
        others = auc(*_spread(swapped, theirs, told))
        return Scores(target.clients, mine), Scores(theirs.clients, others), 0.5

    return {"auc": pair(shown), "auc, rows told": pair(True)}


def _spread(scores: Floats, target: Target, told: bool) -> tuple[Floats, Bools, Bools]:
    among = target.touched if told else np.ones_like(target.touched)
    return np.broadcast_to(scores, among.shape), target.interactions & among, among


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
