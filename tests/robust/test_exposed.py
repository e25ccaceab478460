"""Exposure of the target and accuracy of honest users, as a run measures them."""

import numpy as np
import pytest

from fedrec.evaluation.encoding import decode_sums, encode_clients
from fedrec.evaluation.sums import intervals, means
from fedrec.robust.attacks import make_plot
from fedrec.robust.exposed import exposure, measured, names
from fedrec.training.node import evaluate_scorer, measure
from fedrec.training.secure_evaluation import evaluation_layout
from tests.audit.audit_cases import small_setup
from tests.training.cohorts import population_of


def constant(scores):
    return lambda users: np.tile(np.asarray(scores, np.float32), (len(users), 1))


def test_exposure_by_hand():
    population = population_of([[0], [3], [1]], num_items=4)
    found = exposure(constant([4, 3, 2, 1]), population, np.arange(3), 2, 2)
    # user 0 ranks 1, 2, 3; user 1 ranks 0, 1, 2; user 2 ranks 0, 2, 3
    assert found.tolist() == [1.0, 0.0, 1.0]
    met = exposure(constant([4, 3, 2, 1]), population, np.arange(3), 3, 4)
    assert np.array_equal(met, [1.0, np.nan, 1.0], equal_nan=True)
    tied = exposure(constant([1, 1, 1, 1]), population, np.arange(3), 2, 2)
    assert tied.tolist() == [1.0, 1.0, 1.0]  # two others tie: one of them before it


def test_what_is_measured():
    assert not measured(small_setup().config)
    assert measured(small_setup(robust__target=0).config)
    assert measured(small_setup(robust__attack="random").config)


def test_honest_users_are_those_who_would_not_attack():
    setup = small_setup(robust__attack="promote", robust__malicious=0.25, robust__target=7)
    config, population = setup.config, setup.population
    bad = np.flatnonzero(make_plot(config, population, "promote").malicious)

    def score(users):  # the target stands first for attackers, last for all others
        out = np.zeros((len(users), population.num_items), np.float32)
        out[:, 7] = np.where(np.isin(users, bad), 1.0, -1.0)
        return out

    users = np.arange(population.num_users)
    sums = evaluate_scorer(setup, score, users, "test", bootstrap=50)
    found = means(sums)
    assert found["robust.exposure@10"] == 0.0
    met = np.array([7 in population.items[a:b] for a, b in
                    zip(population.indptr, population.indptr[1:], strict=False)])  # fmt: skip
    met[bad] = True
    assert sums.counts["robust"] == 40 - met.sum() < 30
    assert sums.counts["honest"] == 30
    assert set(intervals(sums)) >= {"robust.exposure@10", "honest.ndcg@10"}
    calm = small_setup(robust__malicious=0.25, robust__target=7)
    same = evaluate_scorer(calm, score, users, "test", bootstrap=50)
    assert same.values == sums.values  # with and without attack, the same users
    alone = evaluate_scorer(small_setup(), score, np.setdiff1d(users, bad), "test", bootstrap=0)
    assert found["honest.ndcg@10"] == pytest.approx(means(alone)["full.ndcg@10"])
    assert set(names(config)[0]) | set(names(config)[1]) <= {*sums.values, *sums.counts}


def test_every_scorer_of_a_configuration_is_measured():
    setup = small_setup(robust__target=7)
    score = constant(np.arange(60.0))
    users = np.arange(40)
    parts = [evaluate_scorer(setup, score, own, "test", bootstrap=0)
             for own in (users[::2], users[1::2])]  # fmt: skip
    whole = evaluate_scorer(setup, score, users, "test", bootstrap=0)
    assert means(parts[0] + parts[1]) == pytest.approx(means(whole))
    assert "honest.ndcg@10" in means(whole)
    assert whole.counts["full"] == 40
    plain = evaluate_scorer(small_setup(), score, users, "test", bootstrap=0)
    assert set(plain.counts) == {"full"}
    assert plain.values["full.ndcg@10"] == whole.values["full.ndcg@10"]
    assert np.array_equal(plain.recommended, whole.recommended)


def test_a_secure_evaluation_carries_the_same_figures():
    setup = small_setup(robust__attack="promote", robust__malicious=0.25, secure__mode="semi-honest",
                        server__rows="sum")  # fmt: skip
    score, users = constant(np.arange(60.0)), np.arange(40)
    values = measure(setup, score, users, "test")
    layout = evaluation_layout(setup, "test", 40)
    assert (tuple(values.metrics), tuple(values.counts)) == (layout.metrics, layout.protocols)
    totals = {}
    for own in encode_clients(values, values.users, 40, {}, layout):
        totals = {name: totals.get(name, 0) + vector for name, vector in own.items()}
    sums = decode_sums(totals, layout, replicates=0)
    plain = means(evaluate_scorer(setup, score, users, "test", bootstrap=0))
    assert "robust.exposure@10" in plain
    assert means(sums) == pytest.approx(plain, abs=1e-6)
