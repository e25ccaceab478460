"""Fair weights: factors by hand, never above 1, and worst-served clients gain."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedrec.config import Config
from fedrec.engine.run_engine import execute
from fedrec.errors import ConfigError
from fedrec.models.export import load_model
from fedrec.params import Shared
from fedrec.privacy.policy import build_policy
from fedrec.storage import RunDirectory
from fedrec.training.fairness import fair_factors, fairly_weighted
from fedrec.training.gram import GramSums
from fedrec.training.node import (
    client_updates,
    init_personal,
    init_shared,
    prepare,
    train_block,
    train_node,
)

Make = Callable[..., Config]


def test_factors_by_hand() -> None:
    loss = np.array([0.0, 0.5, 1.0, 2.0, np.nan])
    assert fair_factors(loss, 2.0, 1.0).tolist() == [0, 0.25, 1, 1, 1]
    assert fair_factors(loss, 1.0, 2.0).tolist() == [0, 0.25, 0.5, 1, 1]
    assert fair_factors(loss, 0.0, 1.0).tolist() == [1] * 5


@given(st.lists(st.floats(allow_nan=True), min_size=1), st.floats(0, 10), st.floats(0.01, 100))
def test_no_client_counts_for_more_than_one(loss: list[float], q: float, bound: float) -> None:
    factors = fair_factors(np.array(loss), q, bound)
    assert ((factors >= 0) & (factors <= 1)).all()


def test_a_client_multiplies_its_whole_update(small_run: Make) -> None:
    keys: dict[str, Any] = {"model__name": "ncf", "model__mlp": "8 4", "train__lr": 0.1}
    setup = prepare(small_run(**keys, server__fairness=2.0, server__fair_loss=0.8))
    clients = np.arange(setup.population.num_clients)
    shared, personal = init_shared(setup), init_personal(setup, clients)
    at = build_policy(setup.config, len(clients)).at(1)
    blocks, _ = client_updates(setup, shared, personal, clients, 1, at)
    for block, update in blocks:
        plain, _ = train_block(setup, shared, personal.take(block), block, 1)
        factor = (np.minimum(plain.loss, 0.8) / 0.8) ** 2
        assert factor.min() < 0.99
        for name, value in plain.weights.items():
            wide = factor.reshape(-1, *[1] * (value.ndim - 1))
            assert update.weights[name] == pytest.approx(value * wide, abs=1e-6)
        for name, index in update.index.items():
            expected = plain.rows[name] * factor[index.client][:, None]
            assert update.rows[name] == pytest.approx(expected, abs=1e-6)


def test_sums_of_statistics_have_no_loss_and_stay_what_they_are(small_run: Make) -> None:
    setup = prepare(small_run(server__fairness=1.0))
    clients = np.arange(50)
    update, _ = train_block(setup, init_shared(setup), init_personal(setup, clients), clients, 1)
    method = replace(setup.method, statistics=GramSums("ease"))
    assert fairly_weighted(setup.config, method, update) is update
    assert fairly_weighted(setup.config, setup.method, update) is not update


def tables(config: Config) -> tuple[Shared, list[dict[str, Any]]]:
    execute(config)
    files = RunDirectory(Path(config.run.out))
    lines = [json.loads(line) for line in files.rounds.read_text().splitlines()]
    return load_model(files.model).shared, lines


def test_in_secret_and_over_nodes_the_sum_is_the_same(small_run: Make) -> None:
    keys: dict[str, Any] = {
        "server__fairness": 1.0, "server__rows": "mean", "train__rounds": 1, "train__lr": 0.1,
        "evaluate__every": 1, "evaluate__bootstrap": 0,
    }  # fmt: skip
    plain, _ = tables(small_run("plain", **keys, engine__nodes=3))
    hidden, _ = tables(small_run("hidden", **keys, secure__mode="semi-honest"))
    assert hidden.tables["item"] == pytest.approx(plain.tables["item"], abs=1e-4)
    alike, _ = tables(small_run("alike", **keys | {"server__fairness": 0.0}))
    assert np.abs(alike.tables["item"] - plain.tables["item"]).max() > 1e-4


def test_with_noise_every_update_stays_within_its_bound(small_run: Make) -> None:
    keys: dict[str, Any] = {
        "privacy__mechanism": "central", "privacy__clip": 0.05, "privacy__noise_multiplier": 1.0,
        "privacy__draws": "seeded", "server__rows": "sum", "server__fairness": 3.0,
        "clients__sampling": "poisson", "clients__per_round": 25,
    }  # fmt: skip
    setup = prepare(small_run(**keys))
    clients = np.arange(50)
    shared, personal = init_shared(setup), init_personal(setup, clients)
    total, _ = train_node(setup, shared, personal, clients, 1)
    assert 0 < np.linalg.norm(total.tables["item"].rows) <= 50 * 0.05


def test_what_would_lose_its_meaning_is_refused(small_run: Make) -> None:
    with pytest.raises(ConfigError, match=r"plain sums, in which all clients count alike"):
        small_run(server__fairness=1.0, train__method="ease", model__name="item-item",
                  server__rows="sum", train__rounds=1)  # fmt: skip
    with pytest.raises(ConfigError, match=r"compares updates, and server.fairness = 1 makes"):
        small_run(server__fairness=1.0, robust__defence="median")
