"""Both halves of the policy: the noise that is added is the noise that is accounted."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from fedrec.config import from_flat
from fedrec.errors import ConfigError
from fedrec.params import PartialSum, Shared, SparseRows
from fedrec.privacy.ledger import Event
from fedrec.privacy.noise import fresh_key
from fedrec.privacy.policy import WITHIN, At, PrivacyPolicy
from tests.privacy.updates import update_of, vectors

SHARED = Shared(
    {"item": np.zeros((7, 2), np.float32), "item_bias": np.zeros((7, 1), np.float32)},
    {"w": np.zeros(3, np.float32)},
)
KEY = bytes(32)


def policy(population: int = 100, **keys: Any) -> PrivacyPolicy:
    values = {"privacy.mechanism": "central", "privacy.clip": 2.0, "privacy.noise_multiplier": 1.5}
    given = {name.replace("__", "."): value for name, value in keys.items()}
    return PrivacyPolicy(from_flat({**values, **given}), population)


def sum_of(value: float, clients: int = 4, within: float = 2.0) -> PartialSum:
    ids = np.array([1, 4])
    tables = {"item": SparseRows(ids, np.full((2, 2), value)),
              "item_bias": SparseRows(ids, np.full((2, 1), value))}  # fmt: skip
    weights: dict = {"w": np.full(3, value)}
    of_row = {name: np.ones(2) for name in tables}
    return PartialSum(tables, of_row, weights, float(clients), clients, {WITHIN: within})


def flat(total: PartialSum) -> np.ndarray:
    parts = [t.rows.ravel() for t in total.tables.values()]
    return np.concatenate([*parts, *(w.ravel() for w in total.weights.values())])


def noise_of(given: PartialSum | None, at: At, **keys: Any) -> np.ndarray:
    exact = policy(privacy__noise_multiplier=0.0, **keys).on_sum(given, SHARED, at)
    return flat(policy(**keys).on_sum(given, SHARED, at)) - flat(exact)


# Central noise ---------------------------------------------------------------------


def test_every_entry_gets_noise_of_the_accounted_size() -> None:
    """Rows that nobody touched and dense weights too; variance (1.5 * 2)^2 everywhere."""
    draws = np.stack([noise_of(sum_of(1.0), At(r, 2.0, KEY)) for r in range(1, 1501)])
    assert draws.shape == (1500, 7 * 2 + 7 + 3)
    assert draws.var() == pytest.approx(9.0, rel=5 * math.sqrt(2 / draws.size))
    assert (np.abs(draws.mean(0)) < 5 * 3 / math.sqrt(1500)).all()
    assert draws.var(0) == pytest.approx(np.full(24, 9.0), rel=5 * math.sqrt(2 / 1500))
    across = np.corrcoef(draws.T) - np.eye(24)
    assert np.abs(across).max() < 6 / math.sqrt(1500)


def test_noise_does_not_depend_on_the_number_of_clients() -> None:
    for total in (None, sum_of(0.5, clients=1), sum_of(0.5, clients=1000)):
        draws = np.stack([noise_of(total, At(r, 2.0, KEY)) for r in range(1, 301)])
        assert draws.std() == pytest.approx(3.0, rel=5 / math.sqrt(2 * draws.size))


def test_noise_follows_the_clip_norm_in_force() -> None:
    keys = {"privacy__clip_mode": "adaptive", "privacy__count_noise": 1e6}
    small, large = (noise_of(sum_of(1.0), At(1, clip, KEY), **keys) for clip in (0.5, 50.0))
    assert large.std() / small.std() == pytest.approx(100.0, rel=0.5)


def test_a_repeated_round_repeats_its_noise_and_nothing_else_does() -> None:
    base = noise_of(sum_of(1.0), At(1, 2.0, KEY))
    assert (noise_of(sum_of(1.0), At(1, 2.0, KEY)) == base).all()
    others = [
        noise_of(sum_of(1.0 + 1e-12), At(1, 2.0, KEY)),  # another node answered after the crash
        noise_of(sum_of(1.0, clients=5), At(1, 2.0, KEY)),
        noise_of(sum_of(1.0, within=3.0), At(1, 2.0, KEY)),
        noise_of(sum_of(1.0), At(2, 2.0, KEY)),
        noise_of(sum_of(1.0), At(1, 2.0, fresh_key())),
    ]
    for other in others:
        assert abs(np.corrcoef(base, other)[0, 1]) < 0.9
        assert (np.abs(other - base) > 1e-9).all()


def test_seeded_noise_depends_on_the_round_alone() -> None:
    """Sums of other engines differ in their last bits; their noise must not."""
    seeded = {"privacy__draws": "seeded"}
    base = noise_of(sum_of(1.0), At(1, 2.0, KEY), **seeded)
    assert noise_of(sum_of(1.0 + 1e-12), At(1, 2.0, KEY), **seeded) == pytest.approx(base, abs=1e-9)
    assert (np.abs(noise_of(sum_of(1.0), At(2, 2.0, KEY), **seeded) - base) > 1e-9).all()


def test_the_divisor_is_the_expected_number_of_clients() -> None:
    for clients in (1, 4, 50):
        noisy = policy(clients__sampling="poisson", clients__per_round=20).on_sum(
            sum_of(1.0, clients), SHARED, At(1, 2.0, KEY)
        )
        assert noisy.weight == 20.0
        assert noisy.num_clients == clients


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({}, 100.0),
        ({"clients__dropout": 0.25}, 75.0),
        ({"clients__sampling": "fixed", "clients__per_round": 30}, 30.0),
        ({"clients__sampling": "fixed", "clients__per_round": 300}, 100.0),
        (
            {
                "clients__sampling": "poisson",
                "clients__per_round": 40,
                "clients__availability": 0.5,
            },
            20.0,
        ),
    ],
)
def test_expected_cohorts(keys: dict[str, Any], expected: float) -> None:
    assert policy(**keys).cohort == pytest.approx(expected)


def test_without_a_mechanism_a_sum_stays_the_same_object() -> None:
    off = PrivacyPolicy(from_flat({}), 100)
    total, update = sum_of(1.0), update_of([[0, 1], [2]])
    assert off.on_sum(total, SHARED, off.at(1)) is total
    assert off.on_cohort(total, SHARED, np.arange(4), off.at(1)) is total
    assert off.on_update(update, np.arange(2), off.at(1)) is update
    assert not off.private


# The client half -------------------------------------------------------------------


def test_updates_are_bounded_by_the_norm_in_force() -> None:
    fixed, adaptive = policy(), policy(privacy__clip_mode="adaptive")
    update = update_of([[0, 1, 2], [3]], rows=np.full((4, 3), 9.0))
    for rule, clip in ((fixed, 2.0), (adaptive, 0.25)):
        bounded = rule.on_update(update, np.arange(2), rule.at(1, 0.25))
        assert np.linalg.norm(vectors(bounded), axis=1) == pytest.approx([clip] * 2, rel=1e-5)
        assert bounded.metrics[WITHIN].tolist() == [0.0, 0.0]


def test_one_row_cannot_use_up_the_whole_norm() -> None:
    rows = np.array([[100.0, 0, 0], [0, 1.0, 0]])
    update = update_of([[0, 1]], rows=rows, weights=np.zeros((1, 3)))
    flat_clip, by_row = policy(), policy(privacy__row_clip=1.0)
    whole = by_row.on_update(update, np.arange(1), by_row.at(1)).rows["item"]
    assert whole == pytest.approx(np.eye(2), rel=1e-5)
    assert flat_clip.on_update(update, np.arange(1), flat_clip.at(1)).rows["item"][1, 1] < 0.03


def test_local_noise_is_each_clients_own() -> None:
    rule = policy(privacy__mechanism="local")
    total = sum_of(1.0)
    exact = policy(privacy__mechanism="local", privacy__noise_multiplier=0.0)

    def noise(clients: list[int], round_number: int = 1, shared: Shared = SHARED) -> np.ndarray:
        at = rule.at(round_number)
        noisy, clear = (r.on_cohort(total, shared, np.array(clients), at) for r in (rule, exact))
        assert (noisy.num_clients, noisy.weight) == (len(clients), float(len(clients)))
        return flat(noisy) - flat(clear)

    together = noise([3, 8, 21])
    assert together == pytest.approx(noise([3]) + noise([8]) + noise([21]), abs=1e-9)
    moved = Shared({**SHARED.tables, "item": SHARED.tables["item"] + 1}, SHARED.weights)
    assert (np.abs(noise([3], shared=moved) - noise([3])) > 1e-9).all()  # never met twice
    draws = np.stack([noise(list(range(9)), r) for r in range(1, 201)])
    assert draws.std() == pytest.approx(3.0 * 3.0, rel=5 / math.sqrt(2 * draws.size))


def test_local_updates_are_as_large_as_the_tables() -> None:
    rule = policy(privacy__mechanism="local")
    total = rule.on_cohort(sum_of(1.0), SHARED, np.arange(5), rule.at(1))
    assert total.metrics["bytes_up"] == 5 * (7 * (4 + 8 + 4) + 3 * 4)
    assert total.tables["item"].ids.tolist() == list(range(7))


# Adaptive clipping -----------------------------------------------------------------


def test_the_norm_moves_towards_the_quantile_by_hand() -> None:
    """3 of 4 within, median wanted, rate 0.2: norm * exp(-0.2 (0.75 - 0.5))."""
    rule = policy(4, privacy__clip_mode="adaptive", privacy__noise_multiplier=0.0)
    at = At(1, 2.0, KEY)
    assert rule.next_clip(sum_of(1.0, 4, 3.0), SHARED, at) == pytest.approx(2 * math.exp(-0.05))
    assert rule.next_clip(sum_of(1.0, 4, 0.0), SHARED, at) == pytest.approx(2 * math.exp(0.1))
    assert rule.next_clip(None, SHARED, at) == pytest.approx(2.0)
    assert policy(4).next_clip(sum_of(1.0, 4, 3.0), SHARED, at) == 2.0


def test_the_count_gets_the_noise_that_is_accounted() -> None:
    """Both parts together cost as much as one Gaussian of the configured multiplier."""
    rule = policy(1000, privacy__clip_mode="adaptive")
    assert rule.count_noise == 50.0
    combined = (rule.sum_noise**-2 + (2 * rule.count_noise) ** -2) ** -0.5
    assert combined == pytest.approx(1.5)
    steps = [
        math.log(rule.next_clip(sum_of(1.0, 1000, 500.0), SHARED, At(r, 1.0, KEY))) / -0.2
        for r in range(1, 2001)
    ]
    assert np.std(steps) * 1000 == pytest.approx(50.0, rel=5 / math.sqrt(4000))
    assert abs(np.mean(steps)) * 1000 < 5 * 50 / math.sqrt(2000)


def test_the_norm_follows_the_quantile_of_norms_that_stay() -> None:
    rule = policy(400, privacy__clip_mode="adaptive", privacy__clip_quantile=0.8)
    norms, clip = np.linspace(0.0, 10.0, 400), 0.1
    for round_number in range(1, 120):
        within = float((norms <= clip).sum())
        clip = rule.next_clip(sum_of(1.0, 400, within), SHARED, At(round_number, clip, KEY))
    assert clip == pytest.approx(8.0, rel=0.15)


def test_too_precise_a_count_is_refused() -> None:
    rule = policy(privacy__clip_mode="adaptive", privacy__count_noise=0.5)
    with pytest.raises(ConfigError, match=r"raise it above 0\.75, or set it to 0"):
        _ = rule.sum_noise
    few = policy(2, privacy__clip_mode="adaptive")
    assert few.sum_noise > 1.5


# The accountant --------------------------------------------------------------------


def test_events_match_the_sampler() -> None:
    drawn = {"clients__per_round": 10}
    assert policy().event(60) == Event("gaussian", 1.5, 100, 100)
    assert policy(clients__sampling="poisson", **drawn).event(60) == Event("poisson", 1.5, 100, 10)
    assert policy(clients__sampling="fixed", **drawn).event(60) == Event("fixed", 1.5, 60, 10)
    assert policy(privacy__mechanism="local").event(60).kind == "replace"


def test_unreachable_and_failing_clients_are_not_credited() -> None:
    keys = {"clients__sampling": "poisson", "clients__per_round": 10}
    unlucky = policy(clients__availability=0.3, clients__dropout=0.5, **keys)
    assert unlucky.event(100) == policy(**keys).event(100)


def test_noise_is_calibrated_to_a_budget() -> None:
    keys = {"clients__sampling": "poisson", "clients__per_round": 10, "train__rounds": 7}
    rule = policy(privacy__noise_multiplier=0.0, privacy__epsilon=3.0, **keys)
    from fedrec.privacy.calibrate import epsilon_of

    event = rule.event(100)
    assert event.noise_multiplier == rule.noise_multiplier > 0.3
    assert epsilon_of(event, 7, rule.delta) == pytest.approx(3.0, rel=0.01)
    assert policy(privacy__noise_multiplier=0.0).noise_multiplier == 0.0


def test_delta() -> None:
    assert policy(943).delta == pytest.approx(943**-1.1)
    assert policy(privacy__delta=1e-6).delta == 1e-6
