"""Membership in the final model: the statistics by hand, and a small attack that works."""

import math

import numpy as np
import pytest
from scipy.stats import norm

from fedrec.audit.membership import (
    audit_membership,
    clopper_pearson,
    epsilon_of_attack,
    halves,
    likelihood_ratio,
    logit,
    roc,
    summarise,
)
from fedrec.engine.server_side import AppServer
from tests.audit.audit_cases import PlainServer, small_setup


def gaussian_world(gap, shadows=64, users=100, seed=0):
    members = halves(shadows, users, seed)
    rng = np.random.default_rng(seed)
    return rng.normal(size=members.shape) + gap * members, members


def test_every_user_is_in_half_of_the_models():
    members = halves(64, 31, 5)
    assert members.sum(0).tolist() == [32] * 31
    assert (halves(64, 31, 5) == members).all()
    assert (halves(64, 31, 6) != members).any()


def test_exact_binomial_intervals():
    assert clopper_pearson(0, 10) == pytest.approx((0.0, 0.3085), abs=1e-4)
    assert clopper_pearson(10, 10) == pytest.approx((0.6915, 1.0), abs=1e-4)
    assert clopper_pearson(8, 10) == pytest.approx((0.4439, 0.9748), abs=1e-4)


def test_the_logit_of_a_likelihood():
    assert logit(np.array([math.log(2.0)]))[0] == pytest.approx(0.0)
    assert logit(np.array([-math.log(0.9)]))[0] == pytest.approx(math.log(9.0))
    assert np.isfinite(logit(np.array([0.0, 1e3]))).all()


def test_the_ratio_leaves_the_model_out():
    scores = np.array([[1.0], [3.0], [-1.0], [-3.0]])
    members = np.array([[True], [True], [False], [False]])
    ratio = likelihood_ratio(scores, members)
    # model 0 left out: in has mean 3, out has mean -2, residuals are +-2
    expected = norm.logpdf(1.0, 3.0, 2.0) - norm.logpdf(1.0, -2.0, 2.0)
    assert ratio[0, 0] == pytest.approx(expected)


def test_the_area_is_that_of_two_gaussians():
    scores, members = gaussian_world(1.0, users=400)
    area, rates = roc(likelihood_ratio(scores, members), members, np.ones(400))
    assert area == pytest.approx(norm.cdf(1 / math.sqrt(2)), abs=0.02)
    assert rates[1] == pytest.approx(norm.sf(norm.isf(0.01) - 1.0), abs=0.02)
    none, _ = roc(*gaussian_world(0.0, users=400), np.ones(400))
    assert none == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("gap", [0.0, 0.5, 1.0, 2.0])
def test_the_bound_of_epsilon_stays_below_the_true_one(gap):
    """A Gaussian mechanism of sensitivity over noise `gap` is (epsilon, delta)-private."""
    delta = 1e-5
    epsilons = np.linspace(0.0, 20.0, 2001)
    spent = norm.cdf(gap / 2 - epsilons / max(gap, 1e-9)) - np.exp(epsilons) * norm.cdf(
        -gap / 2 - epsilons / max(gap, 1e-9)
    )
    true = float(epsilons[np.argmax(spent <= delta)]) if gap else 0.0
    scores, members = gaussian_world(gap, users=300)
    ratio = likelihood_ratio(scores, members)
    low, seen, high = epsilon_of_attack(ratio, members, delta)
    assert low <= true + 1e-9
    assert low <= seen
    assert seen <= high
    if gap >= 1:
        assert low > 0.5


def test_the_bound_by_hand():
    """Four of five members are found, with two of five false alarms."""
    ratio = np.array([[1.0, 1.0, 1.0, 1.0, -1.0], [1.0, 1.0, -1.0, -1.0, -1.0]])
    members = np.array([[True] * 5, [False] * 5])
    low, seen, high = epsilon_of_attack(np.tile(ratio, (2, 1)), np.tile(members, (2, 1)), 0.0)
    assert low == 0.0  # of five trials
    assert seen == pytest.approx(math.log(3))  # 3 / 5 give no alarm, 1 / 5 are missed
    bounds = clopper_pearson(3, 5)[1], clopper_pearson(1, 5)[0]
    assert high == pytest.approx(math.log(bounds[0] / bounds[1]))


def test_an_attack_without_false_alarms_has_no_upper_end():
    members = halves(64, 50, 0)
    low, seen, high = epsilon_of_attack(np.where(members, 1.0, -1.0), members, 1e-5)
    ins, outs = members[32:].sum(), (~members[32:]).sum()
    bounds = [math.log((0.025 ** (1 / a) - 1e-5) / (1 - 0.025 ** (1 / b)))
              for a, b in ((ins, outs), (outs, ins))]  # fmt: skip
    assert any(low == pytest.approx(bound) for bound in bounds)
    assert (seen, high) == (math.inf, math.inf)


def test_summary():
    scores, members = gaussian_world(2.0)
    found = summarise(likelihood_ratio(scores, members), members, "off", None, 1e-3)
    assert found.auc_interval[0] <= found.auc <= found.auc_interval[1]
    assert set(found.tpr) == {"0.001", "0.01"}
    assert found.to_json()["epsilon"] is None


KEYS = {"audit__shadows": 16, "audit__shadow_users": 12, "audit__shadow_rounds": 8,
        "model__init": 0.1}  # fmt: skip


def test_a_small_attack_without_noise():
    told = []
    setup = small_setup(30, 40, **{**KEYS, "audit__shadow_rounds": 2, "model__dim": 2})
    found = audit_membership(setup, PlainServer, noise=0.0, tell=told.append)
    assert (found.shadows, found.users, found.protection) == (16, 12, "off")
    assert told == ["membership, off: 16 of 16 shadow models trained"]
    assert found.auc > 0.55
    assert found.epsilon is None


def test_an_attack_on_an_overfit_model_is_well_above_chance():
    """Few users and many rounds: the model remembers who was there."""
    keys = {**KEYS, "audit__shadows": 32, "audit__shadow_rounds": 12, "model__dim": 4}
    setup = small_setup(12, 80, **keys)
    found = audit_membership(setup, PlainServer, noise=0.0, tell=lambda text: None)
    assert found.auc > 0.75
    assert found.auc_interval[0] > 0.6
    assert found.epsilon_low > 0.2


@pytest.mark.slow
def test_noise_keeps_the_bound_below_the_accountant_s():
    pytest.importorskip("dp_accounting")
    setup = small_setup(30, 40, server__table_optimizer="sgd", server__rows="mean", **KEYS)
    found = audit_membership(setup, AppServer, noise=8.0, tell=lambda text: None)
    assert found.protection == "noise 8"
    assert found.epsilon_low <= found.epsilon


@pytest.mark.slow
def test_noise_that_is_accounted_but_never_added_is_found_out():
    pytest.importorskip("dp_accounting")
    setup = small_setup(30, 40, **KEYS)
    found = audit_membership(setup, PlainServer, noise=8.0, tell=lambda text: None)
    assert found.epsilon_low > found.epsilon
