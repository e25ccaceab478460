"""Whole runs of methods that sum and solve: on every engine, masked and in clear."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from fedrec.config import Config
from fedrec.engine.run_engine import execute
from fedrec.errors import EngineError
from fedrec.storage import RunDirectory, read_arrays
from fedrec.training.ease import ease_weights, gram_matrix
from fedrec.training.gram import as_table
from fedrec.training.neighbours import similarity
from fedrec.training.node import init_shared, prepare
from tests.engine.test_resume import run_until_killed
from tests.training.test_normal import sweep

Make = Callable[..., Config]
Keys = dict[str, Any]

EASE: Keys = {
    "model__name": "item-item",
    "train__method": "ease",
    "train__rounds": 1,
    "server__rows": "sum",
    "baseline__ease_l2": 5.0,
    "evaluate__sampled": 0,
    "evaluate__bootstrap": 0,
}
KNN: Keys = {**EASE, "train__method": "item-knn", "baseline__knn_k": 7}
EXACT: Keys = {"secure__mode": "semi-honest", "secure__bits": 2, "secure__clip": 1.5}
IALS: Keys = {
    **EASE,
    "model__name": "mf",
    "model__loss": "squared",
    "train__method": "ials",
    "train__rounds": 3,
    "train__alpha": 2.0,
    "train__ridge": 1.5,
}


def run(config: Config, engine: str = "in-process") -> NDArray[np.float32]:
    execute(config, engine=engine)
    arrays, _ = read_arrays(RunDirectory(Path(config.run.out)).checkpoint)
    return arrays["shared/table.item"]


def lines(config: Config) -> list[Keys]:
    text = RunDirectory(Path(config.run.out)).rounds.read_text()
    return [json.loads(line) for line in text.splitlines()]


def system(config: Config) -> Keys:
    return json.loads(RunDirectory(Path(config.run.out)).system.read_text())


def pooled(config: Config) -> csr_matrix:
    """All training interactions: what the centralised twin is fitted on."""
    population = prepare(config).population
    shape = (population.num_users, population.num_items)
    return csr_matrix((population.labels, population.items, population.indptr), shape)


def centralised(config: Config) -> NDArray[np.float32]:
    train, options = pooled(config), config.baseline
    if config.train.method == "ease":
        return ease_weights(gram_matrix(train), options.ease_l2)
    alike = similarity(train.T.tocsr(), options.knn_k, options.knn_shrink, centred=False)
    return as_table(alike, options.knn_k)


@pytest.mark.parametrize("method", [EASE, KNN], ids=["ease", "item-knn"])
@pytest.mark.parametrize(
    "keys",
    [
        {},
        {"engine__nodes": 7},
        {"train__rounds": 4, "evaluate__every": 4},
        {"data__items": 61, "engine__nodes": 50, "train__rounds": 3, "evaluate__every": 3},
        {"clients__unit": "merchant", "data__merchants": 4},
        {**EXACT, "engine__nodes": 2},
        {**EXACT, "train__rounds": 3, "evaluate__every": 3},
        {**EXACT, "clients__unit": "merchant", "data__merchants": 4, "secure__bits": 8,
         "secure__clip": 127.5},
    ],
    ids=["one node", "seven nodes", "blocks", "one client a node", "merchants", "masked",
         "masked blocks", "masked merchants"],
)  # fmt: skip
def test_the_federated_model_is_the_centralised_one(
    small_run: Make, method: Keys, keys: Keys
) -> None:
    config = small_run(**{**method, **keys})
    ours, twin = run(config), centralised(config)
    assert np.abs(twin).max() > 0.01
    np.testing.assert_array_equal(ours, twin)
    told = lines(config)
    assert [line["loss"] for line in told] == [None] * config.train.rounds
    assert told[-1]["valid"] is not None
    assert all(line["valid"] is None for line in told[:-1])
    assert told[-1]["bytes_down"] >= ours.nbytes * told[-1]["clients"]


def test_a_coarse_grid_is_within_its_bound(small_run: Make) -> None:
    """20 bits over [-4, 4]: an entry of the sum is off by less than a step for each client."""
    config = small_run(**{**EASE, "secure__mode": "semi-honest"})
    ours, twin = run(config), centralised(config)
    assert 0 < np.abs(ours - twin).max() < 1e-3


def test_what_travels_is_counted(small_run: Make) -> None:
    """In clear a client sends rows of 8 bytes and pairs of 8; masked all pairs in few bits."""
    plain, hidden = small_run("plain", **EASE), small_run("hidden", **{**EASE, **EXACT})
    run(plain)
    run(hidden)
    population = prepare(plain).population
    counts, size = np.diff(population.indptr), population.num_items
    told, masked = lines(plain)[0], lines(hidden)[0]
    assert told["bytes_up"] == 8 * counts.sum() + 4 * (counts * (counts + 1)).sum()
    assert told["bytes_down"] == 50 * 4 * size**2
    elements, bits = size * (size // 2 + 1), 8  # 50 clients with levels up to 3: sums below 2 ** 8
    assert masked["bytes_up"] > 50 * elements * bits / 8
    assert masked["bytes_up"] < 50 * elements * bits / 8 + 50 * 40_000  # keys and shares
    assert system(plain)["cost"]["bytes_up_per_client"] == round(told["bytes_up"] / 50)


def test_lost_clients_are_missing_from_the_sum_alone(small_run: Make) -> None:
    keys = {**EXACT, "clients__dropout": 0.2, "secure__drop_stage": "mask"}
    masked = run(small_run("masked", **{**EASE, **keys}))
    clear = run(small_run("clear", **{**EASE, "clients__dropout": 0.2}))
    np.testing.assert_array_equal(masked, clear)
    assert not np.array_equal(clear, centralised(small_run("all", **EASE)))


@pytest.mark.parametrize("deliveries", [2, 5])
def test_a_run_killed_between_blocks_goes_on(small_run: Make, deliveries: int) -> None:
    keys = {"train__rounds": 4, "evaluate__every": 4, "engine__nodes": 2}
    config = small_run(**{**EASE, **keys})
    assert run_until_killed(config, deliveries, after=True)
    np.testing.assert_array_equal(run(config), centralised(config))


def test_a_missing_part_of_the_sum_stops_the_run(small_run: Make) -> None:
    config = small_run(**{**EASE, "clients__dropout": 0.9, "server__min_clients": 30})
    with pytest.raises(EngineError, match="a round was skipped"):
        run(config)


@pytest.mark.parametrize("keys", [{}, {"engine__nodes": 7}], ids=["one node", "seven nodes"])
def test_ials_is_the_centralised_algorithm(small_run: Make, keys: Keys) -> None:
    config = small_run(**{**IALS, **keys})
    items = init_shared(prepare(config)).tables["item"].astype(np.float64)
    x = pooled(config).toarray()
    ours = run(config)
    for _ in range(3):
        _, items = sweep(x, items, 2.0, 1.5)
    assert np.abs(items).max() > 0.1
    np.testing.assert_allclose(ours, items, atol=5e-6)


def test_masked_ials_is_within_the_grid(small_run: Make) -> None:
    masked = run(small_run("masked", **{**IALS, "secure__mode": "semi-honest", "secure__bits": 28}))
    clear = run(small_run("clear", **IALS))
    assert 0 < np.abs(masked - clear).max() < 1e-4


def test_noise_once_is_one_release(small_run: Make) -> None:
    pytest.importorskip("dp_accounting")
    keys = {"privacy__mechanism": "central", "privacy__clip": 8.0, "privacy__noise_multiplier": 1.0,
            "privacy__draws": "seeded"}  # fmt: skip
    config = small_run(**{**EASE, **keys, "baseline__ease_l2": 200.0})
    noisy = run(config)
    assert np.isfinite(noisy).all()
    assert np.abs(noisy - centralised(config)).max() > 1e-3
    privacy = system(config)["privacy"]
    assert privacy["rounds"] == 1
    assert privacy["epsilon"] > 0
    np.testing.assert_allclose(
        run(
            small_run("spread", **{**EASE, **keys, "baseline__ease_l2": 200.0, "engine__nodes": 5})
        ),
        noisy,
        atol=1e-5,
    )


def test_distributed_noise_is_carried_by_the_ring(small_run: Make) -> None:
    pytest.importorskip("dp_accounting")
    keys = {"privacy__mechanism": "distributed", "privacy__clip": 8.0,
            "privacy__noise_multiplier": 1.0, "server__min_clients": 30}  # fmt: skip
    keys |= {"secure__mode": "semi-honest", "secure__bits": 16}
    config = small_run(**{**EASE, **keys, "baseline__ease_l2": 200.0})
    assert np.isfinite(run(config)).all()
    assert system(config)["privacy"]["epsilon"] > 0


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs the extra ray")
def test_ray(small_run: Make) -> None:
    config = small_run(**{**EASE, "engine__nodes": 2, "train__rounds": 2, "evaluate__every": 2})
    np.testing.assert_array_equal(run(config, "ray"), centralised(config))


@pytest.mark.slow
def test_superlink(small_run: Make) -> None:
    config = small_run(**{**EASE, **EXACT, "engine__nodes": 2})
    np.testing.assert_array_equal(run(config, "superlink"), centralised(config))


def test_a_masked_sum_that_would_be_cut_stops_the_run(small_run: Make) -> None:
    keys = {
        **EASE,
        "secure__mode": "semi-honest",
        "clients__unit": "merchant",
        "data__merchants": 3,
        "data__users": 90,
    }
    with pytest.raises(EngineError, match=r"secure.clip = 4 is below an element"):
        execute(small_run(**keys))
    execute(small_run("whole", **keys, secure__clip=90.0))
