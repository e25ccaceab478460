"""Figures of an attack for each client, with intervals over clients.

An attack is measured against guessing.  `random` is what a guess of the same size
that knows nothing gets.  `guess` is stricter: what the very same attack gets about
the same client from a sum in which it did not take part (where single updates are
visible: from somebody else's update).  Others' updates tell which items are popular,
which is not about anybody; only what they miss is individual, and a leak.  `side` is
what an attacker gets who sees no update at all, only how many clients touch each row:
what it lacks is what the values of a sum add, about anybody.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from fedrec.evaluation.bootstrap import poisson_weights
from fedrec.evaluation.sums import LEVEL

Floats = NDArray[np.float64]
Interval = tuple[float, float]
NONE: Interval = (float("nan"), float("nan"))


@dataclass(frozen=True)
class Measurement:
    """One figure of one attack on one view.

    Attributes:
        audit: "support", "sign", "interaction" or "singletons".
        samples: "as trained" or "no negatives".
        round_number: that was attacked.
        protection: name of the protection in force.
        metric: "precision", "recall", "f1", "auc", ...
        value: mean over clients.
        interval: 95%, over clients.
        guess: the same of guessing; NaN if it is not defined.
        guess_interval: its 95% interval.
        random: the same of a guess that knows nothing; NaN if it is not defined.
        difference: 95% interval of value - guess: what is individual.
        clients: clients that the mean is over.
        side: the same of the counts of a sum alone; NaN if it is not defined.
        side_interval: its 95% interval.
        gain: 95% interval of value - side: what the values of the sum add to its counts.
    """

    audit: str
    samples: str
    round_number: int
    protection: str
    metric: str
    value: float
    interval: Interval
    guess: float
    guess_interval: Interval
    random: float
    difference: Interval
    clients: int
    side: float = float("nan")
    side_interval: Interval = NONE
    gain: Interval = NONE

    @property
    def verdict(self) -> str:
        """Return "better than guessing", "no better than guessing" or ""."""
        low = self.difference[0]
        if low != low:
            return ""
        return "better than guessing" if low > 0 else "no better than guessing"

    def to_json(self) -> dict[str, object]:
        """Return an element of `measurements` in audit.json."""
        return {**self.__dict__, "verdict": self.verdict}


@dataclass(frozen=True, eq=False)
class Scores:
    """A metric of some clients.

    Attributes:
        clients: int64 [C], their numbers, which address the bootstrap weights.
        values: float64 [C]; NaN where it is not defined.
    """

    clients: NDArray[np.int64]
    values: Floats

    def mean(self) -> float:
        """Return the mean over clients that have one; NaN without any."""
        kept = self.values[np.isfinite(self.values)]
        return float(kept.mean()) if len(kept) else float("nan")

    def replicates(self, count: int) -> Floats:
        """Return bootstrap means, float64 [count]."""
        kept = np.isfinite(self.values)
        weights = poisson_weights(self.clients[kept], count)
        with np.errstate(invalid="ignore"):
            return (self.values[kept] @ weights) / weights.sum(0)

    def take(self, index: NDArray) -> Scores:
        """Return the scores of some clients, by position or mask."""
        return Scores(self.clients[index], self.values[index])


@dataclass(frozen=True, eq=False)
class Attack:
    """Scores of one attack.

    Attributes:
        value: of the clients that are attacked.
        guess: of guessing; None if it is not defined.
        random: mean of a guess that knows nothing.
        side: of the same clients, from counts alone; None if it is not defined.
    """

    value: Scores
    guess: Scores | None
    random: float
    side: Scores | None = None


def interval(replicates: Floats) -> Interval:
    """Return the 95% percentile interval of bootstrap replicates; NaN without any."""
    finite = replicates[np.isfinite(replicates)]
    if not len(finite):
        return NONE
    tail = 100.0 * (1.0 - LEVEL) / 2.0
    low, high = np.percentile(finite, [tail, 100.0 - tail])
    return float(low), float(high)


def compare(
    attack: Scores, guess: Scores | None, replicates: int
) -> tuple[float, Interval, float, Interval, Interval]:
    """Compare an attack with guessing.

    Scores of the same clients share their weights, so that they are paired; scores of
    other clients are independent.

    Returns:
        value, interval, guess, its interval, and the interval of the difference.
    """
    mine = attack.replicates(replicates)
    if guess is None:
        return attack.mean(), interval(mine), float("nan"), NONE, NONE
    theirs = guess.replicates(replicates)
    return attack.mean(), interval(mine), guess.mean(), interval(theirs), interval(mine - theirs)


def set_metrics(
    guess: NDArray[np.bool_], truth: NDArray[np.bool_]
) -> dict[str, tuple[Floats, Floats]]:
    """Score sets of guessed items.

    Args:
        guess: bool [C or 1, I].
        truth: bool [C, I].

    Returns:
        "precision", "recall", "f1" -> float64 [C] of the guess, and the expectation
        for a random set of the same size.  An empty guess has precision 0.
    """
    num_items = truth.shape[1]
    size = np.broadcast_to(guess.sum(1), len(truth)).astype(np.float64)
    positives = truth.sum(1).astype(np.float64)
    hits = (guess & truth).sum(1).astype(np.float64)
    expected = size * positives / num_items

    def three(found: Floats) -> dict[str, Floats]:
        return {
            "precision": found / np.maximum(size, 1.0),
            "recall": found / np.maximum(positives, 1.0),
            "f1": 2.0 * found / np.maximum(size + positives, 1.0),
        }

    real, chance = three(hits), three(expected)
    return {name: (real[name], chance[name]) for name in real}


def auc(scores: Floats, positive: NDArray[np.bool_], among: NDArray[np.bool_]) -> Floats:
    """Return each client's area under the ROC curve, ties counted half.

    Args:
        scores: float [C, I], finite.
        positive: bool [C, I].
        among: bool [C, I], the items that are told apart.

    Returns:
        float64 [C]; NaN for a client without a positive or without a negative.
    """
    ranks = rankdata(np.where(among, scores, -np.inf), axis=1)
    outside = (~among).sum(1)
    positives = (positive & among).sum(1).astype(np.float64)
    negatives = (among & ~positive).sum(1).astype(np.float64)
    total = np.where(positive & among, ranks - outside[:, None], 0.0).sum(1)
    pairs = positives * negatives
    area = total - positives * (positives + 1.0) / 2.0
    return np.divide(area, pairs, out=np.full(len(pairs), np.nan), where=pairs > 0)


def combine(
    features: Floats, positive: NDArray[np.bool_], owner: NDArray[np.int64], apply_to: Floats
) -> Floats:
    """Weigh pieces of evidence as an attacker does who knows the truth about others.

    Fisher's linear discriminant, with the classes' common covariance, of one half of the
    clients scores the other half.

    Args:
        features: float64 [F, T], evidence about pairs of client and item.
        positive: bool [T].
        owner: int64 [T], position of the client of each pair.
        apply_to: float64 [F, T], evidence that is scored.

    Returns:
        float64 [T].
    """
    out = np.zeros(features.shape[1])
    for half in (0, 1):
        learn, score = owner % 2 != half, owner % 2 == half
        good, bad = features[:, learn & positive], features[:, learn & ~positive]
        if min(good.shape[1], bad.shape[1]) < 2:
            continue
        within = (np.cov(good) * good.shape[1] + np.cov(bad) * bad.shape[1]) / learn.sum()
        gap = good.mean(1) - bad.mean(1)
        out[score] = np.linalg.lstsq(within, gap, rcond=None)[0] @ apply_to[:, score]
    return out


def standard(values: Floats, owner: NDArray[np.int64]) -> Floats:
    """Centre and scale values within each client.

    Args:
        values: float64 [T].
        owner: int64 [T], position of the client of each.
    """
    count = np.maximum(np.bincount(owner), 1)
    centred = values - (np.bincount(owner, values) / count)[owner]
    spread = np.sqrt(np.bincount(owner, centred**2) / count)
    scaled: Floats = centred / np.maximum(spread, 1e-12)[owner]
    return scaled
