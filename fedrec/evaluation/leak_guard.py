"""The leak guard: a model without communication must not beat random.

A client that trains alone on its own interactions has learnt nothing about items
that it never met.  If it ranks its held-out item better than chance all the same,
the training samples depended on what was held out, for example because negatives
were drawn from the items outside train, validation *and* test: then the held-out
item is the only unmet item that is never pushed down.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fedrec.config import Config
from fedrec.data.population import HeldOut, Population
from fedrec.evaluation.sums import means
from fedrec.training.local_only import train_local_only
from fedrec.training.node import Setup, prepare

LIMIT = 3.0  # standard errors


@dataclass(frozen=True)
class Verdict:
    """What the guard found.

    Attributes:
        passed: whether the model is within `LIMIT` standard errors above random.
        metric: what was measured, on the test part.
        value: of the model without communication.
        random: the exact expectation of a random ranking.
        standard_errors: (value - random) / standard error.
        statement: one sentence for the report.
    """

    passed: bool
    metric: str
    value: float
    random: float
    standard_errors: float
    statement: str

    def to_json(self) -> dict[str, object]:
        """Return the entry `leak_guard` of result.json."""
        return dict(self.__dict__)


def random_hit_rate(
    held_out: HeldOut, num_items: int, k: int
) -> tuple[float, float]:
    """Return the expected HR@K of a random full ranking, and its standard error.

    For a user with n candidates of which m are relevant, a random list of K misses
    all with probability C(n - m, K) / C(n, K).

    Args:
        held_out: relevant and seen items of users.
        num_items: I.
        k: length of the list.

    Returns:
        Mean over users, and the standard error of a mean of such hits.
    """
    seen = np.diff(held_out.seen_indptr)[held_out.users]
    candidates = (num_items - seen).astype(np.float64)
    relevant = np.diff(held_out.indptr)
    miss = np.ones(len(candidates))
    for j in range(int(relevant.max(initial=0))):  # the largest user's, not users
        left = np.maximum(candidates - k - j, 0.0) / np.maximum(candidates - j, 1.0)
        miss = np.where(j < relevant, miss * left, miss)
    hit = 1.0 - miss
    error = float(np.sqrt((hit * (1.0 - hit)).sum())) / max(len(hit), 1)
    return float(hit.mean()), error


def guard(config: Config) -> Verdict:
    """Train matrix factorisation without communication under `config`'s protocol.

    The list length is a tenth of the catalogue: at K = 10 of thousands of items a
    leak would have to be large to show.

    Args:
        config: the configuration whose data, split and sampler are tested.

    Returns:
        The verdict.
    """
    k = max(1, prepare(config).population.num_items // 10)
    setup = prepare(config.with_(_probe(k)))
    setup = replace(setup, population=one_user_each(setup.population),
                    method=replace(setup.method, sampling=replace(
                        setup.method.sampling, pooled=False)))
    trained = train_local_only(setup)
    metric = f"full.hr@{k}"
    value = means(trained.test)[metric]
    expected, error = random_hit_rate(setup.population.test, setup.population.num_items, k)
    distance = (value - expected) / max(error, 1e-12)
    passed = distance <= LIMIT
    verdict = (
        "held-out items did not reach training"
        if passed
        else "training depends on held-out items: figures under this protocol are worthless"
    )
    statement = (
        f"A model without any communication reaches {value:.3f} HR@{k} where a random ranking "
        f"reaches {expected:.3f} ({distance:+.1f} standard errors): {verdict}."
    )
    return Verdict(bool(passed), f"test.{metric}", value, expected, float(distance), statement)


def _probe(k: int) -> dict[str, str | int | float | bool]:
    """Settings of the probe; data, split, negatives and seed stay the configuration's."""
    return {
        "model.name": "mf", "model.loss": "logistic", "model.source": "",
        "train.method": "fedavg", "train.negatives": 4,
        "clients.unit": "user" , "evaluate.k": str(k), "evaluate.select": f"hr@{k}",
        "evaluate.sampled": 0, "evaluate.bootstrap": 0, "evaluate.group": "",
        "local.epochs": 10, "local.every": 10, "local.optimizer": "adam", "local.lr": 0.05,
        "local.batch": 256, "local.l2": 0.0,
    }


def one_user_each(population: Population) -> Population:
    """Return the population with every local user a client of its own."""
    users: NDArray[np.int64] = np.arange(population.num_users)
    return replace(population, num_clients=population.num_users, client_of_user=users)
