"""Membership of a user in the final model: LiRA, and a lower bound of epsilon.

Carlini et al., "Membership inference attacks from first principles" (IEEE S&P 2022):
many models are trained, each on a random half of the users; for every user the
scores of the models that have seen it and of those that have not are two Gaussians,
and the likelihood ratio under a model that is left out decides.  The attacker knows
the user's interactions and the final shared parameters, not the personal ones: it
fits a personal vector to them and takes the loss that is left.

A secure sum does not change the final model, so this audit is about noise alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta, norm

from fedrec.audit.rounds import OpenServer
from fedrec.audit.scoring import Floats, Interval, interval
from fedrec.audit.worlds import at_once, packed, remaining_loss, train, without_sampling
from fedrec.evaluation.bootstrap import poisson_weights
from fedrec.evaluation.leak_guard import evenly, one_user_each
from fedrec.privacy.policy import build_policy
from fedrec.rng import NO_CLIENT, Purpose, generator
from fedrec.training.node import Setup

LEAST_SHADOWS = 64
_TOLD = 32
_REPLICATES = 200
_RATES = (0.001, 0.01)

Triple = tuple[float, float, float]


@dataclass(frozen=True)
class Membership:
    """What the likelihood-ratio attack gets.

    Attributes:
        protection: "off" or the noise in force.
        shadows: models.
        users: users, each in half of the models.
        auc: area under the ROC curve.
        auc_interval: 95%, over users.
        tpr: false-positive rate -> true-positive rate.
        tpr_interval: false-positive rate -> 95% interval, over users.
        epsilon_low: lower bound of epsilon, at 95% (Clopper-Pearson).
        epsilon_seen: the same from the rates themselves, without an interval; no bound.
        epsilon_high: the upper end of the interval of what this one attack shows; no bound
            on epsilon.  Infinite if no false positive was seen.
        epsilon: the accountant's; None without noise.
        delta: at which both hold.
    """

    protection: str
    shadows: int
    users: int
    auc: float
    auc_interval: Interval
    tpr: dict[str, float]
    tpr_interval: dict[str, Interval]
    epsilon_low: float
    epsilon_seen: float
    epsilon_high: float
    epsilon: float | None
    delta: float

    def to_json(self) -> dict[str, object]:
        """Return an element of `membership` in audit.json."""
        return dict(self.__dict__)


def audit_membership(
    setup: Setup, open_server: OpenServer, *, noise: float, tell: Callable[[str], None]
) -> Membership:
    """Train shadow models and attack each with all others.

    Args:
        setup: the prepared configuration; clients are users.
        open_server: makes the server of each model.
        noise: noise multiplier of central noise; 0: none.
        tell: called with progress.

    Returns:
        The figures.
    """
    section = setup.config.audit
    counts = np.diff(setup.population.indptr)
    users = evenly(np.flatnonzero(counts), section.shadow_users)
    small = replace(setup, population=one_user_each(setup.population, users))
    small = replace(small, config=without_sampling(small, noise))
    members = halves(section.shadows, len(users), setup.config.run.seed)
    parts = []
    for numbers in at_once(small, len(members)):
        shared = train(packed(small, numbers), open_server, members[numbers])
        parts.append(remaining_loss(small, shared))
        done = int(numbers[-1]) + 1
        if done % _TOLD == 0 or done == len(members):
            tell(f"membership, {_called(noise)}: {done} of {len(members)} shadow models trained")
    policy = build_policy(small.config, len(users))
    epsilon = None
    if noise:
        from fedrec.privacy.calibrate import epsilon_of

        epsilon = epsilon_of(policy.event(len(users)), section.shadow_rounds, policy.delta)
    ratio = likelihood_ratio(logit(np.concatenate(parts)), members)
    return summarise(ratio, members, _called(noise), epsilon, policy.delta)


def _called(noise: float) -> str:
    return f"noise {noise:g}" if noise else "off"


def halves(shadows: int, users: int, seed: int) -> NDArray[np.bool_]:
    """Return which model has seen which user: every user is in half of them, bool [S, U]."""
    draws = generator(seed, 0, NO_CLIENT, Purpose.AUDIT).random((shadows, users))
    ranks = np.argsort(np.argsort(draws, axis=0), axis=0)
    half: NDArray[np.bool_] = ranks < shadows // 2
    return half


def logit(loss: Floats) -> Floats:
    """Return log(p / (1 - p)) of the likelihood p = exp(-loss) (Carlini et al., section V)."""
    bounded = np.maximum(loss, 1e-9)
    scaled: Floats = -bounded - np.log(-np.expm1(-bounded))
    return scaled


def likelihood_ratio(scores: Floats, members: NDArray[np.bool_]) -> Floats:
    """Return the log-likelihood ratio of membership, each model left out in turn.

    Args:
        scores: float64 [S, U].
        members: bool [S, U].

    Returns:
        float64 [S, U]; the Gaussians of a user have means of their own and, as models
        are few, one variance for in and one for out over all users.
    """
    means, spreads = [], []
    for where in (members, ~members):
        total = np.where(where, scores, 0.0).sum(0)
        own = np.where(where, scores, 0.0)
        count = np.maximum(where.sum(0) - where, 1)
        mean = (total - own) / count
        residual = np.where(where, scores - mean, 0.0)
        means.append(mean)
        spreads.append(np.sqrt((residual**2).sum() / max(1, where.sum())) + 1e-12)
    ratio: Floats = norm.logpdf(scores, means[0], spreads[0]) - norm.logpdf(
        scores, means[1], spreads[1]
    )
    return ratio


def summarise(
    ratio: Floats,
    members: NDArray[np.bool_],
    protection: str,
    epsilon: float | None,
    delta: float,
) -> Membership:
    """Turn likelihood ratios into figures with intervals over users."""
    shadows, users = ratio.shape
    everyone = np.ones(users)
    auc, tpr = roc(ratio, members, everyone)
    weights = poisson_weights(np.arange(users), _REPLICATES)
    replicates = [roc(ratio, members, weights[:, b]) for b in range(_REPLICATES)]
    return Membership(
        protection,
        shadows,
        users,
        auc,
        interval(np.array([a for a, _ in replicates])),
        {f"{rate:g}": tpr[i] for i, rate in enumerate(_RATES)},
        {f"{r:g}": interval(np.array([t[i] for _, t in replicates])) for i, r in enumerate(_RATES)},
        *epsilon_of_attack(ratio, members, delta),
        epsilon,
        delta,
    )


def roc(
    ratio: Floats, members: NDArray[np.bool_], weight: Floats
) -> tuple[float, tuple[float, ...]]:
    """Return the area under the ROC curve, and the true-positive rates at `_RATES`.

    Args:
        ratio: float64 [S, U].
        members: bool [S, U].
        weight: float64 [U], of the users.
    """
    order = np.argsort(-ratio, axis=None, kind="stable")
    each = np.broadcast_to(weight, ratio.shape).ravel()[order]
    real = members.ravel()[order]
    hit, miss = np.cumsum(each * real), np.cumsum(each * ~real)
    tpr, fpr = hit / max(hit[-1], 1e-12), miss / max(miss[-1], 1e-12)
    area = float(np.trapezoid(np.concatenate([[0.0], tpr]), np.concatenate([[0.0], fpr])))
    places = np.searchsorted(fpr, _RATES, side="right") - 1
    return area, tuple(float(tpr[p]) if p >= 0 else 0.0 for p in places)


def epsilon_of_attack(
    ratio: Floats, members: NDArray[np.bool_], delta: float
) -> tuple[float, float, float]:
    """Return what an attack shows of epsilon: a lower bound at 95%, the estimate, the upper end.

    Differential privacy bounds the true-positive rate by exp(epsilon) times the
    false-positive rate, plus delta (Kairouz et al., ICML 2015).  The threshold is chosen
    on one half of the models, and the side; on the other, one-sided Clopper-Pearson bounds of 97.5%
    each are put on both rates (Jagielski et al., NeurIPS 2020), which counts trials as
    independent; users of one model are not quite.

    Args:
        ratio: float64 [S, U].
        members: bool [S, U].
        delta: of the guarantee.
    """
    half = len(ratio) // 2
    choose, test = (ratio[:half], members[:half]), (ratio[half:], members[half:])
    thresholds = np.quantile(choose[0], np.linspace(0.005, 0.995, 200))
    found = [
        (_shown(*choose, float(t), delta, side), float(t), side)
        for t in thresholds
        for side in (True, False)
    ]
    _, threshold, side = max(found)
    return _shown(*test, threshold, delta, side)


def _shown(
    ratio: Floats, members: NDArray[np.bool_], threshold: float, delta: float, inside: bool
) -> Triple:
    """Return lower end, estimate and upper end, by finding members or those who are none."""
    above = ratio > threshold
    ins, outs = int(members.sum()), int((~members).sum())
    hits, alarms = int((above & members).sum()), int((above & ~members).sum())
    if inside:
        return _log_ratio(hits, ins, alarms, outs, delta)
    return _log_ratio(outs - alarms, outs, ins - hits, ins, delta)


def _log_ratio(good: int, of_good: int, bad: int, of_bad: int, delta: float) -> Triple:
    good_low, good_high = clopper_pearson(good, of_good)
    bad_low, bad_high = clopper_pearson(bad, of_bad)

    def log(numerator: float, denominator: float) -> float:
        if numerator <= delta:
            return 0.0
        return max(0.0, float(np.log((numerator - delta) / denominator))) if denominator else np.inf

    return log(good_low, bad_high), log(good / of_good, bad / of_bad), log(good_high, bad_low)


def clopper_pearson(successes: int, trials: int, level: float = 0.95) -> Interval:
    """Return the exact binomial interval (Clopper and Pearson 1934).

    Args:
        successes: k.
        trials: n, at least 1.
        level: two-sided confidence.
    """
    tail = (1.0 - level) / 2.0
    low = float(beta.ppf(tail, successes, trials - successes + 1)) if successes else 0.0
    high = 1.0
    if successes < trials:
        high = float(beta.ppf(1.0 - tail, successes + 1, trials - successes))
    return low, high
