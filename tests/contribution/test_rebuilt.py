"""Updates guessed from sums of groups: what they add up to, and what they find."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from fedrec.config import from_flat
from fedrec.contribution.estimates import from_groups, from_updates
from fedrec.contribution.federation import play
from fedrec.contribution.groups import cut
from fedrec.contribution.rebuilt import Opened, alignment, flat, guess, replay_guesses, weights_of
from fedrec.engine.server_side import AppServer
from fedrec.params import PartialSum, Shared, SparseRows
from fedrec.robust.updates import as_partial_sum
from fedrec.training.node import prepare
from tests.contribution.test_federation import KEYS

LIKE = Shared({"item": np.zeros((3, 2), np.float32)}, {"w": np.zeros(2, np.float32)})


def total_of(updates: NDArray[np.float64], weight: NDArray[np.float64]) -> PartialSum:
    """Sum updates [c, 8]: the first six are the rows of a table, the others dense."""
    added = (weight[:, None] * updates).sum(0)
    rows = SparseRows(np.arange(3), added[:6].reshape(3, 2))
    counts = {"item": np.full(3, weight.sum())}
    return PartialSum({"item": rows}, counts, {"w": added[6:]}, float(weight.sum()), len(weight))


def opened_of(updates: NDArray[np.float64], weight: NDArray[np.float64]) -> list[Opened]:
    """Open sums of two groups of updates [T, n, 8] in each round."""
    rounds = []
    for t, of_round in enumerate(updates, 1):
        groups = cut(0, t, len(weight), 2)
        sums = tuple(total_of(of_round[g], weight[g]) for g in groups)
        rounds.append(Opened(t, groups, sums))
    return rounds


def test_guesses_add_up_to_what_was_opened() -> None:
    rng = np.random.default_rng(0)
    weight = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    rounds = opened_of(rng.normal(size=(8, 6, 8)), weight)
    found = guess(rounds, 6, LIKE)
    assert found.numbers == tuple(range(1, 9))
    np.testing.assert_allclose(found.weight, weight)  # solved exactly: they never change
    for at, one in enumerate(rounds):
        for group, total in zip(one.groups, one.sums, strict=True):
            again = found.sum_of(at, group.tolist())
            np.testing.assert_allclose(flat(again, LIKE), flat(total, LIKE), atol=1e-9)
            assert again.weight == pytest.approx(total.weight)
            assert again.num_clients == total.num_clients


def test_what_repeats_is_found_and_what_does_not_stays_hidden() -> None:
    rng = np.random.default_rng(1)
    own, weight = rng.normal(size=(6, 8)), np.ones(6)
    kept = np.tile(own, (30, 1, 1))
    found = guess(opened_of(kept, weight), 6, LIKE).updates.mean(0)[:, :6]
    assert np.corrcoef(found.ravel(), own[:, :6].ravel())[0, 1] > 0.97
    fresh = rng.normal(size=(30, 6, 8))
    last = guess(opened_of(fresh, weight), 6, LIKE).updates[-1][:, :6]
    assert abs(np.corrcoef(last.ravel(), fresh[-1][:, :6].ravel())[0, 1]) < 0.8


def test_noise_is_unlike_what_the_others_send() -> None:
    rng = np.random.default_rng(2)
    market = rng.normal(size=8)
    updates = market + 0.3 * rng.normal(size=(12, 6, 8))
    updates[:, 4] = 3.0 * rng.normal(size=(12, 8))
    found = alignment(guess(opened_of(updates, np.ones(6)), 6, LIKE))
    assert np.argmin(found) == 4
    assert np.delete(found, 4).min() > 0.5
    assert (np.abs(found) <= 1).all()


def test_few_groups_still_give_weights_above_nothing() -> None:
    member = np.array([[1.0, 1.0, 1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0, 1.0, 1.0]])
    found = weights_of(member, np.array([6.0, 3.0]))
    np.testing.assert_allclose(found, [2.0, 2.0, 2.0, 1.0, 1.0, 1.0])


def test_nobody_leaves_the_model_as_it_was() -> None:
    rounds = opened_of(np.ones((2, 6, 8)), np.ones(6))

    def apply(shared: Shared, total: PartialSum, number: int) -> Shared:
        raise AssertionError

    found = guess(rounds, 6, LIKE)
    assert replay_guesses(found, frozenset(), LIKE, apply) is LIKE


def test_they_are_nearer_to_single_updates_than_the_sum_of_all() -> None:
    keys = {**KEYS, "data.users": 90, "data.merchants": 6, "train.rounds": 10}
    setup = prepare(from_flat({**keys, "contribution.permutations": 0}))
    rounds = play(setup, AppServer)
    opened = []
    for one in rounds:
        groups = cut(0, one.number, 6, 2)
        sums = tuple(as_partial_sum(one.updates.take(g)) for g in groups)
        opened.append(Opened(one.number, groups, sums))
    found, known = from_groups(setup, rounds, opened), from_updates(setup, rounds)
    assert found.values.sum() == pytest.approx(known.values.sum())
    assert found.evaluations == 64
    before, size = rounds[0].before, rounds[0].before.tables["item"].size
    true = np.zeros((6, size))
    for one in rounds:
        for i in range(6):
            true[i] += flat(as_partial_sum(one.updates.take(np.array([i]))), before)[:size]
    true /= np.linalg.norm(true, axis=1, keepdims=True)
    seen = guess(opened, 6, before).updates.sum(0)[:, :size]
    near = (seen * true).sum(1) / np.linalg.norm(seen, axis=1)
    whole = seen.sum(0) / np.linalg.norm(seen.sum(0))
    assert near.mean() > (true @ whole).mean() + 0.02
