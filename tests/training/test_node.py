"""A node's share of a round: the same sum however clients are spread."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import reduce
from operator import add
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedrec.config import Config
from fedrec.data.batches import draw_samples
from fedrec.errors import ModelError
from fedrec.params import PartialSum, Personal, Shared
from fedrec.training import node
from fedrec.training.closed_form import solve_users
from fedrec.training.node import (
    Setup,
    evaluate_node,
    init_personal,
    init_shared,
    personal_users,
    prepare,
    train_block,
    train_node,
    training_blocks,
)
from fedrec.training.tuning import derive_personal
from tests.training.cohorts import SIZES, random_population, relative, setup_of
from tests.training.reference import sigmoid

ADAM = {"train__optimizer": "adam", "train__lr": 0.05, "train__personal_lr": 0.05}
SPREAD = {
    "fedavg": setup_of(random_population(SIZES, 60), train__epochs=2),
    "fedprox adam": setup_of(random_population(SIZES, 60), train__method="fedprox", **ADAM),
    "alternating": setup_of(random_population(SIZES, 60), train__method="alternating", **ADAM),
    "fcf": setup_of(random_population(SIZES, 60), train__method="fcf", model__loss="squared"),
}


def differences(ours: PartialSum, theirs: PartialSum) -> dict[str, float]:
    out = {}
    for name, mine in ours.tables.items():
        assert mine.ids.tolist() == theirs.tables[name].ids.tolist()
        out[name] = relative(mine.rows, theirs.tables[name].rows)
        out[f"weight of {name}"] = relative(ours.row_weight[name], theirs.row_weight[name])
    for name, value in ours.weights.items():
        out[name] = relative(value, theirs.weights[name])
    assert (ours.weight, ours.num_clients) == (theirs.weight, theirs.num_clients)
    assert ours.metrics.keys() == theirs.metrics.keys()
    return out | {n: relative(v, theirs.metrics[n]) for n, v in ours.metrics.items()}


def train_apart(
    setup: Setup, shared: Shared, personal: Personal, groups: list[np.ndarray]
) -> tuple[PartialSum, Personal]:
    """Train groups of clients on nodes of their own, and fold."""
    everyone = personal_users(setup, np.arange(setup.population.num_clients))
    merged = {n: np.full_like(v, np.nan) for n, v in personal.values.items()}
    sums = []
    for clients in groups:
        at = np.searchsorted(everyone, personal_users(setup, clients))
        total, new = train_node(setup, shared, personal.take(at), clients, 1)
        sums.append(total)
        for name, value in new.values.items():
            merged[name][at] = value
    return reduce(add, sums), Personal(merged)


@pytest.mark.parametrize("name", SPREAD)
@settings(max_examples=5)
@given(st.lists(st.integers(0, 3), min_size=len(SIZES), max_size=len(SIZES)))
def test_the_sum_does_not_depend_on_how_clients_are_spread(name: str, nodes: list[int]) -> None:
    setup = SPREAD[name]
    clients = np.arange(len(SIZES))
    shared, personal = init_shared(setup), init_personal(setup, clients)
    whole, own = train_node(setup, shared, personal, clients, 1)
    groups = [np.flatnonzero(np.array(nodes) == n) for n in np.unique(nodes)]
    apart, merged = train_apart(setup, shared, personal, groups)
    worst = differences(apart, whole)
    worst |= {n: relative(v - personal.values[n], own.values[n] - personal.values[n])
              for n, v in merged.values.items()}  # fmt: skip
    assert max(worst.values()) <= 2e-6, worst


def test_nor_on_the_size_of_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    setup = SPREAD["fedavg"]
    clients = np.arange(len(SIZES))
    shared, personal = init_shared(setup), init_personal(setup, clients)
    few = len(list(training_blocks(setup, clients)))
    whole, own = train_node(setup, shared, personal, clients, 1)
    monkeypatch.setattr(node, "_COPIES", 1 << 22)  # as if memory held next to nothing
    assert len(list(training_blocks(setup, clients))) == len(SIZES) > few
    single, alone = train_node(setup, shared, personal, clients, 1)
    assert max(differences(single, whole).values()) <= 1e-6
    assert alone.values["user"] == pytest.approx(own.values["user"], rel=1e-5)


def test_one_block_of_unlike_clients_equals_many() -> None:
    """What `training_blocks` separates for speed could as well be trained together."""
    setup = SPREAD["alternating"]
    clients = np.arange(len(SIZES))
    shared, personal = init_shared(setup), init_personal(setup, clients)
    update, own = train_block(setup, shared, personal, clients, 1)
    for c in clients:
        one, new = train_block(setup, shared, personal.take(np.array([c])), clients[c : c + 1], 1)
        mine = update.index["item"].client == c
        assert relative(one.rows["item"], update.rows["item"][mine]) <= 2e-6
        assert new.values["user"][0] == pytest.approx(own.values["user"][c], rel=1e-5)


def test_inputs_stay_as_they_are() -> None:
    setup = SPREAD["fedavg"]
    clients = np.array([1, 4, 6])
    shared, personal = init_shared(setup), init_personal(setup, clients)
    table, vectors = shared.tables["item"].copy(), personal.values["user"].copy()
    _, new = train_node(setup, shared, personal, clients, 1)
    assert (shared.tables["item"] == table).all()
    assert (personal.values["user"] == vectors).all()
    assert (new.values["user"] != vectors).all()


def test_a_round_changes_with_its_number_and_with_the_seed() -> None:
    setup = SPREAD["fedavg"]
    clients = np.arange(len(SIZES))
    shared, personal = init_shared(setup), init_personal(setup, clients)
    rows = [train_node(setup, shared, personal, clients, n)[0].metrics["loss"] for n in (1, 2, 1)]
    assert rows[0] == rows[2] != rows[1]
    other = replace(setup, config=setup.config.with_({"run.seed": 1}))
    assert (init_shared(other).tables["item"] != shared.tables["item"]).all()
    assert (init_personal(other, clients).values["user"] != personal.values["user"]).all()


def test_initial_personal_parameters_are_addressed_by_the_client() -> None:
    setup = SPREAD["fedavg"]
    everyone = init_personal(setup, np.arange(len(SIZES)))
    some = init_personal(setup, np.array([2, 5]))
    assert (some.values["user"] == everyone.values["user"][[2, 5]]).all()


# Clients of many users -------------------------------------------------------------


@pytest.mark.parametrize(
    "keys",
    [
        {**ADAM, "train__l2": 0.1, "train__epochs": 2},
        {"train__method": "fedprox", "train__prox_mu": 0.5},
        {"train__method": "alternating", "model__loss": "bpr"},
        {"data__feedback": "explicit", "model__loss": "squared"},
    ],
)
def test_a_merchant_with_one_user_is_a_user_client(keys: dict[str, Any]) -> None:
    population = random_population((3, 9, 6), 20, ratings="data__feedback" in keys)
    clients = np.arange(3)
    results = []
    for unit in ("user", "merchant"):
        setup = setup_of(population, clients__unit=unit, **keys)
        shared, personal = init_shared(setup), init_personal(setup, clients)
        results.append((*train_node(setup, shared, personal, clients, 1), personal))
    (ours, mine, start), (theirs, other, _) = results
    assert max(differences(theirs, ours).values()) <= 2e-6
    for name, value in mine.values.items():
        before = start.values[name]
        assert relative(other.values[name] - before, value - before) <= 2e-6
        assert (value != before).any()


def test_a_merchant_of_many_users_by_plain_numpy() -> None:
    """One full-batch step: a mean over all users' samples for items, and for each user."""
    sizes = (4, 7, 2, 5)
    population = random_population(sizes, 20, clients=[0, 1, 0, 1])
    setup = setup_of(population, clients__unit="merchant", train__batch=0)
    clients = np.arange(2)
    shared, personal = init_shared(setup), init_personal(setup, clients)
    total, new = train_node(setup, shared, personal, clients, 1)
    samples = draw_samples(population, clients, 0, 1, setup.method.sampling)
    q, p = (v.astype(np.float64) for v in (shared.tables["item"], personal.values["user"]))
    expected, change = np.zeros_like(q), np.zeros_like(p)
    for client in clients:
        mine = samples.client == client
        user, item = samples.fields["user"][mine], samples.fields["item"][mine]
        error = sigmoid((p[user] * q[item]).sum(1)) - samples.label[mine]
        step = np.zeros_like(q)
        np.add.at(step, item, -0.5 * error[:, None] * p[user] / mine.sum())
        expected += mine.sum() * step  # weighted by its samples
        np.add.at(change, user, -0.3 * error[:, None] * q[item] / mine.sum())
    assert relative(total.tables["item"].dense(20), expected) <= 1e-5
    assert relative(new.values["user"] - personal.values["user"], change) <= 1e-5


