"""Accuracy weighted by inverse propensity: by hand, self-normalised, in secret as in clear."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedrec.config import Config
from fedrec.data.population import HeldOut
from fedrec.engine.run_engine import execute
from fedrec.errors import ConfigError
from fedrec.evaluation.unbiased import largest_weight, more_names, names, user_weights
from fedrec.storage import RunDirectory
from fedrec.training.node import load_population, measure, prepare

Make = Callable[..., Config]


def test_weights_of_users_by_hand() -> None:
    held_out = HeldOut(
        np.array([2, 5, 7]), np.array([0, 1, 3, 4]), np.array([0, 1, 2, 3], np.int32),
        np.ones(4, np.float32), np.zeros(9, np.int64), np.zeros(0, np.int32),
    )  # fmt: skip
    counts = np.array([16, 4, 1, 0])
    weights = user_weights(held_out, np.array([2, 5, 7]), counts, 0.5, 10.0)
    assert weights.tolist() == [100, 100 * (2 + 4) / 2, 400]
    assert user_weights(held_out, np.array([7]), counts, 0.5, 3.0).tolist() == [300]


def test_all_alike_the_metrics_are_the_plain_ones(small_run: Make) -> None:
    setup = prepare(small_run(evaluate__propensity=0.5, evaluate__propensity_clip=1.0))

    def score(users: np.ndarray) -> np.ndarray:
        draw = np.random.default_rng(0).normal(size=(50, setup.population.num_items))
        return draw[users].astype(np.float32)

    found = measure(setup, score, np.arange(50), "test")
    assert set(found.counts["unbiased"]) == {100.0}
    assert found.metrics["unbiased.ndcg@5"] == pytest.approx(100 * found.metrics["full.ndcg@5"])
    assert "unbiased" not in measure(setup, score, np.arange(50), "valid").counts
    assert names(setup.config, "valid") == ()
    assert largest_weight(setup.config, "test") == 100
    assert more_names(small_run(), setup.population, "test") == ((), ())


def test_a_secure_run_measures_what_a_plain_one_does(small_run: Make) -> None:
    """The counts of items are the diagonal of the masked sum of EASE."""
    keys: dict[str, Any] = {
        "evaluate__propensity": 0.5, "evaluate__item_group": "popularity", "train__rounds": 1,
        "model__name": "item-item", "train__method": "ease", "server__rows": "sum",
        "baseline__ease_l2": 5.0,
    }  # fmt: skip
    found = {}
    for mode in ("off", "semi-honest"):
        config = small_run(mode, **keys, secure__mode=mode)
        execute(config)
        system = json.loads(RunDirectory(Path(config.run.out)).system.read_text())
        test = system["metrics"]["test"]
        assert test["full"]["hr@5"] != test["unbiased"]["hr@5"]
        low, high = system["ci95"]["test.unbiased.hr@10"]
        assert low <= test["unbiased"]["hr@10"] <= high
        found[mode] = test
    for part in ("unbiased", "exposure", "full"):
        assert found["semi-honest"][part] == pytest.approx(found["off"][part], abs=0.03)


@pytest.mark.parametrize("key", ["train__propensity", "evaluate__propensity"])
def test_counts_that_no_masked_sum_holds_are_refused(small_run: Make, key: str) -> None:
    asked = key.replace("__", ".")
    with pytest.raises(ConfigError, match=rf"{asked} = 0.5 needs .* must come out of a masked sum"):
        small_run(**{key: 0.5}, secure__mode="semi-honest")
    with pytest.raises(ConfigError, match=r'item_group = "popularity" needs how many clients'):
        small_run(evaluate__item_group="popularity", secure__mode="malicious-server")


def test_exact_counts_are_not_published_beside_noise(small_run: Make) -> None:
    noisy: dict[str, Any] = {
        "privacy__mechanism": "local", "privacy__clip": 1.0, "privacy__noise_multiplier": 1.0
    }  # fmt: skip
    with pytest.raises(ConfigError, match=r"evaluate.propensity = 0.5 publishes the training"):
        small_run(evaluate__propensity=0.5, **noisy)
    with pytest.raises(ConfigError, match=r'item_group = "popularity" publishes the training'):
        small_run(evaluate__item_group="popularity", **noisy)
    assert load_population(small_run(evaluate__propensity=0.5)).num_items
