"""Tables that are read and never trained: the server's, and those of the catalogue."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray

from fedrec.data.batches import draw_samples
from fedrec.data.interactions import Catalogue
from fedrec.models.recommender import RowInput, bound, constants
from fedrec.params import Personal, Shared
from fedrec.training.local import train_cohort
from fedrec.training.local_only import train_local_only
from fedrec.training.node import Setup, init_personal, init_shared, train_node
from tests.training.cohorts import SIZES, random_population, setup_of

ITEMS, WIDTH = 60, 3


@dataclass(frozen=True, eq=False)
class Content:
    """score = (q_i + x_i W + y_i W) . p_u, with x of the catalogue and y of the server."""

    dim: int = 4
    with_rows: bool = True
    constants: dict[str, NDArray[np.float32]] = field(default_factory=dict)

    pairwise = False
    personal_vectors = {"user": 4}

    @property
    def row_inputs(self) -> tuple[RowInput, ...]:
        fixed = (RowInput("x", "features", fixed=True), RowInput("y", "sent", fixed=True))
        return (*[RowInput("item", "item")] * self.with_rows, *fixed)

    def bound(self, items: Catalogue, users: Catalogue) -> Content:
        draw = np.random.default_rng(len(items) + len(users))
        features = draw.normal(size=(len(items), WIDTH)).astype(np.float32)
        return replace(self, constants={"features": features})

    def init_shared(self, catalogue: Catalogue, seed: int) -> Shared:
        draw = np.random.default_rng(seed)
        names = ["item"] * self.with_rows
        tables = {n: draw.normal(size=(len(catalogue), self.dim)).astype("f") for n in names}
        fixed = {"sent": draw.normal(size=(len(catalogue), WIDTH)).astype("f")}
        return Shared(tables, {"W": draw.normal(size=(WIDTH, self.dim)).astype("f")}, fixed)

    def init_personal(self, clients: NDArray[np.int64], seed: int) -> Personal:
        draw = np.random.default_rng(seed).normal(size=(clients.max() + 1, self.dim))
        return Personal({"user": draw[clients].astype(np.float32)})

    def logit(self, weights: Any, personal: Any, rows: Any) -> Any:
        item = tf.matmul(rows["x"] + rows["y"], weights["W"])
        return tf.reduce_sum((item + rows.get("item", 0.0)) * personal["user"], -1)

    def loss(self, weights: Any, personal: Any, rows: Any, batch: Any) -> Any:
        logit = self.logit(weights, personal, rows)
        each = tf.nn.sigmoid_cross_entropy_with_logits(batch["label"], logit)
        return tf.reduce_sum(batch["weight"] * each)

    def score(self, weights: Any, personal: Any, item_vectors: Any, history: Any) -> Any:
        return self.logit(weights, personal, item_vectors)


def prepared(**model: Any) -> Setup:
    population = random_population(SIZES, ITEMS)
    setup = setup_of(population, model__dim=4, train__batch=0)
    data = population.split.dataset
    return replace(setup, model=bound(Content(**model), data.items, data.users))


def cohort(setup: Setup) -> Any:
    clients = np.arange(len(SIZES))
    samples = draw_samples(setup.population, clients, 0, 1, setup.method.sampling)
    shared, personal = init_shared(setup), init_personal(setup, clients)
    return (
        samples,
        shared,
        personal,
        train_cohort(setup.model, shared, personal, samples, setup.method),
    )


@pytest.mark.parametrize("with_rows", [True, False])
def test_one_step_by_hand(with_rows: bool) -> None:
    setup = prepared(with_rows=with_rows)
    samples, shared, personal, update = cohort(setup)
    assert set(update.rows) == ({"item"} if with_rows else set())
    phase = setup.method.phases[0]
    fixed = setup.model.constants["features"] + shared.fixed["sent"]
    for client in range(len(SIZES)):
        mine = np.flatnonzero(samples.client == client)
        item, label = samples.fields["item"][mine], samples.label[mine]
        x, p = fixed[item].astype(float), personal.values["user"][client].astype(float)
        vectors = x @ shared.weights["W"]
        if with_rows:
            vectors = vectors + shared.tables["item"][item]
        c = (1 / (1 + np.exp(-vectors @ p)) - label) / len(mine)
        expected = -phase.lr * np.outer(c @ x, p)
        assert update.weights["W"][client] == pytest.approx(expected, rel=1e-4, abs=1e-6)
        own = p - phase.personal_lr * (c @ vectors)
        assert update.personal.values["user"][client] == pytest.approx(own, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("with_rows", [True, False])
def test_a_node_adds_up_and_alone_a_client_learns(with_rows: bool) -> None:
    setup = prepared(with_rows=with_rows)
    clients = np.arange(len(SIZES))
    shared, personal = init_shared(setup), init_personal(setup, clients)
    total, _ = train_node(setup, shared, personal, clients, 1)
    assert set(total.tables) == ({"item"} if with_rows else set())
    assert total.num_clients == len(SIZES)
    if with_rows:  # without any table a client alone has nothing to copy
        keys = {"local.epochs": 10, "local.every": 5, "local.lr": 0.05}
        history = train_local_only(replace(setup, config=setup.config.with_(keys))).history
        assert history[-1]["loss"] < history[0]["loss"]


def test_models_without_attributes_have_none() -> None:
    setup = setup_of(random_population(SIZES, ITEMS))
    data = setup.population.split.dataset
    assert bound(setup.model, data.items, data.users) is setup.model
    assert constants(setup.model) == {}
