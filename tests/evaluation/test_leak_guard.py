"""The leak guard: it passes what does not leak, and fails what does."""

from functools import lru_cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedrec.config import from_flat
from fedrec.data.population import HeldOut
from fedrec.errors import DataError
from fedrec.evaluation import leak_guard
from fedrec.evaluation.leak_guard import Verdict, evenly, guard, one_user_each, random_hit_rate
from fedrec.training.node import load_population

MARKET = {
    "data.name": "marketplace",
    "data.users": 200,
    "data.items": 150,
    "data.merchants": 3,
    "data.events_per_user": 20.0,
}


@lru_cache(maxsize=16)
def verdict(negatives: str = "train", unit: str = "user", protocol: str = "leave-last-out"):
    return guard(from_flat({
        **MARKET, "train.negatives_from": negatives, "clients.unit": unit,
        "split.protocol": protocol,
    }))  # fmt: skip


CASES = [("user", "leave-last-out"), ("merchant", "leave-last-out"), ("user", "time")]


@pytest.mark.parametrize(("unit", "protocol"), CASES)
def test_the_default_protocol_passes(unit, protocol):
    found = verdict(unit=unit, protocol=protocol)
    assert found.passed
    assert abs(found.standard_errors) < 3
    assert found.value == pytest.approx(found.random, abs=0.1)
    assert found.statement.endswith("held-out items did not reach training.")


@pytest.mark.parametrize(("unit", "protocol"), CASES)
def test_negatives_that_spare_held_out_items_fail(unit, protocol):
    found = verdict("legacy-leaky", unit, protocol)
    assert not found.passed
    assert found.standard_errors > 10
    assert "training depends on held-out items" in found.statement
    assert "worthless" in found.statement


@pytest.mark.parametrize(("negatives", "passed"), [("train", True), ("legacy-leaky", False)])
def test_on_movielens(negatives, passed):
    found = guard(from_flat({"data.name": "ml-100k", "train.negatives_from": negatives}))
    assert found.metric == "test.full.hr@168"
    assert found.random == pytest.approx(168 / (1682 - 105), abs=0.002)
    assert found.passed is passed
    assert passed or found.value > 0.5


def test_a_model_that_learns_by_talking_would_be_seen(monkeypatch):
    """What the guard measures: a scorer that knows popularity is far from random."""
    from fedrec.training.central import Trained
    from fedrec.training.node import evaluate_scorer

    def popular(setup):
        counts = np.bincount(setup.population.items, minlength=setup.population.num_items)
        users = np.arange(setup.population.num_users)

        def score(some):
            return np.tile(counts.astype(np.float32), (len(some), 1))

        sums = evaluate_scorer(setup, score, users, "test", bootstrap=0)
        return Trained(1, sums, sums, [], 0.0)

    monkeypatch.setattr(leak_guard, "train_local_only", popular)
    assert guard(from_flat(MARKET)).standard_errors > 5


def test_the_verdict_is_an_entry_of_the_result():
    entry = verdict().to_json()
    assert Verdict(**entry) == verdict()
    assert set(entry) == {"passed", "metric", "value", "random", "standard_errors", "statement"}


def test_the_models_and_methods_of_the_configuration_do_not_matter():
    config = from_flat({
        **MARKET, "train.method": "fcf", "model.loss": "squared", "evaluate.select": "mrr@5",
        "evaluate.group": "", "model.dim": 3, "local.epochs": 1,
    })  # fmt: skip
    assert guard(config) == verdict()


def test_nobody_to_rank(monkeypatch):
    population = load_population(from_flat(MARKET))
    nobody = one_user_each(population, np.zeros(0, np.int64))
    monkeypatch.setattr(leak_guard, "load_population", lambda config: nobody)
    with pytest.raises(
        DataError, match="no user with a held-out item .*compare.leak_guard = false"
    ):
        guard(from_flat(MARKET))


def held_out(num_seen, num_relevant, num_items):
    """One user for each entry: seen items first, relevant ones after them."""
    users = np.arange(len(num_seen))
    return HeldOut(
        users,
        np.concatenate([[0], np.cumsum(num_relevant)]),
        np.concatenate([s + np.arange(r) for s, r in zip(num_seen, num_relevant, strict=True)]),
        np.ones(sum(num_relevant), np.float32),
        np.concatenate([[0], np.cumsum(num_seen)]),
        np.concatenate([np.arange(s) for s in num_seen]),
    )


def test_the_hit_rate_of_chance_by_hand():
    # Five candidates of which one is relevant, lists of two: 2 / 5.
    rate, error = random_hit_rate(held_out([5], [1], 10), 10, 2)
    assert rate == pytest.approx(0.4)
    assert error == pytest.approx((0.4 * 0.6) ** 0.5)
    # Two relevant: 1 - C(3, 2) / C(5, 2) = 1 - 3 / 10.
    assert random_hit_rate(held_out([5], [2], 10), 10, 2)[0] == pytest.approx(0.7)
    # The mean over both, and the standard error of a mean of two.
    rate, error = random_hit_rate(held_out([5, 5], [1, 2], 10), 10, 2)
    assert rate == pytest.approx(0.55)
    assert error == pytest.approx((0.4 * 0.6 + 0.7 * 0.3) ** 0.5 / 2)
    # A list as long as the candidates misses nothing.
    assert random_hit_rate(held_out([8], [1], 10), 10, 5) == (1.0, 0.0)


@given(st.integers(0, 6), st.integers(1, 4), st.integers(1, 8))
def test_the_hit_rate_of_chance_by_simulation(seen, relevant, k):
    rate, _ = random_hit_rate(held_out([seen], [relevant], 12), 12, k)
    draw = np.random.default_rng(seen + 10 * relevant + 100 * k)
    places = draw.random((4000, 12 - seen)).argsort(axis=1)[:, :relevant]
    assert rate == pytest.approx((places < k).any(axis=1).mean(), abs=0.04)


def test_users_are_taken_evenly():
    assert evenly(np.array([3, 5, 8]), 10).tolist() == [3, 5, 8]
    assert evenly(np.arange(9), 3).tolist() == [0, 4, 8]
    assert len(np.unique(evenly(np.arange(7), 5))) == 5


def test_every_user_becomes_a_client_of_its_own():
    population = load_population(from_flat({**MARKET, "clients.unit": "merchant"}))
    assert population.num_clients == 3
    users = population.test.users[::7]
    alone = one_user_each(population, users)
    assert alone.num_clients == alone.num_users == len(users)
    assert alone.client_of_user.tolist() == list(range(len(users)))
    assert alone.num_items == population.num_items
    for j, user in enumerate(users):
        mine = slice(population.indptr[user], population.indptr[user + 1])
        theirs = slice(alone.indptr[j], alone.indptr[j + 1])
        assert alone.items[theirs].tolist() == population.items[mine].tolist()
    for part in ("valid", "test"):
        before, after = population.held_out(part), alone.held_out(part)
        assert users[after.users].tolist() == [u for u in before.users if u in users]
        for row, j in enumerate(after.users):
            old = int(np.searchsorted(before.users, users[j]))
            mine = before.items[before.indptr[old] : before.indptr[old + 1]]
            assert after.items[after.indptr[row] : after.indptr[row + 1]].tolist() == mine.tolist()
            seen = before.seen_items[
                before.seen_indptr[users[j]] : before.seen_indptr[users[j] + 1]
            ]
            got = after.seen_items[after.seen_indptr[j] : after.seen_indptr[j + 1]]
            assert got.tolist() == seen.tolist()
