"""Several tasks of one model: view, cart and purchase, each with a head of its own.

Shared-bottom (Caruana, Machine Learning 1997): one network below all heads.  MMoE (Ma
et al., KDD 2018): experts in its place, and for each task a gate that mixes them.  User
vectors stay with the clients; the item table, the bottom or the experts, and the gates
are shared, and so are the heads unless they are local.  Below lies what NCF starts from
(He et al., WWW 2017): both vectors and their product.  The product also goes past the
layers, with a weight for each task and element that begins at 1: at first each task is
matrix factorisation, and the layers add to it.

The label of a sample is how far its pair got in the funnel (`fedrec.data.funnel`); the
loss is a weighted sum of the tasks' logistic losses.  Each head may tell its event of all
pairs, so that what was viewed and not bought is a negative of the purchase, as much as a
pair that was drawn at random.  Or a head tells its event given the one before it (ESMM: Ma
et al., SIGIR 2018): negatives teach the first head alone, and scores multiply up to the
target.  Imported with TensorFlow.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras

from fedrec.config_tasks import TASKS
from fedrec.models.keras_adapter import KerasRecommender
from fedrec.models.recommender import Tensor, Tensors

HEAD = ("head", "dot")
"""Layers of a task's head: on the layers below, and on the product."""


class Mixture(keras.layers.Layer):  # type: ignore[misc]
    """The sum of experts [..., w], each times its part of a gate [..., E], which comes first."""

    tilewise = True

    def call(self, inputs: Sequence[Any]) -> Any:
        """Return the mixture, float32 [..., w]."""
        gate, *experts = inputs
        stacked = keras.ops.stack(experts, -2)
        return keras.ops.sum(gate[..., None] * stacked, -2)

    def compute_output_shape(self, input_shape: Sequence[Any]) -> Any:
        """Return the shape of one expert."""
        return input_shape[1]


@dataclass(frozen=True, eq=False)
class MultiTask(KerasRecommender):
    """A Keras model that gives one logit for each of `TASKS`.

    Attributes:
        target: the task that ranks, by its logit.
        task_weights: weight of each task's loss.
        funnel: whether a head tells its event given the one before it; what ranks is then
            the logit of the first task plus the log-probabilities of those up to the target.
    """

    target: str = TASKS[-1]
    task_weights: tuple[float, ...] = (1.0,) * len(TASKS)
    funnel: bool = False

    outputs = len(TASKS)

    def _loss_of(self, output: Tensor, batch: Tensors) -> Tensor:
        """Return the weighted sum of the tasks' losses.

        A sample of level 0 is a negative of every task, or in a funnel of the first alone;
        one of level -1 got no further than is known, so it has a label for the first task
        alone.
        """
        import tensorflow as tf

        from fedrec.models import losses

        level, total = batch["label"], 0.0
        for task, share in enumerate(self.task_weights):
            least = task if self.funnel else 0
            known = tf.cast((level >= least) | (task == 0), tf.float32)
            label = tf.cast((level > task) | ((level < 0) & (task == 0)), tf.float32)
            weight = share * known * batch["weight"]
            total += losses.logistic(output[..., task], label, weight)
        return total

    def _score_of(self, output: Tensor) -> Tensor:
        """Return what ranks.

        In a funnel an event's chance is the product of those on the way to it.  Negatives
        are drawn, so the odds of the first are too large by one factor for all items, and as
        it is rare, odds stand for its chance.
        """
        import tensorflow as tf

        last = TASKS.index(self.target)
        if not self.funnel:
            return output[:, last]
        return output[:, 0] + tf.reduce_sum(tf.math.log_sigmoid(output[:, 1 : last + 1]), 1)


def build_multitask(
    dim: int,
    hidden: tuple[int, ...],
    *,
    experts: int = 0,
    target: str = TASKS[-1],
    task_weights: tuple[float, ...] = (1.0,) * len(TASKS),
    local_heads: bool = False,
    funnel: bool = False,
    scale: float = 0.01,
) -> MultiTask:
    """Build a model of several tasks.

    Args:
        dim: embedding size d.
        hidden: widths of the hidden layers of the bottom, or of each expert.
        experts: number of experts of MMoE; 0: shared bottom.
        target: the task that ranks.
        task_weights: weight of each task's loss.
        local_heads: whether the heads stay with the client.
        funnel: whether a head tells its event given the one before it.
        scale: standard deviation of initial embeddings.

    Returns:
        A recommender with the table "item" [I, d] and personal vectors "user" [d].
    """
    inputs = {name: keras.Input((dim,), name=name) for name in ("item", "user")}
    product = keras.layers.Multiply(name="product")([inputs["item"], inputs["user"]])
    below = keras.layers.Concatenate(name="pair")([inputs["item"], inputs["user"], product])
    towers = [_tower(below, hidden, f"expert_{n}" if experts else "bottom")
              for n in range(max(1, experts))]  # fmt: skip
    logits = []
    for task in TASKS:
        x = towers[0]
        if experts:
            gate = keras.layers.Dense(experts, activation="softmax", name=f"gate_{task}")(below)
            x = Mixture(name=f"mixture_{task}")([gate, *towers])
        logits.append(_logit(task, x, product))
    output = keras.layers.Concatenate(name="logits")(logits)
    return MultiTask(
        keras.Model(inputs, output, name="multitask"),
        rows={"item": dim},
        personal={"user": dim},
        personal_layers=tuple(f"{part}_{task}" for task in TASKS for part in HEAD)
        if local_heads
        else (),
        scale=scale,
        target=target,
        task_weights=task_weights,
        funnel=funnel,
    )


def _logit(task: str, x: Any, product: Any) -> Any:
    """Return a task's logit: its head on the layers, and the weighted product past them."""
    head = keras.layers.Dense(1, name=f"head_{task}")(x)
    past = keras.layers.Dense(1, use_bias=False, kernel_initializer="ones", name=f"dot_{task}")
    return keras.layers.Add(name=f"logit_{task}")([head, past(product)])


def _tower(x: Any, hidden: tuple[int, ...], name: str) -> Any:
    for number, width in enumerate(hidden):
        x = keras.layers.Dense(width, activation="relu", name=f"{name}_{number}")(x)
    return x
