"""A recorded federation: what it is put together from, and that it is a run's own."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fedrec.audit.rounds import begin, play_round
from fedrec.config import from_flat
from fedrec.contribution.estimates import exact, from_rounds, from_updates, replayed, retrained
from fedrec.contribution.federation import Round, play, replay, retrain, utilities
from fedrec.contribution.game import everyone
from fedrec.engine.server_side import AppServer
from fedrec.evaluation.sums import means
from fedrec.training.node import Setup, evaluate_node, prepare

MERCHANTS = 3
KEYS = {
    "data.name": "marketplace",
    "data.users": 60,
    "data.items": 50,
    "data.merchants": MERCHANTS,
    "data.events_per_user": 14.0,
    "clients.unit": "merchant",
    "model.dim": 4,
    "model.init": 0.3,
    "train.method": "fedavg",
    "train.optimizer": "sgd",
    "train.rounds": 2,
    "train.lr": 0.5,
    "train.personal_lr": 0.5,
    "server.rows": "mean",
    "server.weighting": "samples",
    "server.table_optimizer": "sgd",
    "server.table_lr": 1.0,
    "evaluate.sampled": 0,
    "evaluate.select": "full.ndcg@10",
    "contribution.permutations": 0,
}
EASE = {
    "train.method": "ease",
    "model.name": "item-item",
    "train.rounds": 1,
    "server.rows": "sum",
    "server.weighting": "equal",
    "baseline.ease_l2": 20.0,
}


def setup_of(**keys: object) -> Setup:
    values = {key.replace("__", "."): value for key, value in keys.items()}
    return prepare(from_flat({**KEYS, **values}))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def setup() -> Setup:
    return setup_of()


@pytest.fixture(scope="module")
def rounds(setup: Setup) -> tuple[Round, ...]:
    return play(setup, AppServer)


def table(shared):
    return shared.tables["item"]


def test_what_is_recorded_is_the_federation_of_a_run(setup, rounds):
    state = begin(setup)
    server = AppServer(setup, state.shared)
    for one in rounds:
        np.testing.assert_allclose(table(one.before), table(state.shared), atol=1e-6)
        state = play_round(setup, server, state)
        np.testing.assert_allclose(table(one.after), table(state.shared), atol=1e-6)
        np.testing.assert_allclose(one.personal.values["user"], state.personal.values["user"])
    assert np.abs(table(state.shared) - table(rounds[0].before)).max() > 0.01


def test_a_round_of_some_is_their_mean_update(rounds):
    one = rounds[1]
    members = [0, 2]
    updates, total = one.updates, np.zeros_like(table(one.before), np.float64)
    weight = updates.weight[members].sum()
    for client in members:
        here = updates.client == client
        total[updates.ids[here]] += updates.weight[client] * updates.rows[here]
    want = table(one.before) + total / weight
    np.testing.assert_allclose(table(one.with_members(frozenset(members))), want, atol=1e-5)
    assert one.with_members(frozenset()) is one.before
    assert one.with_members(everyone(MERCHANTS)) is one.after


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_all_updates_replayed_are_the_federation(optimizer):
    setup = setup_of(server__table_optimizer=optimizer, server__table_lr=0.1)
    rounds = play(setup, AppServer)
    found = replay(setup, rounds, everyone(MERCHANTS))
    np.testing.assert_allclose(table(found), table(rounds[-1].after), atol=1e-6)
    few = replay(setup, rounds, frozenset({1}))
    assert np.abs(table(few) - table(found)).max() > 1e-3


def test_all_retrained_are_the_federation(setup, rounds):
    state = retrain(setup, AppServer, everyone(MERCHANTS))
    np.testing.assert_allclose(table(state.shared), table(rounds[-1].after), atol=1e-6)
    np.testing.assert_allclose(
        state.personal.values["user"], rounds[-1].personal.values["user"], atol=1e-6
    )


def test_who_did_not_train_takes_the_model_and_fits_what_is_personal(setup):
    members = frozenset({0, 1})
    state = retrain(setup, AppServer, members)
    first, user = begin(setup), setup.population.client_of_user
    moved = np.abs(state.personal.values["user"] - first.personal.values["user"]).max(1)
    has_history = np.diff(setup.population.indptr) > 0
    assert (moved[has_history] > 0).all()
    outsiders = np.flatnonzero(user == 2)
    fresh = replace(state, personal=first.personal)
    fitted = utilities(setup, state.shared, state.personal, 2)
    before = utilities(setup, fresh.shared, fresh.personal, 2)
    assert len(outsiders)
    assert fitted[2] != before[2]
    # what members do not share with outsiders: nothing of an outsider is in the table
    other = setup.population.items.copy()
    mine = np.repeat(user == 2, np.diff(setup.population.indptr))
    other[mine] = (other[mine] + 7) % setup.population.num_items
    changed = replace(setup, population=replace(setup.population, items=other))
    np.testing.assert_array_equal(
        table(retrain(changed, AppServer, members).shared), table(state.shared)
    )


def test_utilities_are_the_validation_metric_by_merchant(setup, rounds):
    last = rounds[-1]
    parts = utilities(setup, last.after, last.personal, last.number)
    sums = evaluate_node(setup, last.after, last.personal, np.arange(MERCHANTS), "valid",
                         bootstrap=0, round_number=last.number)  # fmt: skip
    assert parts.sum() == pytest.approx(means(sums)["full.ndcg@10"])
    assert (parts > 0).all()


def test_nothing_is_measured_on_the_test_part(setup, rounds):
    held = setup.population.test
    shuffled = replace(held, items=held.items[::-1].copy())
    other = replace(setup, population=replace(setup.population, test=shuffled))
    np.testing.assert_array_equal(
        exact(replayed(other, rounds), MERCHANTS).values,
        exact(replayed(setup, rounds), MERCHANTS).values,
    )


def test_values_of_all_rounds_add_up_to_what_they_gain(setup, rounds):
    found = from_rounds(setup, rounds)
    gain = sum(
        utilities(setup, one.after, one.personal, one.number).sum()
        - utilities(setup, one.before, one.personal, one.number).sum()
        for one in rounds
    )
    assert found.values.sum() == pytest.approx(gain)
    assert found.evaluations == len(rounds) * 2**MERCHANTS
    assert not found.errors.any()


def test_values_of_rebuilt_models_add_up_to_what_the_federation_gains(setup, rounds):
    found, last = from_updates(setup, rounds), rounds[-1]
    whole = utilities(setup, last.after, last.personal, last.number).sum()
    none = utilities(setup, rounds[0].before, last.personal, last.number).sum()
    assert found.values.sum() == pytest.approx(whole - none)
    assert found.evaluations == 2**MERCHANTS


@pytest.mark.parametrize("estimate", [from_updates, from_rounds])
def test_sampled_orders_come_near(setup, rounds, estimate):
    truth = estimate(setup, rounds).values
    sampled = setup.config.with_({"contribution.permutations": 24})
    found = estimate(replace(setup, config=sampled), rounds)
    assert found.values.sum() == pytest.approx(truth.sum())
    assert (np.abs(found.values - truth) < 4 * found.errors + 1e-9).all()
    assert (found.errors > 0).any()


def test_rounds_without_gain_are_left_out(setup, rounds):
    tolerant = setup.config.with_({"contribution.tolerance": 10.0})
    found = from_rounds(replace(setup, config=tolerant), rounds)
    assert not found.values.any()
    assert found.evaluations == 2 * len(rounds)


def test_from_sums_of_ease_retraining_is_known_without_it():
    setup = setup_of(**{key.replace(".", "__"): value for key, value in EASE.items()})
    rounds = play(setup, AppServer)
    known = from_updates(setup, rounds)
    again = exact(retrained(setup, AppServer), MERCHANTS)
    np.testing.assert_allclose(known.values, again.values, atol=1e-9)
    assert known.evaluations == again.evaluations == 2**MERCHANTS
    assert again.values.max() > 0.01
