"""A mixture of strategies that moves from one to another as a stranger reveals more.

The scores of each strategy are standardised over items, user by user, and added with weights
that depend on how many interactions the user has revealed.  Weights of each k are those of a
conditional logit (McFadden 1974) on validation strangers: non-negative, and such that the
items that these met next are likeliest among all that they could have met.  The likelihood
is a sum over users and concave, so few users choose well: hill climbing on NDCG over the same
users followed their chance.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fedrec.coldstart.on_device import standard, weights_place
from fedrec.coldstart.strangers import strangers
from fedrec.coldstart.strategy import Strategy
from fedrec.config_coldstart import WHOLE, revealed
from fedrec.data.population import HeldOut, Population, expand
from fedrec.errors import ConfigError, DataError
from fedrec.models.export_starts import Kept
from fedrec.training.node import Setup
from fedrec.training.scorer import Scorer

MIXTURE = "mixture"

_L2 = 3e-3  # on the weights: of strategies that say the same, each gets a share
_FEWEST = 10  # validation strangers without whom the weights of the next smaller k stay
_CELLS = 2**26  # scores of validation strangers that are held at once, 256 MiB

Weights = dict[int, dict[str, float]]
"""k (`WHOLE` for more than the largest) -> strategy -> weight; weights sum to one."""


@dataclass(frozen=True, eq=False)
class Choices:
    """What validation strangers met next, and what else they could have met.

    Attributes:
        scores: standardised scores, float32 [V, I, N] of N strategies.
        met: int64 [V, n], the items that are to be found.
        seen: bool [V, I], what the stranger had met before, which is no candidate.
    """

    scores: NDArray[np.float32]
    met: NDArray[np.int64]
    seen: NDArray[np.bool_]


def learn(setup: Setup, strategies: Mapping[str, Strategy], reveal: str = "latest") -> Weights:
    """Learn the weights of a mixture from the validation strangers.

    Args:
        setup: of the warm clients.
        strategies: name -> strategy.
        reveal: "latest" or "first".

    Returns:
        Weights for each number in `coldstart.k`, and for longer histories.

    Raises:
        ConfigError: if there are no strategies.
        DataError: if no validation stranger has a history, or enough of one.
    """
    if not strategies:
        raise ConfigError("a mixture needs strategies: name some beside it in coldstart.users")
    most = max(1, _CELLS // (setup.population.num_items * len(strategies)))
    found: Weights = {}
    for k in revealed(setup.config):
        population = _who_reveal(setup, k, reveal, most)
        if found and len(population.valid.users) < _FEWEST:
            found[k] = next(reversed(found.values()))
            continue
        if not len(population.valid.users):
            raise DataError(
                f"no validation stranger has {k} interactions to reveal, so no weights can be "
                "learnt: begin coldstart.k with a smaller number"
            )
        weights = fit(_choices(population, strategies))
        told = {n: float(w) for n, w in zip(strategies, weights, strict=True) if w > 0}
        found[k] = told
    return found


def fit(choices: Choices) -> NDArray[np.float64]:
    """Return the weights under which what was met is likeliest, float64 [N], their sum one.

    With s_i the weighted scores of item i it maximises the mean over users and items met of
    ``s_i - log sum_j exp(s_j)``, j over the candidates, less a small ridge.
    """
    from scipy.optimize import minimize

    number = choices.scores.shape[2]
    met = np.take_along_axis(choices.scores, choices.met[:, :, None], 1).mean(1, dtype=np.float64)

    def loss(weights: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        scores = choices.scores @ weights.astype(np.float32)
        scores[choices.seen] = -np.inf
        top = scores.max(1, keepdims=True)
        share = np.exp(scores - top)
        total = share.sum(1, keepdims=True)
        expected = np.einsum("vi,vin->vn", share / total, choices.scores)
        likely = (met @ weights - (top + np.log(total))[:, 0]).mean()
        slope = (met - expected).mean(0)
        return _L2 * weights @ weights - likely, 2 * _L2 * weights - slope

    found = minimize(
        loss, np.full(number, 1.0 / number), jac=True, bounds=[(0.0, None)] * number,
        method="L-BFGS-B",
    )  # fmt: skip
    weights = np.asarray(found.x, np.float64)
    weights[weights < 1e-3 * weights.max()] = 0.0
    return weights / weights.sum() if weights.any() else np.full(number, 1.0 / number)


def mixture(strategies: Mapping[str, Strategy], weights: Weights) -> Strategy:
    """Return the mixture of strategies.

    Args:
        strategies: name -> strategy.
        weights: from `learn`; each user gets those of the largest k that it has revealed.
    """
    used = [n for n in strategies if any(n in own for own in weights.values())]
    ends = sorted(k for k in weights if k != WHOLE)
    table = np.array([[weights[k].get(n, 0.0) for n in used] for k in (*ends, WHOLE)])

    def start(population: Population) -> Scorer:
        counts = np.diff(population.indptr)
        own = table[weights_place(ends, counts)]
        return _weighted(
            {n: strategies[n].scorer(population) for n in used}, own.astype(np.float32)
        )

    mixed = [strategies[name] for name in used]
    return Strategy(
        MIXTURE,
        "as the strategies in it: "
        + "; ".join(dict.fromkeys(s.privacy for s in mixed))
        + "; of validation strangers sums are known, the slope of a likelihood by its weights",
        sum(strategy.bytes_down for strategy in mixed) + 4 * table.size,
        start,
        sum(strategy.bytes_up for strategy in mixed),
        Kept(facts={"k": ends, "weights": [weights[k] for k in (*ends, WHOLE)]}),
    )


def _who_reveal(setup: Setup, k: int, reveal: str, number: int) -> Population:
    """Return the validation strangers whom the weights of k will serve, at most a number."""
    population = strangers(setup, "valid", k, reveal)
    users, counts = population.valid.users, np.diff(population.indptr)
    most = max(revealed(setup.config)[:-1])
    served = counts[users] > most if k == WHOLE else counts[users] == k
    return replace(population, valid=_only(population.valid, np.flatnonzero(served)[:number]))


def _choices(population: Population, strategies: Mapping[str, Strategy]) -> Choices:
    held_out = population.valid
    users, indptr = held_out.users, held_out.seen_indptr
    scores = [standard(s.scorer(population)(users)) for s in strategies.values()]
    seen = np.zeros(scores[0].shape, bool)
    row = np.repeat(np.arange(len(users)), indptr[users + 1] - indptr[users])
    seen[row, held_out.seen_items[expand(indptr, users)]] = True
    met = held_out.items.reshape(len(users), -1).astype(np.int64)
    return Choices(np.stack(scores, axis=2), met, seen)


def _only(held_out: HeldOut, rows: NDArray[np.int64]) -> HeldOut:
    """Return some rows of held-out users, which all have equally many items."""
    number = int(np.diff(held_out.indptr)[0])
    at = (held_out.indptr[rows][:, None] + np.arange(number)).ravel()
    return replace(
        held_out,
        users=held_out.users[rows],
        indptr=np.arange(len(rows) + 1, dtype=np.int64) * number,
        items=held_out.items[at],
        labels=held_out.labels[at],
    )


def _weighted(scorers: Mapping[str, Scorer], weights: NDArray[np.float32]) -> Scorer:
    """Return the scorer of a weighted sum; weights float32 [U, N]."""

    def score(users: NDArray[np.int64]) -> NDArray[np.float32]:
        total: NDArray[np.float32] | None = None
        for place, scorer in enumerate(scorers.values()):
            own = weights[users, place]
            if own.any():
                part = own[:, None] * standard(scorer(users))
                total = part if total is None else total + part
        return np.asarray(total, np.float32)

    return score
