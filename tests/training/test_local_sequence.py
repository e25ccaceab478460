"""`train_cohort` of sequence models against plain Keras on a whole table, one client at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from fedrec.config import Config
from fedrec.data.batches import Samples, draw_samples
from fedrec.models.sequence import SequenceRecommender
from fedrec.params import Personal
from fedrec.rng import draw
from fedrec.training.central import train_central
from fedrec.training.local_only import train_local_only
from fedrec.training.node import (
    Setup,
    evaluate_node,
    init_personal,
    init_shared,
    prepare,
    train_block,
    train_node,
)
from tests.training.cohorts import random_population, relative, setup_of

SIZES = (1, 14, 5, 2, 9)
BASE: dict[str, Any] = {
    "model__loss": "softmax",
    "model__history": 4,
    "model__dim": 6,
    "train__negatives": 2,
}
NAMES = ("gru4rec", "sasrec", "nextitnet")
CASES: dict[str, dict[str, Any]] = {
    "one step": {"train__batch": 0},
    "windows of one's own, two passes": {"train__batch": 4, "train__epochs": 2},
    "two windows a step, adam, sum": {
        "train__batch": 7, "train__optimizer": "adam", "train__lr": 0.05,
        "train__reduction": "sum", "train__l2": 0.05,
    },
    "contrast of two views": {
        "train__batch": 4, "train__epochs": 2, "model__contrast": 0.5, "model__contrast_mask": 0.4,
    },
    "logistic, fedprox": {
        "model__loss": "logistic", "train__batch": 4, "train__method": "fedprox",
        "train__prox_mu": 0.3,
    },
}  # fmt: skip


def batches(samples: Samples, client: int, batch: int, epochs: int) -> Iterator[np.ndarray]:
    """The windows [W, L] of each step of a client."""
    length = samples.window
    windows = np.flatnonzero(samples.client == client).reshape(-1, length)
    size = -(-batch // length) if batch else len(windows)
    words = samples.order[windows[:, 0]]
    for epoch in range(epochs):
        order = np.argsort(words if epoch == 0 else draw(words, epoch))
        order = order if size < len(windows) else np.arange(len(windows))
        for at in range(0, len(windows), size):
            yield windows[order[at : at + size]]


def plain(setup: Setup, samples: Samples, client: int) -> tuple[list[np.ndarray], float]:
    """Changes of the table and the weights of one client, and its mean loss."""
    model, train = setup.model, setup.config.train
    assert isinstance(model, SequenceRecommender)
    shared = init_shared(setup)
    values = [tf.Variable(v) for v in (shared.tables["item"], *shared.weights.values())]
    start = [v.numpy() for v in values]
    kind = keras.optimizers.Adam if train.optimizer == "adam" else keras.optimizers.SGD
    optimizer, total, weighed = kind(train.lr), 0.0, 0.0
    optimizer.build(values)
    prox = train.prox_mu if train.method == "fedprox" else 0.0
    for windows in batches(samples, client, train.batch, train.epochs):
        mass = float(samples.weight[windows].sum())
        with tf.GradientTape() as tape:
            loss, decay = tf.constant(0.0), tf.constant(0.0)
            for window in windows:
                rows = {
                    r.name: tf.gather(values[0], samples.fields[r.field][window])
                    for r in model.row_inputs
                }
                weight, label = samples.weight[window], samples.label[window]
                dense = dict(zip(shared.weights, values[1:], strict=True))
                loss += model.loss(dense, {}, rows, {"weight": weight, "label": label})
                for value in rows.values():
                    decay += 0.5 * tf.reduce_sum(weight[:, None] * value**2)
            scaled = (loss + train.l2 * decay) / (mass if train.reduction == "mean" else 1.0)
            for value, first in zip(values, start, strict=True):
                scaled += 0.5 * prox * tf.reduce_sum((value - first) ** 2)
        grads = tape.gradient(scaled, values, unconnected_gradients="zero")
        total, weighed = total + float(loss), weighed + mass
        optimizer.apply([tf.convert_to_tensor(g) for g in grads], values)
    return [v.numpy() - first for v, first in zip(values, start, strict=True)], total / weighed


PAIRS = [(c, n) for c in CASES for n in NAMES if n == "nextitnet" or "views" not in c]
"""The contrast knows no network; the quickest stands for all."""


@pytest.mark.parametrize(("case", "name"), PAIRS)
def test_a_cohort_trains_as_each_client_alone_would(case: str, name: str) -> None:
    setup = setup_of(random_population(SIZES, 30), **{**BASE, **CASES[case], "model__name": name})
    clients = np.arange(len(SIZES))
    samples = draw_samples(setup.population, clients, 0, 1, setup.method.sampling)
    shared = init_shared(setup)
    update, _ = train_block(setup, shared, Personal({}), clients, 1)
    index = update.index["item"]
    for client in clients:
        table = np.zeros_like(shared.tables["item"])
        mine = index.client == client
        table[index.ids[mine]] = update.rows["item"][mine]
        if SIZES[client] < 2:  # nothing came before its only item
            assert not mine.any()
            assert not any(value[client].any() for value in update.weights.values())
            continue
        (row_change, *changes), loss = plain(setup, samples, client)
        assert relative(table, row_change) <= 1e-4
        for weight, change in zip(shared.weights, changes, strict=True):
            if np.linalg.norm(change) > 1e-5:  # a key's bias, say, has no gradient at all
                assert relative(update.weights[weight][client], change) <= 1e-3, weight
        assert update.loss[client] == pytest.approx(loss, rel=1e-4)
    assert update.samples.tolist() == [max(0, n - 1) for n in SIZES]


@pytest.mark.parametrize("name", NAMES)
def test_rows_of_the_history_move_and_no_others(name: str) -> None:
    setup = setup_of(random_population((6,), 40), **{**BASE, "model__name": name})
    client = np.arange(1)
    samples = draw_samples(setup.population, client, 0, 1, setup.method.sampling)
    update, _ = train_block(setup, init_shared(setup), Personal({}), client, 1)
    touched = np.unique(np.concatenate(list(samples.fields.values())))
    assert update.index["item"].ids.tolist() == touched.tolist()
    first = setup.population.items[0]  # never a target: its gradient is that of an input
    row = update.rows["item"][update.index["item"].ids == first]
    assert np.abs(row).max() > 0


@pytest.mark.parametrize("name", NAMES)
def test_held_out_items_change_no_update(name: str) -> None:
    keys = {**BASE, "model__name": name}
    ours = setup_of(random_population(SIZES, 30), **keys)
    bare = setup_of(random_population(SIZES, 30), **keys)
    bare.population.test.items[:] = bare.population.test.items[::-1].copy()
    bare.population.valid.items[:] = bare.population.valid.items[::-1].copy()
    clients, none = np.arange(len(SIZES)), Personal({})
    totals = [train_node(s, init_shared(s), none, clients, 1)[0] for s in (ours, bare)]
    for table, value in totals[0].tables.items():
        assert (value.ids == totals[1].tables[table].ids).all()
        assert (value.rows == totals[1].tables[table].rows).all()
    for weight, value in totals[0].weights.items():
        assert (value == totals[1].weights[weight]).all()


@pytest.mark.parametrize("name", NAMES)
def test_merchants_train_the_windows_of_their_users(name: str) -> None:
    """One merchant's gradient is the mean of its users', weighed by their places."""
    keys = {**BASE, "model__name": name, "train__batch": 0, "train__lr": 1.0}
    sizes = (6, 9, 4)
    users = setup_of(random_population(sizes, 30), **keys)
    shop = setup_of(
        random_population(sizes, 30, clients=[0, 0, 0]), **keys, clients__unit="merchant"
    )
    alone, _ = train_block(users, init_shared(users), Personal({}), np.arange(3), 1)
    together, _ = train_block(shop, init_shared(shop), Personal({}), np.array([0]), 1)
    share = alone.samples / alone.samples.sum()
    for weight, value in together.weights.items():
        expected = np.tensordot(share, alone.weights[weight], 1)
        assert relative(value[0], expected) <= 1e-4 or np.linalg.norm(expected) < 1e-5
    table = np.zeros((30, 6))
    np.add.at(
        table,
        alone.index["item"].ids,
        share[alone.index["item"].client][:, None] * alone.rows["item"],
    )
    assert relative(together.rows["item"], table[together.index["item"].ids]) <= 1e-4


@pytest.mark.parametrize("name", NAMES)
def test_evaluation_reads_the_training_history(name: str) -> None:
    setup = setup_of(random_population(SIZES, 30), **{**BASE, "model__name": name})
    clients = np.arange(len(SIZES))
    sums = evaluate_node(
        setup, init_shared(setup), init_personal(setup, clients), clients, "test", bootstrap=0
    )
    assert sums.counts["full"] == len(SIZES)


KEYS: dict[str, Any] = {
    "model__name": "gru4rec", "model__loss": "softmax", "model__history": 25,
    "local__epochs": 4, "local__every": 2, "central__epochs": 3, "central__batch": 100,
    "central__lr": 0.01,
}  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_twins_learn(small_run: Callable[..., Config], name: str) -> None:
    """Pooled users, and clients alone with a network of their own."""
    setup = prepare(small_run(**{**KEYS, "model__name": name}))
    for trained in (train_central(setup), train_local_only(setup)):
        losses = [float(str(line["loss"])) for line in trained.history]
        assert losses[-1] < losses[0]
        assert trained.test.counts["full"] == len(setup.population.test.users)