@pytest.fixture(params=["merchant", "dirichlet"])
def shops(request: pytest.FixtureRequest, small_run: Callable[..., Config]) -> Setup:
    return prepare(small_run(clients__unit=request.param, clients__num=4, data__merchants=4))


def test_vectors_of_users_stay_with_their_client(shops: Setup) -> None:
    clients = np.arange(shops.population.num_clients)
    shared, personal = init_shared(shops), init_personal(shops, clients)
    assert len(personal.values["user"]) == shops.population.num_users > len(clients)
    total, new = train_node(shops, shared, personal, clients, 1)
    assert set(total.tables) == {"item"}
    assert not total.weights
    trained = np.diff(shops.population.indptr) > 0
    moved = (new.values["user"] != personal.values["user"]).any(1)
    assert (moved == trained).all()


def test_merchants_on_nodes_of_their_own_give_the_same_sum(shops: Setup) -> None:
    clients = np.arange(shops.population.num_clients)
    shared, personal = init_shared(shops), init_personal(shops, clients)
    whole, own = train_node(shops, shared, personal, clients, 1)
    for nodes in (2, len(clients)):
        groups = [clients[p::nodes] for p in range(nodes)]
        apart, merged = train_apart(shops, shared, personal, groups)
        assert max(differences(apart, whole).values()) <= 2e-6
        before = personal.values["user"]
        assert relative(merged.values["user"] - before, own.values["user"] - before) <= 2e-6


