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
from fedrec.config_tasks import held_out_event
from fedrec.data.domains import domain_items
from fedrec.data.population import HeldOut, Population, expand
from fedrec.errors import DataError
from fedrec.evaluation.sums import means
from fedrec.training.local_only import train_local_only
from fedrec.training.node import load_population, prepare

LIMIT = 3.0
"""Standard errors that the model may be away from random, to either side."""
_UNFILLED: dict[str, str | int | float | bool] = {
    "coldstart.items": "off",
    "evaluate.sampled": 0,
    "model.item_attributes": "all",
    "model.text": "hash",
    "model.text_width": 64,
    "model.most_values": 100,
    "model.tower": "32",
    "data.item_vectors": "",
}
MOST_USERS = 500
"""Users that are trained: enough for a standard error of about 0.015."""


@dataclass(frozen=True)
class Verdict:
    """What the guard found.

    Attributes:
        passed: whether the model is within `LIMIT` standard errors of random.
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


def random_hit_rate(held_out: HeldOut, num_items: int, k: int) -> tuple[float, float]:
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

    Negatives are drawn anew in each of ten passes, so that few items stay unmet but
    by design.  The list length is a tenth of the catalogue: at K = 10 of thousands
    of items a leak would have to be large to show.

    Args:
        config: the configuration whose data, clients, split and sampler are tested.

    Returns:
        The verdict.

    Raises:
        DataError: if no user has a held-out item, so that nothing can be measured.
    """
    if config.coldstart.items != "off":  # without rows from its strategy, new ones stand out
        config = config.with_({"evaluate.candidates": "new", **_UNFILLED})
    population = load_population(config)
    if not len(population.test.users):
        raise DataError(
            "the leak guard finds no user with a held-out item to rank: use more data or another "
            "split.protocol, or switch it off with compare.leak_guard = false"
        )
    population = one_user_each(population, evenly(population.test.users, MOST_USERS))
    test, number = _candidates(config, population)
    k = max(1, number // 10)
    probe = config.with_({**_probe(k), "split.event": held_out_event(config)})
    setup = replace(prepare(probe), population=population)
    value = means(train_local_only(setup).test)[f"full.hr@{k}"]
    expected, error = random_hit_rate(test, number, k)
    distance = (value - expected) / max(error, 1e-12)
    passed = abs(distance) <= LIMIT
    meaning = (
        "held-out items did not reach training"
        if passed
        else "training depends on held-out items: figures under this protocol are worthless"
    )
    statement = (
        f"A model without any communication reaches {value:.3f} HR@{k} where a random ranking "
        f"reaches {expected:.3f} ({distance:+.1f} standard errors): {meaning}."
    )
    metric = f"test.full.hr@{k}"
    return Verdict(bool(passed), metric, value, expected, float(distance), statement)


def _candidates(config: Config, population: Population) -> tuple[HeldOut, int]:
    """Return the test part, and the number of items that its items are ranked among."""
    test = population.test
    if config.domain.by:
        return _within(test, domain_items(population.split.dataset, config.domain), population)
    if config.evaluate.candidates == "all":
        return test, population.num_items
    return replace(test, seen_indptr=np.zeros_like(test.seen_indptr)), len(np.unique(test.items))


def _within(test: HeldOut, items: NDArray[np.int64], population: Population) -> tuple[HeldOut, int]:
    """Return the test part with what was seen of some items alone, and their number."""
    inside = np.zeros(population.num_items, bool)
    inside[items] = True
    before = np.concatenate([[0], np.cumsum(inside[test.seen_items])])
    return replace(
        test,
        seen_indptr=before[test.seen_indptr].astype(np.int64),
        seen_items=test.seen_items[inside[test.seen_items]],
    ), len(items)


def _probe(k: int) -> dict[str, str | int | float | bool]:
    """Settings of the probe; data, split, negatives and seed stay the configuration's."""
    return {
        "model.name": "mf",
        "model.loss": "logistic",
        "model.source": "",
        "model.dim": 32,
        "model.init": 0.01,
        "model.pretrained": "",
        "model.freeze": False,
        "model.adapter_rank": 0,
        "model.item_attributes": "all",  # what follows is for models of attributes
        "model.user_attributes": "all",
        "model.text": "hash",
        "model.text_width": 64,
        "model.most_values": 100,
        "model.tower": "32",
        "model.id_rows": True,
        "model.spread": 1.0,
        "model.anchor": 0.0,
        "data.item_vectors": "",
        "model.target": "purchase",  # what follows is for models of several tasks
        "model.task_weights": "1 1 1",
        "model.local_heads": "auto",
        "model.local_layers": "",
        "model.funnel": False,
        "model.contrast": 0.0,
        "train.method": "fedavg",
        "train.negatives": 4,
        "train.propensity": 0.0,
        "clients.unit": "user",
        "evaluate.k": str(k),
        "evaluate.select": f"hr@{k}",
        "evaluate.sampled": 0,
        "evaluate.bootstrap": 0,
        "evaluate.group": "",
        "evaluate.item_group": "",
        "server.exposure": 0.0,
        "evaluate.propensity": 0.0,
        "local.epochs": 10,
        "local.every": 1,
        "local.optimizer": "adam",
        "local.lr": 0.05,
        "local.batch": 256,
        "local.l2": 0.0,
    }


def evenly(users: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """Return at most `most` of the users, evenly spread over their numbers."""
    places = np.linspace(0, len(users) - 1, min(len(users), most))
    return users[places.round().astype(np.int64)]


def one_user_each(population: Population, users: NDArray[np.int64]) -> Population:
    """Return a population of some users, renumbered, each a client of its own.

    Args:
        population: of any clients.
        users: int64 [M], local users, ascending.

    Returns:
        Local user j is `users[j]`; items keep their numbers.
    """
    indptr = np.concatenate([[0], np.cumsum(np.diff(population.indptr)[users])])
    at = expand(population.indptr, users)
    return replace(
        population,
        num_users=len(users),
        num_clients=len(users),
        client_of_user=np.arange(len(users)),
        indptr=indptr.astype(np.int64),
        items=population.items[at],
        labels=population.labels[at],
        levels=None if population.levels is None else population.levels[at],
        valid=_held_out_of(population.valid, users),
        test=_held_out_of(population.test, users),
    )


def _held_out_of(part: HeldOut, users: NDArray[np.int64]) -> HeldOut:
    rows = np.flatnonzero(np.isin(part.users, users))
    at = expand(part.indptr, rows)
    seen = np.diff(part.seen_indptr)[users]
    return HeldOut(
        users=np.searchsorted(users, part.users[rows]),
        indptr=np.concatenate([[0], np.cumsum(np.diff(part.indptr)[rows])]).astype(np.int64),
        items=part.items[at],
        labels=part.labels[at],
        seen_indptr=np.concatenate([[0], np.cumsum(seen)]).astype(np.int64),
        seen_items=part.seen_items[expand(part.seen_indptr, users)],
    )
