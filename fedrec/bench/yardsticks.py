"""What a round is held against: centralised training, and the machine's own limits.

The centralised epoch is not the engine's own loop on purpose: a slow engine would then
flatter itself.  It is what a TensorFlow user writes for one machine, variables updated in
place by mini-batch SGD inside one `tf.while_loop`.  A test holds it to the same result.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from fedrec.data.batches import Samples
from fedrec.models.recommender import Recommender
from fedrec.params import Personal, Shared
from fedrec.training.pooled import PREFIX, Pooled

MATRIX = 1024
"""Rows and columns of the matrices whose product tells the rate of arithmetic."""


@dataclass(frozen=True, eq=False)
class Columns:
    """Samples of many users in the order of training.

    Attributes:
        item: int32 [n].
        user: int32 [n], position of the client.
        label: float32 [n].
    """

    item: NDArray[np.int32]
    user: NDArray[np.int32]
    label: NDArray[np.float32]


def pooled_columns(samples: Samples) -> Columns:
    """Mix the samples of all clients of a cohort, as centralised training would."""
    order = np.argsort(samples.order)
    return Columns(
        samples.fields["item"][order].astype(np.int32),
        samples.client[order].astype(np.int32),
        samples.label[order],
    )


class Centralised:
    """Mini-batch SGD over pooled samples, the same model and rates as the clients'.

    Args:
        model: the model, written for one client.
        shared: initial tables and weights.
        personal: initial personal vectors of the clients, [C, d].
        lr: learning rate of everything.
        batch: samples a step; the loss is their mean.
    """

    def __init__(
        self, model: Recommender, shared: Shared, personal: Personal, lr: float, batch: int
    ) -> None:
        self._model, self._lr, self._batch = Pooled(model), lr, batch
        vectors = {PREFIX + name: value for name, value in personal.values.items()}
        self._tables = {n: tf.Variable(v) for n, v in (shared.tables | vectors).items()}
        self._weights = {n: tf.Variable(v) for n, v in shared.weights.items()}
        column = tf.TensorSpec([None], tf.int32)
        signature = (column, column, tf.TensorSpec([None], tf.float32))
        self._epoch = tf.function(self._loop, input_signature=signature, autograph=False)

    def reset(self, shared: Shared, personal: Personal) -> None:
        """Begin again from other values of the same shapes."""
        vectors = {PREFIX + name: value for name, value in personal.values.items()}
        for name, value in (shared.tables | vectors).items():
            self._tables[name].assign(value)
        for name, value in shared.weights.items():
            self._weights[name].assign(value)

    def epoch(self, columns: Columns) -> float:
        """Train one epoch and return the mean loss of its batches."""
        return float(self._epoch(columns.item, columns.user, columns.label))

    def values(self) -> tuple[dict[str, NDArray], dict[str, NDArray]]:
        """Return tables (personal vectors under their prefix) and weights."""
        tables = {n: v.numpy() for n, v in self._tables.items()}
        return tables, {n: v.numpy() for n, v in self._weights.items()}

    def _loop(self, item: Any, user: Any, label: Any) -> Any:
        size = tf.shape(label)[0]
        steps = (size + self._batch - 1) // self._batch

        def body(step: Any, total: Any) -> tuple[Any, Any]:
            part = slice(step * self._batch, tf.minimum((step + 1) * self._batch, size))
            return step + 1, total + self._step(item[part], user[part], label[part])

        _, total = tf.while_loop(
            lambda step, _: step < steps, body, (0, tf.constant(0.0)), parallel_iterations=1
        )
        return total / tf.cast(steps, tf.float32)

    def _step(self, item: Any, user: Any, label: Any) -> Any:
        ids = {"item": item, "user": user}
        inputs = self._model.row_inputs
        rows = {r.name: tf.gather(self._tables[r.table], ids[r.field]) for r in inputs}
        weights = {n: tf.convert_to_tensor(v) for n, v in self._weights.items()}
        share = tf.ones_like(label) / tf.cast(tf.shape(label)[0], tf.float32)
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch((rows, weights))
            loss = self._model.loss(weights, {}, rows, {"label": label, "weight": share})
        of_rows, of_weights = tape.gradient(loss, (rows, weights))
        for r in inputs:
            change = tf.IndexedSlices(self._lr * of_rows[r.name], ids[r.field])
            self._tables[r.table].scatter_sub(change)
        for name, gradient in of_weights.items():
            self._weights[name].assign_sub(self._lr * gradient)
        return loss


@dataclass(frozen=True)
class Work:
    """What a round cannot do without.

    Attributes:
        samples: training samples.
        rows: table rows that its clients touch, each client for itself.
        bytes: of these rows in float32; a copy reads and writes them once.
        flops: of forward and backward passes.
    """

    samples: int
    rows: int
    bytes: int
    flops: int


def work_of(samples: Samples, shared: Shared, personal: Personal) -> Work:
    """Count the work of training a cohort on its samples for one epoch.

    A multiplication with a weight takes 2 operations a sample forwards and 4 backwards
    (towards the input and towards the weight); so does each pair of elements in the dot
    product of matrix factorisation.
    """
    keys = samples.client * len(shared.tables["item"]) + samples.fields["item"]
    rows = len(np.unique(keys))
    width = sum(table.shape[1] for table in shared.tables.values())
    layers = sum(w.size for w in shared.weights.values() if w.ndim == 2)
    products = layers or sum(v.shape[1] for v in personal.values.values())
    number = len(samples.label)
    return Work(number, rows, 4 * rows * width, 6 * number * products)


def timed(action: Callable[[], object]) -> float:
    """Return the seconds that a call takes."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


class Floor:
    """The machine's own limits, measured beside the rounds.

    Args:
        size: bytes that a round must read and write.
    """

    def __init__(self, size: int) -> None:
        self._source, self._target = np.ones(size, np.uint8), np.zeros(size, np.uint8)
        self._matrix = tf.ones((MATRIX, MATRIX))
        self._product = tf.function(lambda m: tf.linalg.matmul(m, m)[0, 0])
        self._product(self._matrix)

    def copy_seconds(self) -> float:
        """Seconds of one copy of the rows."""
        return timed(lambda: np.copyto(self._target, self._source))

    def flop_seconds(self) -> float:
        """Seconds of one operation of a matrix product on all cores."""
        return timed(lambda: float(self._product(self._matrix))) / (2 * MATRIX**3)