# Evaluation ------------------------------------------------------------------------


def test_evaluation_sums_over_nodes() -> None:
    setup = SPREAD["fedavg"]
    clients = np.arange(len(SIZES))
    shared, personal = init_shared(setup), init_personal(setup, clients)
    whole = evaluate_node(setup, shared, personal, clients, "test", bootstrap=0)
    parts = [
        evaluate_node(setup, shared, personal.take(c), c, "test", bootstrap=0)
        for c in (clients[::2], clients[1::2])
    ]
    both = parts[0] + parts[1]
    assert both.counts == whole.counts == {"full": len(SIZES)}
    assert both.values == pytest.approx(whole.values)


def test_fcf_evaluates_with_vectors_solved_anew() -> None:
    setup = SPREAD["fcf"]
    population, clients = setup.population, np.arange(len(SIZES))
    shared, personal = init_shared(setup), init_personal(setup, clients)
    derived = derive_personal(setup, shared, personal, clients)
    owner = np.repeat(clients, np.diff(population.indptr))
    expected = solve_users(shared.tables["item"], owner, population.items.astype(np.int64),
                           len(clients), alpha=4.0, ridge=10.0)  # fmt: skip
    assert (derived.values["user"] == expected).all()
    _, trained = train_node(setup, shared, personal, clients, 1)
    assert trained.values["user"] == pytest.approx(expected, rel=1e-6)
    assert derive_personal(SPREAD["fedavg"], shared, personal, clients) is personal


def test_ratings_are_predicted_and_clipped() -> None:
    population = random_population((3, 5, 4), 12, ratings=True)
    setup = setup_of(population, data__feedback="explicit", model__loss="squared")
    clients = np.arange(3)
    shared, personal = init_shared(setup), init_personal(setup, clients)
    shared.tables["item_bias"][:] = np.linspace(-4, 4, 12)[:, None]
    sums = evaluate_node(setup, shared, personal, clients, "test", bootstrap=0)
    held_out, squared = population.test, 0.0
    for user, item, label in zip(held_out.users, held_out.items, held_out.labels, strict=True):
        dot = personal.values["user"][user] @ shared.tables["item"][item]
        rating = np.clip(3.0 + shared.tables["item_bias"][item, 0] + dot, 1.0, 5.0)
        squared += (rating - label) ** 2
    assert sums.values["rating.squared_error"] == pytest.approx(squared, rel=1e-5)
    assert sums.counts["rating"] == 3


def test_scores_that_are_not_finite_are_an_error() -> None:
    setup = SPREAD["fedavg"]
    clients = np.arange(len(SIZES))
    shared = init_shared(setup)
    shared.tables["item"][3] = np.nan
    with pytest.raises(ModelError, match="learning rate"):
        evaluate_node(setup, shared, init_personal(setup, clients), clients, "valid", bootstrap=0)


def test_prepare_is_cached_and_where_a_run_is_written_does_not_matter(
    small_run: Callable[..., Config],
) -> None:
    first, second = prepare(small_run("a")), prepare(small_run("b", run__name="other"))
    assert first is second
    other = prepare(small_run(train__lr=0.5, clients__availability=0.5))
    assert other is not first
    assert other.population is first.population
