"""Malicious clients: who they are, and what they send."""

from dataclasses import replace

import numpy as np
import pytest

from fedrec.audit.rounds import begin, train_updates
from fedrec.errors import ConfigError
from fedrec.robust.attacks import make_plot, poison
from fedrec.robust.updates import merge
from tests.audit.audit_cases import small_setup
from tests.training.cohorts import population_of, setup_of


def plot_of(setup, attack):
    return make_plot(setup.config, setup.population, attack)


def sent(attack, boost=1.0):
    setup = small_setup(robust__malicious=0.25, robust__boost=boost)
    state = begin(setup)
    updates, _ = train_updates(setup, state, np.arange(40), 1)
    plot = plot_of(setup, attack)
    return updates, poison(updates, plot, state.shared, 0, 1), plot, state


def rows_of(updates, client):
    here = updates.client == client
    return updates.ids[here], updates.rows[here]


def test_honest_clients_send_what_they_would():
    for attack in ("none", "off", "random", "promote", "replace"):
        before, after, plot, _ = sent(attack)
        assert plot.malicious.sum() == 10
        for client in np.flatnonzero(~plot.malicious):
            for a, b in zip(rows_of(before, client), rows_of(after, client), strict=True):
                assert (a == b).all()
        assert (after is before) == (attack in ("none", "off"))


@pytest.mark.parametrize("attack", ["random", "promote", "replace"])
def test_where_a_client_is_hosted_does_not_matter(attack):
    before, whole, plot, state = sent(attack)
    parts = [before.take(np.arange(first, 40, 3)) for first in range(3)]
    spread = merge([poison(part, plot, state.shared, 0, 1) for part in parts])
    assert np.array_equal(spread.client, whole.client)
    assert np.array_equal(spread.ids, whole.ids)
    assert np.allclose(spread.rows, whole.rows, rtol=1e-6, atol=0)


def test_random_rows_keep_their_norm_and_lose_their_direction():
    before, after, plot, _ = sent("random", 2.0)
    bad = int(np.flatnonzero(plot.malicious)[0])
    (ids, honest), (same, rows) = rows_of(before, bad), rows_of(after, bad)
    assert ids.tolist() == same.tolist()
    own = np.linalg.norm(honest, axis=1)
    assert np.allclose(np.linalg.norm(rows, axis=1), 2 * own, rtol=1e-5)
    cosine = (rows * honest).sum(1) / (2 * own**2)
    assert abs(cosine.mean()) < 0.5
    assert len(np.unique(rows[:, 0] / own)) == len(rows)  # every row has a direction of its own


def test_promotion_is_one_row_of_the_client_s_whole_norm():
    before, after, plot, state = sent("promote", 1.5)
    wanted = state.shared.tables["item"][plot.popular].mean(0)
    for bad in np.flatnonzero(plot.malicious):
        ids, rows = rows_of(after, bad)
        assert ids.tolist() == [plot.target]
        assert np.linalg.norm(rows) == pytest.approx(1.5 * before.norms[bad], rel=1e-5)
        assert rows[0] @ wanted == pytest.approx(np.linalg.norm(rows) * np.linalg.norm(wanted))


def test_replacement_puts_the_mean_where_it_is_wanted():
    _, after, plot, state = sent("replace")
    table = state.shared.tables["item"]
    bad = np.flatnonzero(plot.malicious)
    mean = sum(rows_of(after, int(c))[1][0] for c in bad) / 40
    assert np.allclose(table[plot.target] + mean, 2 * table[plot.popular].mean(0), atol=1e-5)


def test_dense_weights_of_malicious_clients_are_zero_when_they_push_one_item():
    setup = small_setup(model__name="ncf", robust__malicious=0.25)
    state = begin(setup)
    updates, _ = train_updates(setup, state, np.arange(40), 1)
    plot = plot_of(setup, "promote")
    after = poison(updates, plot, state.shared, 0, 1)
    for name, value in after.weights.items():
        assert not value[plot.malicious].any()
        assert np.array_equal(value[~plot.malicious], updates.weights[name][~plot.malicious])


