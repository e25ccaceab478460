"""Cohorts depend on seed, round and client alone."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedrec.config import Config, from_flat
from server.sampling import sample_clients

EVERYONE = np.arange(1000)


def config(**keys: str | float) -> Config:
    return from_flat({f"clients.{name}": value for name, value in keys.items()})


def test_all_clients_train() -> None:
    sample = sample_clients(config(), EVERYONE, 1)
    assert sample.training.tolist() == EVERYONE.tolist()
    assert len(sample.dropped) == 0


def test_fixed_size_is_exact_and_differs_between_rounds() -> None:
    chosen = [sample_clients(config(sampling="fixed", per_round=100), EVERYONE, r) for r in (1, 2)]
    assert [len(s.training) for s in chosen] == [100, 100]
    assert set(chosen[0].training) != set(chosen[1].training)
    assert (np.diff(chosen[0].training) > 0).all()


def test_fixed_size_is_at_most_the_reachable() -> None:
    sample = sample_clients(config(sampling="fixed", per_round=100), np.arange(7), 1)
    assert sample.training.tolist() == list(range(7))


def test_poisson_takes_each_client_with_the_same_chance() -> None:
    sizes = [
        len(sample_clients(config(sampling="poisson", per_round=100), EVERYONE, r).training)
        for r in range(1, 201)
    ]
    assert np.mean(sizes) == pytest.approx(100, abs=3)  # four standard errors of 0.67
    assert np.std(sizes) == pytest.approx(np.sqrt(90), rel=0.25)


@pytest.mark.parametrize(("key", "rate"), [("availability", 0.7), ("dropout", 0.3)])
def test_unreachable_and_failing_clients(key: str, rate: float) -> None:
    sample = sample_clients(config(**{key: rate}), EVERYONE, 3)
    assert len(sample.training) == pytest.approx(700, abs=60)
    assert len(sample.dropped) == (0 if key == "availability" else 1000 - len(sample.training))
    assert not set(sample.training) & set(sample.dropped)


@given(st.integers(1, 50), st.sets(st.integers(0, 999), min_size=1))
def test_a_decision_does_not_depend_on_who_else_is_there(round_number: int, some: set) -> None:
    settings = config(sampling="poisson", per_round=len(some), availability=0.8)
    there = np.array(sorted(some))
    alone = [
        c for c in there if len(sample_clients(settings, np.array([c]), round_number).training)
    ]
    together = sample_clients(settings, there, round_number).training
    assert set(together) <= set(alone)  # alone, the chance to be drawn is 1


def test_seeds_draw_other_cohorts(small_run: Callable[..., Config]) -> None:
    fixed = {"clients__sampling": "fixed", "clients__per_round": 100}
    a, b = (sample_clients(small_run(run__seed=s, **fixed), EVERYONE, 1) for s in (0, 1))
    assert set(a.training) != set(b.training)
