"""Rounds of the audits: the same sum as a run's, with each client's update its own."""

import numpy as np
import pytest

from fedrec.audit.rounds import begin, interactions, play, train_updates
from fedrec.engine.server_side import AppServer
from fedrec.params import Shared
from fedrec.robust.updates import as_partial_sum
from fedrec.training.node import evaluate_node, init_personal, init_shared, train_node
from tests.audit.audit_cases import PlainServer, small_setup, updates_of
from tests.training.cohorts import relative


@pytest.mark.parametrize("keys", [{}, {"model__name": "ncf"}, {"server__weighting": "samples"}])
def test_single_updates_add_up_to_the_partial_sum_of_a_node(keys):
    setup = small_setup(**keys)
    state, clients = begin(setup), np.array([1, 3, 4, 20, 39])
    updates, personal = train_updates(setup, state, clients, 1)
    whole = init_personal(setup, np.arange(40))
    total, new = train_node(setup, init_shared(setup), whole.take(clients), clients, 1)
    ours = as_partial_sum(updates)
    assert ours.tables.keys() == total.tables.keys()
    for name, table in total.tables.items():
        assert ours.tables[name].ids.tolist() == table.ids.tolist()
        assert relative(ours.tables[name].rows, table.rows) < 1e-6
        assert np.allclose(ours.row_weight[name], total.row_weight[name])
    for name, value in total.weights.items():
        assert relative(ours.weights[name], value) < 1e-6
    assert (ours.weight, ours.num_clients) == (total.weight, 5)
    for name, value in new.values.items():
        assert np.allclose(personal.values[name][clients], value, atol=1e-6)
        assert (personal.values[name][0] == state.personal.values[name][0]).all()


def test_play_trains_as_the_server_of_the_app_does():
    setup = small_setup(clients__sampling="fixed", clients__per_round=10, evaluate__sampled=0)
    state = begin(setup)
    server = AppServer(setup, state.shared)
    assert len(server.sample(1)) == 10
    assert server.sample(1).tolist() != server.sample(2).tolist()
    after = play(setup, server, state, 3)
    assert after.round_number == 3
    assert isinstance(after.shared, Shared)
    assert relative(after.shared.tables["item"], state.shared.tables["item"]) > 0.01
    everyone = np.arange(setup.population.num_clients)
    sums = evaluate_node(setup, after.shared, after.personal, everyone, "test", bootstrap=0)
    assert sums.counts["full"] == 40


def test_updates_norms_counts_dense_take():
    updates = updates_of(
        [{0: [3.0, 0.0], 2: [0.0, 4.0]}, {2: [0.0, 1.0]}], 4, [[0.0], [np.sqrt(3.0)]]
    )
    assert np.allclose(updates.norms, [5.0, 2.0])
    assert updates.counts.tolist() == [1, 0, 2, 0]
    assert updates.touched().tolist() == [[True, False, True, False], [False, False, True, False]]
    assert updates.dense(1, 2).tolist() == [[[0, 0], [0, 0], [0, 1], [0, 0]]]
    assert updates.total()[2].tolist() == [0.0, 5.0]
    last = updates.take(np.array([1]))
    assert (last.clients.tolist(), last.client.tolist(), last.ids.tolist()) == ([1], [0], [2])
    assert np.allclose(updates.scaled(np.array([2.0, 1.0])).norms, [10.0, 2.0])


def test_interactions_are_training_items():
    setup = small_setup()
    table = interactions(setup, np.array([2, 7]))
    population = setup.population
    for row, client in enumerate((2, 7)):
        mine = population.items[population.indptr[client] : population.indptr[client + 1]]
        assert np.flatnonzero(table[row]).tolist() == sorted(mine.tolist())


def test_a_plain_server_is_one():
    setup = small_setup()
    state = begin(setup)
    assert play(setup, PlainServer(setup, state.shared, 5), state, 1).round_number == 1
