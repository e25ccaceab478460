"""Attacks against defences in the audit's own rounds."""

import numpy as np
import pytest

from fedrec.audit.poisoning import (
    audit_robustness,
    exposed,
    left_out,
    names_of,
    play_attacked,
)
from fedrec.audit.rounds import State, begin, play
from fedrec.engine.server_side import AppServer
from fedrec.errors import ConfigError
from fedrec.params import Personal, Shared
from fedrec.robust.attacks import make_plot
from tests.audit.audit_cases import PlainServer, small_setup
from tests.training.cohorts import population_of, setup_of


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
                         make_plot(setup.config, setup.population, "none"), "off", 2)  # fmt: skip
    theirs = play(setup, PlainServer(setup, state.shared), state, 2)
    assert np.allclose(ours.shared.tables["item"], theirs.shared.tables["item"], atol=1e-6)
    for name, value in theirs.personal.values.items():
        assert np.allclose(ours.personal.values[name], value, atol=1e-6)


def test_refusals():
    with pytest.raises(ConfigError, match=r"unknown attack 'promte' .* mean 'promote'"):
        names_of(small_setup(robust__attacks="promte"))
    with pytest.raises(ConfigError, match="unknown defence 'x'"):
        names_of(small_setup(robust__defences="x"))
    few = {"clients__sampling": "fixed", "clients__per_round": 8}
    with pytest.raises(ConfigError, match=r"'bulyan' needs at least 11 clients .* has 8: raise"):
        names_of(small_setup(**few, robust__malicious=0.2))
    assert "bulyan" in names_of(small_setup(**few, robust__malicious=0.1))[1]
    assert "bulyan" in names_of(small_setup(**few, robust__malicious=0.2, robust__rounds=0))[1]


def test_with_secure_aggregation_rules_that_need_single_updates_are_left_out():
    secure = small_setup(secure__mode="semi-honest", server__rows="sum")
    assert names_of(secure)[1] == ["off", "norm-bound", "row-clip"]
    single = ["median", "trimmed-mean", "krum", "multi-krum", "bulyan"]
    assert left_out(secure.config) == single
    open_ = small_setup()
    assert names_of(open_)[1] == ["off", "norm-bound", "row-clip", *single]
    assert left_out(open_.config) == []
