"""The centralised twin: the same loss, step and sampler on pooled data.

All users' interactions are one client's, and personal vectors are rows of a
table; the loop over steps is `train_cohort` itself.  Negatives of epoch e are the
very ones that the federated clients draw in round e.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fedrec.data.batches import draw_samples
from fedrec.data.population import Population
from fedrec.errors import ConfigError
from fedrec.evaluation.selection import better, selection_metric, selection_value
from fedrec.evaluation.sums import EvaluationSums, means
from fedrec.models.anchored import TABLE
from fedrec.params import Personal, Shared
from fedrec.training.anchors import Anchors
from fedrec.training.central_graph import graph_epochs
from fedrec.training.local import train_cohort
from fedrec.training.methods import Method, Phase
from fedrec.training.node import Setup, evaluate_scorer, init_shared
from fedrec.training.pooled import PREFIX, Pooled, with_users
from fedrec.training.schedule import share_of_rate
from fedrec.training.scoring import Scorer, make_scorer


@dataclass(frozen=True, eq=False)
class Trained:
    """A system trained without a server.

    Attributes:
        selected: the epoch chosen on validation.
        valid: validation sums at that epoch.
        test: test sums at that epoch.
        history: one dict an epoch, in the form of a line of rounds.jsonl.
        seconds: median seconds of an epoch, evaluation not counted.
    """

    selected: int
    valid: EvaluationSums
    test: EvaluationSums
    history: list[dict[str, object]]
    seconds: float


@dataclass(frozen=True, eq=False)
class Epoch:
    """State after an epoch: what is needed to go on, and how to evaluate it."""

    number: int
    loss: float
    evaluate: Callable[[str, int], EvaluationSums]
    scorer: Scorer


def select(
    setup: Setup,
    epochs: Iterator[Epoch],
    last: int,
    every: int,
    on_event: Callable[[dict[str, object]], None] | None = None,
) -> Trained:
    """Run epochs, validate, and test once, at the epoch that validation selects.

    Args:
        setup: the prepared configuration.
        epochs: yields the state after each epoch; `evaluate` must stay valid.
        last: number of the last epoch.
        every: epochs between validations.
        on_event: called with each line of the history.

    Returns:
        The selected state's figures.
    """
    metric = selection_metric(setup.config)
    history: list[dict[str, object]] = []
    best: tuple[float | None, Epoch, EvaluationSums] | None = None
    clock = time.perf_counter()
    durations = []
    for epoch in epochs:
        durations.append(time.perf_counter() - clock)
        line: dict[str, object] = {
            "round": epoch.number,
            "loss": epoch.loss,
            "valid": None,
            "seconds": durations[-1],
        }
        if epoch.number % every == 0 or epoch.number == last:
            sums = epoch.evaluate("valid", 0)
            line["valid"] = means(sums)
            value = selection_value(means(sums), metric)
            if best is None or value is None or better(value, best[0], metric):
                best = (value, epoch, sums)  # where no user is validated, the last epoch
        history.append(line)
        if on_event:
            on_event({"event": "round", **line})
        clock = time.perf_counter()
    if best is None:
        raise ConfigError("central.epochs must be at least 1 to train a centralised system")
    test = best[1].evaluate("test", setup.config.evaluate.bootstrap)
    return Trained(best[1].number, best[2], test, history, float(np.median(durations)))


def train_central(
    setup: Setup, on_event: Callable[[dict[str, object]], None] | None = None
) -> Trained:
    """Train the model centrally and select the epoch on validation.

    Args:
        setup: the prepared configuration.
        on_event: called with each line of the history.

    Returns:
        The selected state's figures.
    """
    central = setup.config.central
    return select(setup, central_epochs(setup), central.epochs, 1, on_event)


def one_client(population: Population) -> Population:
    """Return the population with all users pooled in one client; whose customers they are stays."""
    return replace(
        population,
        num_clients=1,
        client_of_user=np.zeros_like(population.client_of_user),
        shops=population.shop_of_user,
    )


def central_method(setup: Setup) -> Method:
    """Return the centralised method: mini-batches, everything moves, rates of `central`."""
    central = setup.config.central
    phase = Phase(
        batch=central.batch,
        epochs=1,
        optimizer=central.optimizer,
        lr=central.lr,
        personal_lr=central.lr,
    )
    explicit = setup.config.data.feedback == "explicit"
    sampling = replace(
        setup.method.sampling,
        pooled=True,
        all_items=False,
        negatives=0 if explicit else max(1, setup.config.train.negatives),  # FCF draws none
    )
    return Method("centralised", (replace(phase, l2=central.l2),), sampling)


def central_epochs(
    setup: Setup, between: Callable[[int, Shared], Shared] | None = None
) -> Iterator[Epoch]:
    """Train on pooled interactions, and yield the state after each epoch.

    Args:
        setup: the prepared configuration; users stay apart, whoever their client is.
        between: (number of the epoch, parameters) -> parameters that the epoch starts from:
            what another party adds; personal vectors are tables here.
    """
    config, population = setup.config, one_client(setup.population)
    users = np.arange(population.num_users)
    if setup.method.sums_first:
        for number, loss, now in graph_epochs(setup):
            yield _epoch(setup, number, loss, now, Personal({}), users)
        return
    seed = config.run.seed
    central, method, model = config.central, central_method(setup), Pooled(setup.model)
    vectors = setup.model.init_personal(users, seed).values
    shared = init_shared(setup)
    own = {n: vectors[n] for n in setup.model.personal_vectors}
    shared = with_users(setup.model, shared, own)
    personal, slots = model.init_personal(np.array([0]), seed), None
    anchors = Anchors(config, shared, population.catalogue) if config.model.anchor else None
    for number in range(1, central.epochs + 1):
        shared = between(number, shared) if between else shared
        slower = method.slowed(share_of_rate(central.schedule, number - 1, central.epochs))
        samples = draw_samples(population, np.array([0]), seed, number, method.sampling)
        update = train_cohort(model, shared, personal, samples, slower, every_row=True, slots=slots)
        slots, personal = update.slots, update.personal
        shared = Shared(
            {t: v + update.rows[t] for t, v in shared.tables.items()},
            {n: v + update.weights[n][0] for n, v in shared.weights.items()},
            shared.fixed,
        )
        if anchors is not None:
            shared = anchors.follow(shared, np.flatnonzero(update.rows[TABLE].any(1)))
        yield _epoch(setup, number, float(update.loss[0]), shared, personal, users)


def _epoch(
    setup: Setup,
    number: int,
    loss: float,
    shared: Shared,
    head: Personal,
    users: NDArray[np.int64],
) -> Epoch:
    """Return the state after an epoch, ready to be evaluated."""
    known = {**shared.fixed, **shared.tables}
    own = {n: known[PREFIX + n] for n in setup.model.personal_vectors}
    own |= {n: np.repeat(v, len(users), 0) for n, v in head.values.items()}
    tables = {t: v for t, v in shared.tables.items() if not t.startswith(PREFIX)}

    def score(wanted: NDArray[np.int64]) -> NDArray[np.float32]:
        placed = replace(shared, tables=tables)
        scorer = make_scorer(setup.model, placed, Personal(own), users, setup.population)
        return scorer(wanted)

    def evaluate(part: str, bootstrap: int) -> EvaluationSums:
        return evaluate_scorer(setup, score, users, part, bootstrap=bootstrap)

    return Epoch(number, loss, evaluate, score)