def test_the_target_is_the_least_popular_item_that_somebody_has():
    setup = setup_of(population_of([[0, 1, 2], [0, 1], [0]], num_items=5), robust__malicious=0.4)
    plot = plot_of(setup, "promote")
    assert plot.target == 2
    assert plot.popular[:2].tolist() == [0, 1]
    named = replace(setup, config=setup.config.with_({"robust.target": 1}))
    assert plot_of(named, "promote").target == 1
    with pytest.raises(ConfigError, match="robust.target = 900: expected an item below 60"):
        plot_of(small_setup(robust__target=900), "promote")


def ridden(attack, round_number, boost=1.0, **keys):
    """What free-riders send in a round, whose parameters have moved by `change` since the start."""
    setup = small_setup(robust__malicious=0.25, robust__boost=boost, **keys)
    state = begin(setup)
    rng = np.random.default_rng(0)
    now = state.shared.copy()
    for group in (now.tables, now.weights):
        for value in group.values():
            value += rng.normal(size=value.shape).astype(np.float32)
    updates, _ = train_updates(setup, state, np.arange(40), 1)
    plot = plot_of(setup, attack)
    after = poison(updates, plot, now, 0, round_number, state.shared)
    return updates, after, plot, state.shared, now


@pytest.mark.parametrize("model", ["mf", "ncf"])
def test_old_updates_are_the_mean_change_of_a_round_so_far(model):
    before, after, plot, start, now = ridden("stale", 5, 2.0, model__name=model)
    for bad in np.flatnonzero(plot.malicious):
        ids, rows = rows_of(after, bad)
        assert ids.tolist() == list(range(60))
        change = np.concatenate([now.tables[n] - start.tables[n] for n in now.tables], 1)
        assert np.allclose(rows, 2.0 * change / 4, atol=1e-6)
        for name, value in after.weights.items():
            expected = 2.0 * (now.weights[name] - start.weights[name]) / 4
            assert np.allclose(value[bad], expected, atol=1e-6)
    honest = np.flatnonzero(~plot.malicious)
    for name, value in after.weights.items():
        assert np.array_equal(value[honest], before.weights[name][honest])


def test_noise_has_the_norm_of_that_change_and_no_direction():
    _, after, plot, start, now = ridden("noise", 5)
    change = now.tables["item"] - start.tables["item"]
    sent = [rows_of(after, bad)[1] for bad in np.flatnonzero(plot.malicious)]
    for rows in sent:
        assert np.linalg.norm(rows) == pytest.approx(np.linalg.norm(change) / 4, rel=1e-4)
        assert abs((rows * change).sum()) < 0.3 * np.linalg.norm(rows) * np.linalg.norm(change)
    assert not np.allclose(sent[0], sent[1])


@pytest.mark.parametrize("attack", ["noise", "stale"])
def test_free_riders_know_nothing_in_the_first_round(attack):
    setup = small_setup(robust__malicious=0.25)
    state = begin(setup)
    updates, _ = train_updates(setup, state, np.arange(40), 1)
    plot = plot_of(setup, attack)
    after = poison(updates, plot, state.shared, 0, 1, state.shared)
    assert not after.norms[plot.malicious].any()
    assert after.norms[~plot.malicious].all()


@pytest.mark.parametrize("attack", ["noise", "stale"])
def test_where_a_free_rider_is_hosted_does_not_matter(attack):
    before, whole, plot, start, now = ridden(attack, 3)
    parts = [before.take(np.arange(first, 40, 3)) for first in range(3)]
    spread = merge([poison(part, plot, now, 0, 3, start) for part in parts])
    assert np.array_equal(spread.ids, whole.ids)
    assert np.allclose(spread.rows, whole.rows, rtol=1e-5, atol=1e-7)


def test_attackers_can_be_named():
    setup = small_setup(robust__who="3 0")
    assert np.flatnonzero(plot_of(setup, "stale").malicious).tolist() == [0, 3]
    with pytest.raises(ConfigError, match=r"robust.who = '3 40': expected numbers .* 0 to 39"):
        plot_of(small_setup(robust__who="3 40"), "stale")
    with pytest.raises(ConfigError, match="expected numbers of clients"):
        plot_of(small_setup(robust__who="north"), "stale")
