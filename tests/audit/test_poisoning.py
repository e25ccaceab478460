"""Malicious clients: what they send, and what it does."""

from dataclasses import replace

import numpy as np
import pytest

from fedrec.audit.poisoning import (
    audit_robustness,
    exposed,
    make_plot,
    names_of,
    play_attacked,
    poison,
)
from fedrec.audit.rounds import State, begin, play, train_updates
from fedrec.engine.server_side import AppServer
from fedrec.errors import ConfigError
from fedrec.params import Personal, Shared
from tests.audit.audit_cases import PlainServer, small_setup
from tests.training.cohorts import population_of, setup_of


def sent(attack, boost=1.0):
    setup = small_setup(robust__malicious=0.25, robust__boost=boost)
    state = begin(setup)
    updates, _ = train_updates(setup, state, np.arange(40), 1)
    plot = make_plot(setup, attack)
    return updates, poison(updates, plot, state.shared, 0, 1), plot, state


def rows_of(updates, client):
    here = updates.client == client
    return updates.ids[here], updates.rows[here]


def test_honest_clients_send_what_they_would():
    for attack in ("none", "random", "promote", "replace"):
        before, after, plot, _ = sent(attack)
        assert plot.malicious.sum() == 10
        for client in np.flatnonzero(~plot.malicious):
            for a, b in zip(rows_of(before, client), rows_of(after, client), strict=True):
                assert (a == b).all()
        if attack == "none":
            assert after is before


def test_random_rows_have_the_usual_norm():
    before, after, plot, _ = sent("random", 2.0)
    usual = np.median(np.linalg.norm(before.rows, axis=1))
    bad = int(np.flatnonzero(plot.malicious)[0])
    assert rows_of(after, bad)[0].tolist() == rows_of(before, bad)[0].tolist()
    assert np.allclose(np.linalg.norm(rows_of(after, bad)[1], axis=1), 2 * usual, rtol=1e-5)


def test_promotion_is_one_row_of_a_usual_client_s_norm():
    before, after, plot, state = sent("promote")
    bad = int(np.flatnonzero(plot.malicious)[0])
    ids, rows = rows_of(after, bad)
    assert ids.tolist() == [plot.target]
    assert np.linalg.norm(rows) == pytest.approx(np.median(before.norms), rel=1e-5)
    wanted = state.shared.tables["item"][plot.popular].mean(0)
    assert rows[0] @ wanted == pytest.approx(np.linalg.norm(rows) * np.linalg.norm(wanted))


def test_replacement_puts_the_mean_where_it_is_wanted():
    _, after, plot, state = sent("replace")
    table = state.shared.tables["item"]
    bad = np.flatnonzero(plot.malicious)
    mean = sum(rows_of(after, int(c))[1][0] for c in bad) / 40
    assert np.allclose(table[plot.target] + mean, 2 * table[plot.popular].mean(0), atol=1e-5)


def test_the_target_is_the_least_popular_item_that_somebody_has():
    setup = setup_of(population_of([[0, 1, 2], [0, 1], [0]], num_items=5), robust__malicious=0.4)
    plot = make_plot(setup, "promote")
    assert plot.target == 2
    assert plot.popular[:2].tolist() == [0, 1]
    named = replace(setup, config=setup.config.with_({"robust.target": 1}))
    assert make_plot(named, "promote").target == 1


def test_exposure_by_hand():
    setup = setup_of(population_of([[0], [3], [1]], num_items=4), model__dim=1)
    shared = Shared({"item": np.array([[4.0], [3.0], [2.0], [1.0]], np.float32)})
    personal = Personal({"user": np.array([[1.0], [1.0], [-1.0]], np.float32)})
    state, everyone = State(0, shared, personal), np.arange(3)
    # user 0 ranks 1, 2, 3; user 1 has met item 3; user 2 ranks 3, 2, 0
    found = exposed(setup, state, everyone, 3, 2).values
    assert np.allclose(found, [0.0, np.nan, 1.0], equal_nan=True)
    assert exposed(setup, state, everyone, 2, 2).values.tolist() == [1.0, 0.0, 1.0]


def fashionable():
    """Users who nearly all like the first ten items, and each some others."""
    rng = np.random.default_rng(0)
    lists = [[*rng.permutation(10)[:7], *(10 + rng.permutation(50)[:4])] for _ in range(50)]
    return population_of([one[1:] for one in lists], test=[one[:1] for one in lists], num_items=60)


def test_an_attack_promotes_and_a_bound_on_rows_stops_it():
    keys = {"robust__malicious": 0.2, "robust__rounds": 15, "evaluate__k": "10",
            "robust__attacks": "promote", "robust__defences": "off row-clip", "robust__boost": 3.0,
            "train__method": "alternating", "train__optimizer": "adam", "train__reduction": "sum",
            "server__rows": "sum", "server__weighting": "equal"}  # fmt: skip
    setup = setup_of(fashionable(), **keys)
    outcomes = {(o.attack, o.defence): o for o in audit_robustness(setup, AppServer)}
    assert list(outcomes) == [(a, d) for a in ("none", "promote") for d in ("off", "row-clip")]
    assert outcomes["promote", "off"].exposure > outcomes["none", "off"].exposure + 0.3
    assert outcomes["promote", "row-clip"].exposure < outcomes["promote", "off"].exposure - 0.3
    first = outcomes["none", "off"]
    assert (first.k, first.malicious) == (10, 10)
    assert 0 < first.accuracy < 1
    assert set(first.to_json()) >= {"exposure", "accuracy", "exposure_interval"}


def test_without_attack_and_defence_rounds_are_a_run_s():
    setup = small_setup()
    state = begin(setup)
    ours = play_attacked(setup, PlainServer(setup, state.shared), state,
                         make_plot(setup, "none"), "off", 2)  # fmt: skip
    theirs = play(setup, PlainServer(setup, state.shared), state, 2)
    assert np.allclose(ours.shared.tables["item"], theirs.shared.tables["item"], atol=1e-6)
    for name, value in theirs.personal.values.items():
        assert np.allclose(ours.personal.values[name], value, atol=1e-6)


def test_refusals():
    with pytest.raises(ConfigError, match=r"unknown attack 'promte' .* mean 'promote'"):
        names_of(small_setup(robust__attacks="promte"))
    with pytest.raises(ConfigError, match="unknown defence 'x'"):
        names_of(small_setup(robust__defences="x"))
    with pytest.raises(ConfigError, match="robust.target = 900: expected an item below 60"):
        make_plot(small_setup(robust__target=900), "promote")
