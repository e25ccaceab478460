"""The centralised twin takes the same samples, loss and steps as the clients."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from fedrec.config import Config
from fedrec.data.batches import draw_samples
from fedrec.errors import ConfigError
from fedrec.evaluation.sums import means
from fedrec.params import Personal, Shared
from fedrec.training.central import central_method, one_client, train_central
from fedrec.training.cohort import CohortUpdate
from fedrec.training.local import train_cohort
from fedrec.training.node import Setup, init_personal, init_shared, prepare, train_block
from fedrec.training.pooled import PREFIX, Pooled
from tests.training.cohorts import random_population, relative, setup_of

EXPLICIT = {"data__feedback": "explicit", "model__loss": "squared"}
SGD = {"central__optimizer": "sgd", "central__lr": 0.3, "train__lr": 0.3, "central__batch": 8}
ADAM = {
    "central__optimizer": "adam",
    "train__optimizer": "adam",
    "central__lr": 0.05,
    "train__lr": 0.05,
    "train__personal_lr": 0.05,
    "central__batch": 8,
}
NCF = {"model__name": "ncf", "model__mlp": "6 4"}
ZERO = np.array([0])


def pooled_start(setup: Setup) -> tuple[Shared, Personal]:
    shared, users = init_shared(setup), np.arange(setup.population.num_users)
    vectors = setup.model.init_personal(users, 0).values
    own = {PREFIX + n: vectors[n] for n in setup.model.personal_vectors}
    heads = Pooled(setup.model).init_personal(ZERO, 0)
    return Shared({**shared.tables, **own}, shared.weights), heads


def central_epoch(setup: Setup, epoch: int = 1) -> tuple[CohortUpdate, Shared]:
    method, (shared, heads) = central_method(setup), pooled_start(setup)
    samples = draw_samples(one_client(setup.population), ZERO, 0, epoch, method.sampling)
    model = Pooled(setup.model)
    return train_cohort(model, shared, heads, samples, method, every_row=True), shared


@pytest.mark.parametrize(
    "keys",
    [
        SGD,
        ADAM,
        {**ADAM, **EXPLICIT, "central__l2": 0.1, "train__l2": 0.1},
        {**ADAM, **NCF},
        {**ADAM, "model__name": "head"},
    ],
)
def test_one_user_trained_centrally_is_that_client(keys: dict[str, Any]) -> None:
    setup = setup_of(random_population((13,), 40, ratings="data__feedback" in keys), **keys)
    shared, personal = init_shared(setup), init_personal(setup, ZERO)
    client, own = train_block(setup, shared, personal, ZERO, 1)
    central, _ = central_epoch(setup)
    assert central.loss == pytest.approx(client.loss, rel=1e-5)
    for table in shared.tables:
        delta = np.zeros_like(shared.tables[table])
        delta[client.index[table].ids] = client.rows[table]
        assert relative(central.rows[table], delta) <= 5e-6
    for name in shared.weights:
        assert relative(central.weights[name], client.weights[name]) <= 5e-6
    for name in setup.model.personal_vectors:
        change = own.values[name] - personal.values[name]
        assert relative(central.rows[PREFIX + name], change) <= 5e-6


@pytest.mark.parametrize("keys", [{}, {"model__loss": "bpr"}, EXPLICIT])
def test_epochs_see_the_samples_of_the_rounds(keys: dict[str, Any]) -> None:
    population = random_population((3, 8, 5), 20, ratings="data__feedback" in keys)
    setup = setup_of(population, **keys)
    for number in (1, 2):
        pooled = draw_samples(
            one_client(population), ZERO, 0, number, central_method(setup).sampling
        )
        clients = draw_samples(population, np.arange(3), 0, number, setup.method.sampling)
        assert (pooled.fields["user"] == clients.client).all()
        for name, column in clients.fields.items():
            assert (pooled.fields[name] == column).all()
        assert (pooled.label == clients.label).all()
        assert (pooled.weight == clients.weight).all()


def test_the_optimiser_goes_on_over_epochs() -> None:
    """Two epochs of one step each, on ratings: the same as two steps at once."""
    keys = {**ADAM, **EXPLICIT, "central__batch": 1000}
    setup = setup_of(random_population((3, 8, 5), 20, ratings=True), **keys)
    method, (shared, heads) = central_method(setup), pooled_start(setup)
    model = Pooled(setup.model)
    samples = draw_samples(one_client(setup.population), ZERO, 0, 1, method.sampling)
    first = train_cohort(model, shared, heads, samples, method, every_row=True)
    assert first.slots[0] == 1
    moved = Shared(
        {t: v + first.rows[t] for t, v in shared.tables.items()},
        {n: v + first.weights[n][0] for n, v in shared.weights.items()},
    )
    second = train_cohort(model, moved, heads, samples, method, every_row=True, slots=first.slots)
    assert second.slots[0] == 2
    twice = replace(method, phases=(replace(method.phases[0], batch=0, epochs=2),))
    both = train_cohort(model, shared, heads, samples, twice, every_row=True)
    for table in shared.tables:
        assert relative(first.rows[table] + second.rows[table], both.rows[table]) <= 5e-6
    fresh = train_cohort(model, moved, heads, samples, method, every_row=True)
    assert relative(fresh.rows["item"], second.rows["item"]) > 1e-2


def test_it_learns_selects_on_validation_and_tells(small_run: Callable[..., Config]) -> None:
    setup = prepare(small_run(central__epochs=6, central__lr=0.05, central__batch=64))
    events: list[dict[str, object]] = []
    trained = train_central(setup, events.append)
    lines = trained.history
    assert [line["round"] for line in lines] == [1, 2, 3, 4, 5, 6]
    assert events == [{"event": "round", **line} for line in lines]
    losses = [float(str(line["loss"])) for line in lines]
    assert losses[-1] < losses[0]
    curve = [line["valid"]["full.ndcg@10"] for line in lines]  # type: ignore[index]
    assert trained.selected == 1 + int(np.argmax(curve))
    assert means(trained.valid)["full.ndcg@10"] == max(curve)
    assert trained.test.counts["full"] > 0
    assert trained.seconds > 0


def test_fcf_is_compared_with_the_same_model_on_sampled_negatives() -> None:
    setup = setup_of(
        random_population((3, 8), 20),
        train__method="fcf",
        model__loss="squared",
        train__negatives=0,
    )
    sampling = central_method(setup).sampling
    assert (sampling.all_items, sampling.negatives, sampling.pooled) == (False, 1, True)


def test_no_epochs_no_system(small_run: Callable[..., Config]) -> None:
    with pytest.raises(ConfigError, match="central.epochs must be at least 1"):
        train_central(prepare(small_run(central__epochs=0)))


def test_the_twin_of_an_anchored_model_has_a_net_that_follows(
    small_run: Callable[..., Config],
) -> None:
    """New items are scored by what the net says: the more it has learnt, the other the scores."""
    keys: dict[str, Any] = {
        "split__protocol": "cold-items", "evaluate__candidates": "new", "model__anchor": 0.3,
        "train__negatives_from": "known", "central__epochs": 3, "evaluate__sampled": 0, **ADAM,
    }  # fmt: skip
    found = {}
    for steps in (1, 200):
        trained = train_central(prepare(small_run(**keys, server__anchor_steps=steps)))
        found[steps] = means(trained.test)["full.ndcg@5"]
    assert found[1] != found[200]
    still = means(train_central(prepare(small_run(**{**keys, "model__anchor": 0.0}))).test)
    assert still["full.ndcg@5"] != found[200]
