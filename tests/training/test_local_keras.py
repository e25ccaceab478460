"""`train_cohort` of a Keras model against plain Keras in float64, one client at a time."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from fedrec.data.batches import Samples, draw_samples
from fedrec.models.keras_adapter import KerasRecommender
from fedrec.params import Personal, Shared
from fedrec.rng import draw
from fedrec.training.node import (
    Setup,
    evaluate_node,
    init_personal,
    init_shared,
    train_block,
    train_node,
)
from tests.training.cohorts import random_population, relative, setup_of
from tests.training.reference import list_samples

SIZES = (1, 14, 5, 9)
OWN = {"model__name": "keras", "model__source": "experiments/own_model.py:build"}
NCF = {"model__name": "ncf", "model__mlp": "6 4"}
ADAM = {"train__optimizer": "adam", "train__lr": 0.05, "train__personal_lr": 0.05}
CASES: dict[str, dict[str, Any]] = {
    "ncf": {**NCF, "train__epochs": 2},
    "ncf adam sum": {**NCF, **ADAM, "train__reduction": "sum", "train__l2": 0.01},
    "personal layer": {**OWN, "train__l2": 0.05},
    "personal layer, fedprox": {**OWN, "train__method": "fedprox", "train__prox_mu": 0.3},
}


def in_float64(model: keras.Model) -> keras.Model:
    def clone(layer: keras.Layer) -> keras.Layer:
        return layer.__class__.from_config({**layer.get_config(), "dtype": "float64"})

    twin = keras.models.clone_model(model, clone_function=clone)
    twin.set_weights([np.asarray(w, np.float64) for w in model.get_weights()])
    return twin


class Plain:
    """One client with its own copy of everything, trained as a Keras user would."""

    def __init__(self, setup: Setup, shared: Shared, personal: Personal, c: int) -> None:
        model = setup.model
        assert isinstance(model, KerasRecommender)
        self.train, self.names = setup.config.train, (tuple(model.rows), tuple(model.personal))
        self.net = in_float64(model.model)
        own = {v.path for n in model.personal_layers for v in model.model.get_layer(n).variables}
        self.own = [v.path in own for v in model.model.trainable_variables]
        self.tables = {n: tf.Variable(v.astype(np.float64)) for n, v in shared.tables.items()}
        self.vectors = {
            n: tf.Variable(personal.values[n][c].astype(np.float64)) for n in model.personal
        }
        self.dense = [v.value for v in self.net.trainable_variables]
        shared_now = [*self.tables.values(), *self._dense(own=False)]
        personal_now = [*self.vectors.values(), *self._dense(own=True)]
        self.groups = (shared_now, personal_now)
        self.start = [tf.identity(v) for v in shared_now]
        self.optimizers = []
        for group, lr in zip(self.groups, (self.train.lr, self.train.personal_lr), strict=True):
            kind = keras.optimizers.Adam if self.train.optimizer == "adam" else None
            optimizer = (kind or keras.optimizers.SGD)(lr)
            optimizer.build(group)
            self.optimizers.append(optimizer)

    def _dense(self, own: bool) -> list[Any]:
        return [v for v, mine in zip(self.dense, self.own, strict=True) if mine == own]

    def step(self, batch: list[dict[str, Any]]) -> None:
        items = [s["item"] for s in batch]
        label = tf.constant([[s["label"]] for s in batch], tf.float64)
        weight = tf.constant([s["weight"] for s in batch], tf.float64)
        if self.train.reduction == "mean":
            weight = weight / tf.reduce_sum(weight)
        with tf.GradientTape() as tape:
            rows = {n: tf.gather(self.tables[n], items) for n in self.names[0]}
            many = {n: tf.tile(self.vectors[n][None], (len(batch), 1)) for n in self.names[1]}
            logit = self.net({**rows, **many}, training=True)
            losses = keras.losses.binary_crossentropy(label, logit, from_logits=True)
            total = tf.reduce_sum(weight * losses)
            # the penalty: half the squared norm of rows, vectors and personal weights used
            for value in rows.values():
                norms = tf.reduce_sum(value**2, 1)
                total += 0.5 * self.train.l2 * tf.reduce_sum(weight * norms)
            for value in self.groups[1]:
                norm = tf.reduce_sum(value**2)
                total += 0.5 * self.train.l2 * tf.reduce_sum(weight) * norm
            if self.train.method == "fedprox":
                for value, before in zip(self.groups[0], self.start, strict=True):
                    total += 0.5 * self.train.prox_mu * tf.reduce_sum((value - before) ** 2)
        grads = tape.gradient(total, self.groups)
        for optimizer, grad, group in zip(self.optimizers, grads, self.groups, strict=True):
            optimizer.apply([tf.convert_to_tensor(g) for g in grad], group)

    def change(self, shared: Shared, personal: Personal, c: int, ids: np.ndarray) -> list[Any]:
        """Tables (rows `ids`), shared weights, personal vectors and weights, in their order."""
        tables = [(v.numpy() - shared.tables[t])[ids] for t, v in self.tables.items()]
        dense = zip(self._dense(own=False), shared.weights.values(), strict=True)
        own = zip(self.groups[1], personal.values.values(), strict=True)
        return [*tables, *(v.numpy() - w for v, w in dense), *(v.numpy() - p[c] for v, p in own)]


def train_plain(client: Plain, samples: Samples, c: int) -> None:
    mine, words = list_samples(samples, c)
    for epoch in range(client.train.epochs):
        order = np.argsort(words if epoch == 0 else draw(words, epoch))
        for at in range(0, len(mine), client.train.batch):
            client.step([mine[n] for n in order[at : at + client.train.batch]])


@pytest.mark.parametrize("name", CASES)
def test_equals_plain_keras(name: str) -> None:
    """To 1e-5; of Adam's 7e-6 most is Keras's own (it keeps 0.999 as a float32)."""
    setup = setup_of(random_population(SIZES, 25), **CASES[name])
    clients = np.arange(len(SIZES))
    shared, personal = init_shared(setup), init_personal(setup, clients)
    samples = draw_samples(setup.population, clients, 0, 1, setup.method.sampling)
    update, new = train_block(setup, shared, personal, clients, 1)
    names = [*shared.tables, *update.weights, *personal.values]
    worst = dict.fromkeys(names, 0.0)
    for c in range(len(SIZES)):
        client = Plain(setup, shared, personal, c)
        train_plain(client, samples, c)
        at = update.index["item" if "item" in shared.tables else "item_gmf"].client == c
        ids = update.index[names[0]].ids[at]
        ours = [update.rows[t][at] for t in shared.tables]
        ours += [v[c] for v in update.weights.values()]
        ours += [v[c].astype(np.float64) - personal.values[n][c] for n, v in new.values.items()]
        exact = client.change(shared, personal, c, ids)
        for part, mine, theirs in zip(names, ours, exact, strict=True):
            worst[part] = max(worst[part], relative(mine, theirs))
    assert max(worst.values()) <= 1e-5, worst
    assert all(np.linalg.norm(part) > 0 for part in ours)


def test_personal_layers_stay_with_the_client() -> None:
    setup = setup_of(random_population(SIZES, 25), **OWN)
    clients = np.arange(len(SIZES))
    shared, personal = init_shared(setup), init_personal(setup, clients)
    assert set(shared.weights) == {"hidden/kernel", "hidden/bias"}
    assert set(personal.values) == {"user", "taste/kernel", "taste/bias"}
    total, new = train_node(setup, shared, personal, clients, 1)
    assert set(total.weights) == set(shared.weights)
    assert set(total.tables) == {"item", "item_bias"}
    moved = new.values["taste/kernel"] - personal.values["taste/kernel"]
    assert len({m.tobytes() for m in moved}) == len(SIZES)  # each client its own


def test_the_example_trains_and_evaluates() -> None:
    setup = setup_of(random_population((9, 14, 12), 25), **OWN, train__lr=0.1)
    clients = np.arange(3)
    shared, personal = init_shared(setup), init_personal(setup, clients)
    losses = []
    for number in range(1, 6):
        total, personal = train_node(setup, shared, personal, clients, number)
        losses.append(total.metrics["loss"])
        for table, rows in total.tables.items():
            shared.tables[table][rows.ids] += rows.rows / total.row_weight[table][:, None]
        for name, value in total.weights.items():
            shared.weights[name] += (value / total.weight).astype(np.float32)
    assert losses[-1] < 0.95 * losses[0]
    sums = evaluate_node(setup, shared, personal, clients, "test", bootstrap=0)
    assert sums.counts["full"] == 3
