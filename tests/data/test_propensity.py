"""Weights against popularity bias: by hand, in samples, and of every system alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedrec.config import Config
from fedrec.data.batches import draw_samples, propensity_weights
from fedrec.errors import ConfigError
from fedrec.training.central import central_method, one_client
from fedrec.training.node import block_samples, init_personal, init_shared, prepare, train_node

Make = Callable[..., Config]


def test_weights_by_hand() -> None:
    counts = np.array([16, 4, 1, 0])
    weights = propensity_weights(counts, 0.5, 10.0)
    mean = (16 * 1 + 4 * 2 + 1 * 4) / 21
    assert weights == pytest.approx(np.array([1, 2, 4, 4]) / mean)
    clipped = propensity_weights(counts, 0.5, 2.0)
    assert clipped == pytest.approx(np.array([1, 2, 2, 2]) * 21 / (16 + 8 + 2))


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=20), st.floats(0.1, 2), st.floats(1, 50))
def test_their_mean_over_interactions_is_one(counts: list[int], power: float, clip: float) -> None:
    found = np.array(counts)
    weights = propensity_weights(found, power, clip)
    assert weights.max() <= weights.min() * clip * (1 + 1e-5)
    if found.sum():
        assert found @ weights / found.sum() == pytest.approx(1, rel=1e-5)


@pytest.mark.parametrize("loss", ["logistic", "bpr"])
def test_positives_are_weighted_and_negatives_are_not(small_run: Make, loss: str) -> None:
    keys: dict[str, Any] = {"model__loss": loss, "train__negatives": 2}
    setup = prepare(small_run(**keys, train__propensity=0.5))
    clients = np.arange(50)
    weights = propensity_weights(setup.population.item_counts, 0.5, 10.0)
    samples = block_samples(setup, clients, 1)
    item = samples.fields["item"]
    expected = np.where(samples.label > 0, weights[item], 1.0)
    assert samples.weight == pytest.approx(np.where(samples.weight > 0, expected, 0.0))
    assert len(np.unique(samples.weight)) > 2
    plain = block_samples(prepare(small_run(**keys)), clients, 1)
    assert np.array_equal(plain.fields["item"], item)


def test_held_out_interactions_are_not_counted(small_run: Make) -> None:
    population = prepare(small_run()).population
    everything = np.bincount(population.split.dataset.interactions.item)
    held_out = len(population.valid.items) + len(population.test.items)
    assert population.item_counts.sum() <= everything.sum() - held_out


def test_the_centralised_twin_weighs_alike(small_run: Make) -> None:
    setup = prepare(small_run(train__propensity=1.0))
    pooled = draw_samples(
        one_client(setup.population), np.array([0]), 0, 1, central_method(setup).sampling
    )
    alone = block_samples(setup, np.arange(50), 1)
    assert np.sort(pooled.weight) == pytest.approx(np.sort(alone.weight))


@pytest.mark.parametrize("unit", ["user", "merchant"])
def test_it_changes_what_clients_learn(small_run: Make, unit: str) -> None:
    found = {}
    for power in (0.0, 0.5):
        setup = prepare(small_run(train__propensity=power, clients__unit=unit, train__lr=0.02))
        clients = np.arange(setup.population.num_clients)
        shared, personal = init_shared(setup), init_personal(setup, clients)
        total, _ = train_node(setup, shared, personal, clients, 1)
        found[power] = total.tables["item"].rows
    assert np.abs(found[0.0] - found[0.5]).max() > 1e-4


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"train__method": "fcf", "model__loss": "squared", "train__negatives": 0}, "solves"),
        ({"model__name": "gru4rec", "model__loss": "softmax"}, "places of sequences"),
        ({"privacy__mechanism": "local", "privacy__clip": 1.0, "privacy__noise_multiplier": 1.0},
         "nothing exact is published"),
        ({"server__weighting": "samples"}, "weights of samples"),
    ],
)  # fmt: skip
def test_what_it_does_not_fit_is_refused(
    small_run: Make, keys: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        small_run(train__propensity=0.5, **keys)
