"""What the exploration boost of a run would show: exposure of new items, and what it costs.

After a run with new items whose rows `coldstart.items` has filled, each device makes one list
under several budgets, none of them shown to anybody.  Sums over devices say how many places
new items take, how many of them are shown at all, and two accuracies: NDCG of the held-out
purchases, which are of new items, and how much of the model's own list is left (its NDCG were
exactly its own first k relevant): what a boost costs at most, if all it shows were worthless.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedrec.coldstart.boost import Boost, boosted_lists
from fedrec.coldstart.devices import device_scorer, stored_personal
from fedrec.config import Config, integers
from fedrec.data.population import HeldOut, Population, expand
from fedrec.evaluation.bootstrap import poisson_weights
from fedrec.params import Shared
from fedrec.training.node import init_personal, prepare
from fedrec.training.scorer import Scorer

Json = dict[str, Any]
SHARES = (0.0, 0.5, 1.0, 2.0)
"""Budgets, as multiples of `coldstart.boost_share`."""
MOST = 5000
"""Users whose lists are made: the first so many of a run that have purchases to be found."""
_BLOCK = 256


def asks_for_boost(config: Config) -> bool:
    """Whether a run has new items with rows of their own, and a boost for them."""
    keys = config.coldstart
    new = config.split.protocol == "cold-items" and keys.items != "off"
    budget = keys.boost > 0 and keys.boost_share > 0 and config.data.feedback == "implicit"
    return new and budget and not config.silo.merchants and config.privacy.mechanism == "off"


def measure_boost(config: Config, directory: Path, shared: Shared, round_number: int) -> Json:
    """Measure the lists that the boost of a run would make.

    Args:
        config: of the run.
        directory: of the run, whose simulated devices may lie beside it.
        shared: its model.
        round_number: the selected round.

    Returns:
        "k", "users", "new_items", "strength" and "rows": "share" of places that may be given
        away, "given", "exposure" of new items, "shown" (new items that are in any list), "ndcg"
        and "kept", each figure of users a mean, with the ends of its 95% interval where
        `evaluate.bootstrap` asks for them.  Empty where no device lies beside the run.
    """
    setup = prepare(config)
    personal = stored_personal(directory, setup, round_number)
    if personal is None:
        if not (setup.method.personal_is_solved or setup.method.before_scoring):
            return {}
        personal = init_personal(setup, np.arange(setup.population.num_clients))
    scorer = device_scorer(setup, shared, personal, round_number)
    keys, k = config.coldstart, min(integers(config, "evaluate.k"), key=lambda n: abs(n - 10))
    rows = [
        _row(setup.population, scorer, Boost(keys.boost, min(1.0, factor * keys.boost_share),
             keys.boost_half, keys.boost_budget), k, config)
        for factor in SHARES
    ]  # fmt: skip
    return {
        "k": k,
        "users": min(MOST, len(setup.population.test.users)),
        "new_items": len(setup.population.new_items),
        "strength": keys.boost,
        "rows": rows,
    }


def _row(population: Population, scorer: Scorer, boost: Boost, k: int, config: Config) -> Json:
    """Make every user's list under one budget."""
    new = np.zeros(population.num_items, bool)
    new[population.new_items] = True
    bonus = boost.bonus(new, np.zeros(len(new)))
    users = population.test.users[:MOST]
    found: dict[str, list[NDArray]] = {"given": [], "exposure": [], "ndcg": [], "kept": []}
    shown = np.zeros(len(new), bool)
    for begin in range(0, len(users), _BLOCK):
        some = users[begin : begin + _BLOCK]
        scores = unseen_scores(population, scorer, some)
        places = boost.places(k, some, 1, config.run.seed)
        items, taken = boosted_lists(scores, bonus, k, places)
        own, _ = boosted_lists(scores, np.zeros(len(new)), k, np.zeros_like(places))
        shown[items[new[items]]] = True
        found["given"].append(taken.mean(1))
        found["exposure"].append(new[items].mean(1))
        found["ndcg"].append(ndcg(items, relevant(population.test, begin, len(some), len(new))))
        found["kept"].append(kept(items, own))
    weights = poisson_weights(users, config.evaluate.bootstrap)
    told = {name: _interval(np.concatenate(v), weights) for name, v in found.items()}
    return {"share": boost.share, "shown": int(shown.sum()), **told}


def unseen_scores(
    population: Population, scorer: Scorer, users: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Return scores float32 [b, I], minus infinity for what a user has met in training."""
    scores = np.array(scorer(users), np.float32)
    indptr = population.indptr
    row = np.repeat(np.arange(len(users)), indptr[users + 1] - indptr[users])
    scores[row, population.items[expand(indptr, users)]] = -np.inf
    return scores


def relevant(held_out: HeldOut, begin: int, number: int, num_items: int) -> NDArray[np.bool_]:
    """Return the held-out items of some of its users, bool [number, I]."""
    found = np.zeros((number, num_items), bool)
    place = held_out.indptr[begin : begin + number + 1]
    row = np.repeat(np.arange(number), np.diff(place))
    found[row, held_out.items[place[0] : place[-1]]] = True
    return found


def ndcg(items: NDArray[np.int64], good: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return NDCG@k of lists [b, k] whose relevant items are given [b, I], float64 [b]."""
    gain = _gain(items.shape[1])
    reached = (np.take_along_axis(good, items, 1) * gain).sum(1)
    ideal = np.concatenate([[0.0], np.cumsum(gain)])[np.minimum(good.sum(1), len(gain))]
    return np.asarray(reached / np.maximum(ideal, gain[-1]))


def kept(items: NDArray[np.int64], own: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return NDCG@k of lists [b, k] were the items of other lists [b, k] relevant, float64 [b]."""
    gain = _gain(items.shape[1])
    same = (items[:, :, None] == own[:, None, :]).any(2)
    return np.asarray((same * gain).sum(1) / gain.sum())


def _gain(k: int) -> NDArray[np.float64]:
    return 1.0 / np.log2(np.arange(2, k + 2))


def _interval(values: NDArray, weights: NDArray[np.float64]) -> list[float]:
    """Return the mean, and the ends of its interval over users if there are replicates."""
    told = [float(values.mean())]
    if weights.shape[1]:
        replicates = (values @ weights) / np.maximum(weights.sum(0), 1e-12)
        told += [float(end) for end in np.percentile(replicates, [2.5, 97.5])]
    return [round(value, 6) for value in told]
