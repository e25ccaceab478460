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

from fedrec.audit.rounds import OpenServer, begin, put_back
from fedrec.audit.scoring import Floats, Interval, interval
from fedrec.config import Config, Scalar
from fedrec.data.batches import draw_samples
from fedrec.evaluation.bootstrap import poisson_weights
from fedrec.evaluation.leak_guard import evenly, one_user_each
from fedrec.params import Shared
from fedrec.privacy.policy import build_policy
from fedrec.rng import NO_CLIENT, Purpose, generator
from fedrec.training.local import train_cohort
from fedrec.training.methods import Method, Phase
from fedrec.training.node import Setup, train_node

LEAST_SHADOWS = 64
_SAMPLES_ROUND = 2**20  # a round of no run: the attacker draws negatives of its own
_REPLICATES = 200
_FIT = (
    Phase(shared=False, batch=0, epochs=20, optimizer="adam", personal_lr=0.1),
    Phase(shared=False, batch=0, epochs=1, optimizer="adam", personal_lr=0.0),  # the loss left
)
_RATES = (0.001, 0.01)


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
    small = replace(small, config=_private(small, noise))
    members = halves(section.shadows, len(users), setup.config.run.seed)
    scores = np.zeros(members.shape)
    for number, mask in enumerate(members):
        shared = _train(small, open_server, np.flatnonzero(mask), number)
        scores[number] = remaining_loss(small, shared)
        if (number + 1) % 16 == 0:
            tell(f"membership: {number + 1} of {len(members)} shadow models trained")
    policy = build_policy(small.config, len(users))
    epsilon = None
    if noise:
        from fedrec.privacy.calibrate import epsilon_of

        epsilon = epsilon_of(policy.event(len(users)), section.shadow_rounds, policy.delta)
    ratio = likelihood_ratio(logit(scores), members)
    return summarise(ratio, members, f"noise {noise:g}" if noise else "off", epsilon, policy.delta)


def _private(setup: Setup, noise: float) -> Config:
    """Return the configuration of shadow models: all members train in every round."""
    changed: dict[str, Scalar] = {
        "clients.sampling": "all",
        "clients.availability": 1.0,
        "clients.dropout": 0.0,
        "train.rounds": setup.config.audit.shadow_rounds,
        "privacy.mechanism": "off",
        "privacy.clip": 0.0,
        "privacy.row_clip": 0.0,
        "privacy.noise_multiplier": 0.0,
        "privacy.epsilon": 0.0,
        "server.min_clients": 1,
    }
    if noise:
        clip = setup.config.privacy.clip or 1.0
        changed |= {
            "privacy.mechanism": "central",
            "privacy.clip": clip,
            "privacy.clip_mode": "fixed",
            "privacy.noise_multiplier": noise,
            "server.weighting": "equal",
            "server.checkpoint_every": 1,
        }
        if setup.config.server.rows == "touching":
            changed["server.rows"] = "mean"
    return setup.config.with_(changed)


def halves(shadows: int, users: int, seed: int) -> NDArray[np.bool_]:
    """Return which model has seen which user: every user is in half of them, bool [S, U]."""
    draws = generator(seed, 0, NO_CLIENT, Purpose.AUDIT).random((shadows, users))
    ranks = np.argsort(np.argsort(draws, axis=0), axis=0)
    half: NDArray[np.bool_] = ranks < shadows // 2
    return half


def _train(
    setup: Setup, open_server: OpenServer, clients: NDArray[np.int64], number: int
) -> Shared:
    """Train one shadow model on some users, with a seed of its own."""
    config = setup.config.with_({"run.seed": (setup.config.run.seed + 1 + number) % 2**31})
    own = replace(setup, config=config)
    state = begin(own)
    server = open_server(own, state.shared)
    for round_number in range(1, config.audit.shadow_rounds + 1):
        total, new = train_node(
            own, state.shared, state.personal.take(clients), clients, round_number
        )
        shared = server.apply(state.shared, total, round_number)
        state = replace(state, shared=shared, personal=put_back(state.personal, clients, new))
    return state.shared


def remaining_loss(setup: Setup, shared: Shared) -> Floats:
    """Return each user's mean loss after a personal vector has been fitted, float64 [U]."""
    seed, sampling = setup.config.run.seed, setup.method.sampling
    users = np.arange(setup.population.num_users)
    samples = draw_samples(setup.population, users, seed, _SAMPLES_ROUND, sampling)
    method = Method("fit", _FIT, sampling, "mean")
    personal = setup.model.init_personal(users, seed)
    return train_cohort(setup.model, shared, personal, samples, method).loss


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
        epsilon_low(ratio, members, delta),
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


def epsilon_low(ratio: Floats, members: NDArray[np.bool_], delta: float) -> float:
    """Return a lower bound of epsilon at 95% confidence.

    Differential privacy bounds the true-positive rate by exp(epsilon) times the
    false-positive rate, plus delta (Kairouz et al., ICML 2015).  The threshold is chosen
    on one half of the models; on the other, one-sided Clopper-Pearson bounds of 97.5%
    each are put on both rates (Jagielski et al., NeurIPS 2020), which counts trials as
    independent; users of one model are not quite.

    Args:
        ratio: float64 [S, U].
        members: bool [S, U].
        delta: of the guarantee.
    """
    half = len(ratio) // 2
    thresholds = np.quantile(ratio[:half], np.linspace(0.005, 0.995, 200))
    best = max(thresholds, key=lambda t: _bound(ratio[:half], members[:half], t, delta))
    return max(0.0, _bound(ratio[half:], members[half:], float(best), delta))


def _bound(ratio: Floats, members: NDArray[np.bool_], threshold: float, delta: float) -> float:
    above = ratio > threshold
    ins, outs = int(members.sum()), int((~members).sum())
    hits, alarms = int((above & members).sum()), int((above & ~members).sum())
    pairs = ((hits, ins, alarms, outs), (outs - alarms, outs, ins - hits, ins))
    return max(_log_ratio(*pair, delta) for pair in pairs)


def _log_ratio(good: int, of_good: int, bad: int, of_bad: int, delta: float) -> float:
    low, high = clopper_pearson(good, of_good)[0], clopper_pearson(bad, of_bad)[1]
    return float(np.log((low - delta) / high)) if low > delta and high > 0 else 0.0


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
