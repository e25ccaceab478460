"""What a run must satisfy to be attacked and defended, and what its result says."""

import pytest

from fedrec.errors import ConfigError
from fedrec.robust.checks import check_robust_run, cohort, robust_entry
from tests.audit.audit_cases import small_setup
from tests.training.cohorts import configuration

SAFE = {"server__weighting": "equal"}


def check(**keys):
    setup = small_setup(**keys)
    check_robust_run(setup.config, setup.population)
    return robust_entry(setup.config, setup.population)


@pytest.mark.parametrize("defence", ["median", "trimmed-mean", "krum", "multi-krum", "bulyan"])
def test_a_rule_that_needs_single_updates_is_refused_where_there_are_none(defence):
    keys = {**SAFE, "robust__defence": defence}
    secure = {"secure__mode": "semi-honest", "server__rows": "sum"}
    with pytest.raises(ConfigError, match=(
        f"robust.defence = '{defence}' compares single updates, and secure.mode = 'semi-honest' "
        "shows the server their sum alone: set secure.mode = 'off', or robust.defence = "
        "'norm-bound' or 'row-clip', which each client applies itself"
    )):  # fmt: skip
        configuration(**keys, **secure)
    noisy = {"privacy__clip": 1.0, "privacy__noise_multiplier": 1.0, "server__rows": "sum"}
    with pytest.raises(ConfigError, match="'central' is not accounted: the noise fits a sum"):
        configuration(**keys, **noisy, privacy__mechanism="central")
    with pytest.raises(ConfigError, match="mechanism = 'local' is not offered: noise is added to"):
        configuration(**keys, **noisy, privacy__mechanism="local")
    with pytest.raises(ConfigError, match="needs server.weighting = 'equal': the number of sampl"):
        configuration(robust__defence=defence, server__weighting="samples")
    configuration(**keys)


@pytest.mark.parametrize("defence", ["norm-bound", "row-clip"])
def test_bounds_go_with_secure_sums_and_noise_but_need_a_norm(defence):
    keys = {**SAFE, "robust__defence": defence}
    with pytest.raises(ConfigError, match="needs robust.norm above 0: a client bounds its update"):
        configuration(**keys)
    keys |= {"robust__norm": 0.5, "server__rows": "sum"}
    configuration(**keys, secure__mode="semi-honest")
    noisy = {"privacy__clip": 1.0, "privacy__noise_multiplier": 1.0}
    configuration(**keys, **noisy, privacy__mechanism="central")


def test_ratings_are_not_attacked():
    with pytest.raises(ConfigError, match="robust.attack = 'promote' is measured by whom .* to: s"):
        configuration(robust__attack="promote", data__feedback="explicit", model__loss="squared")


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("robust__trim", 0.5, "robust.trim.*less than 0.5"),
        ("robust__malicious", 0.5, "robust.malicious.*less than 0.5"),
        ("robust__defence", "medium", "robust.defence.*'median'"),
        ("robust__attack", "none", "robust.attack.*'random'"),
    ],
)
def test_values_out_of_range(key, value, message):
    with pytest.raises(ConfigError, match=message):
        configuration(**{key: value})


def test_too_few_clients():
    few = {"clients__sampling": "fixed", "clients__per_round": 8, "robust__malicious": 0.25}
    with pytest.raises(ConfigError, match=(
        r"'bulyan' needs at least 11 clients a round to withstand 2 malicious ones "
        r"\(robust.malicious = 0.25\), and the round has 8: raise clients.per_round or lower"
    )):  # fmt: skip
        check(robust__defence="bulyan", **few)
    check(robust__defence="krum", **few)  # 2 * 2 + 3 = 7
    for name in ("krum", "multi-krum"):
        with pytest.raises(ConfigError, match=f"'{name}' needs at least 7 clients .* has 6"):
            check(robust__defence=name, **few, clients__dropout=0.25)
    check(robust__defence="median", **few, clients__dropout=0.25)


def test_nobody_attacks():
    with pytest.raises(ConfigError, match="of 40 clients none attacks. Raise robust.malicious"):
        check(robust__attack="promote", robust__malicious=0.01)
    with pytest.raises(ConfigError, match="robust.target = 99: expected an item below 60"):
        check(robust__target=99)


def test_the_expected_cohort():
    assert cohort(configuration(), 40) == 40
    assert cohort(configuration(clients__sampling="fixed", clients__per_round=100), 40) == 40
    keys = {"clients__sampling": "poisson", "clients__per_round": 20, "clients__dropout": 0.1}
    assert cohort(configuration(**keys, clients__availability=0.5), 40) == 9


def test_what_the_result_says():
    assert check() == {}
    told = check(robust__attack="replace", robust__malicious=0.1, robust__target=3)
    assert told["statement"] == (
        "4 of 40 clients are malicious, simulated (attack replace, boost 1); no defence"
    )
    assert (told["malicious"], told["target"]) == (4, {"item": 3, "name": "i3"})
    told = check(robust__defence="norm-bound", robust__norm=0.5)
    assert told["statement"].startswith("no client attacks; every client bounds its own update")
    assert "nobody else" in told["statement"]
    assert told["target"] is None
    told = check(robust__defence="krum", robust__target=0)
    assert "the server sees every client's single update and applies krum" in told["statement"]
    assert told["malicious"] == 0
    assert told["target"]["item"] == 0
