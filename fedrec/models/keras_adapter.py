"""Federate any Keras model: name which inputs are item rows and what is personal.

The Keras model takes named inputs: table rows (for example the item vector) and
personal vectors (for example the user vector), each [B, width], and returns one
logit a sample [B, 1].  Its variables are shared weights, except those of the
layers named personal.  It is called through `stateless_call`, so that its
weights are an argument and one compiled call trains many clients.

Initial weights are those that the model was built with; `fedrec.models.build`
builds it with Python's `random` seeded (Keras draws the seeds of initialisers
from it), so that the seed of the run decides.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedrec.data.interactions import Catalogue
from fedrec.errors import ModelError, nearest
from fedrec.models.batched import Call, read_network, run_network
from fedrec.models.recommender import (
    Gradients,
    RowInput,
    Tensor,
    Tensors,
    initial_rows,
    initial_vectors,
)
from fedrec.params import Personal, Shared

KINDS = ("logistic", "squared")


@dataclass(frozen=True, eq=False)
class KerasRecommender:
    """A Keras model as a recommender.

    Attributes:
        model: a functional keras.Model with named inputs; output [B, 1] logits (or ratings).
        rows: input name -> table width d; each input is a row of a table of its
            own name, with one row an item.
        personal: input name -> width of personal vectors.
        personal_layers: names of layers whose variables stay with the client.
        kind: "logistic" or "squared".
        scale: standard deviation of initial rows and vectors.

    Raises:
        ModelError: if the model does not fit this description.
    """

    model: Any
    rows: Mapping[str, int]
    personal: Mapping[str, int] = field(default_factory=dict)
    personal_layers: tuple[str, ...] = ()
    kind: str = "logistic"
    scale: float = 0.01

    pairwise = False
    outputs = 1
    """Numbers that the network gives for a sample."""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ModelError(f"kind = {self.kind!r}: a Keras model is trained with {KINDS}")
        self._check_inputs()
        self._check_output()
        self._check_layers()

    def _check_inputs(self) -> None:
        if not getattr(self.model, "inputs", None):
            raise ModelError(
                "the Keras model has no inputs; build it with the functional interface: "
                "keras.Model({'item': keras.Input((8,), name='item'), ...}, output)"
            )
        shapes = {tensor.name: tuple(tensor.shape) for tensor in self.model.inputs}
        for name, width in (*self.rows.items(), *self.personal.items()):
            if name not in shapes:
                raise ModelError(f"the Keras model has no input {name!r}.{nearest(name, shapes)}")
            if shapes[name][1:] != (width,):
                raise ModelError(
                    f"input {name!r} of the Keras model has the shape {shapes[name][1:]} "
                    f"where its width is said to be {width}"
                )
        both = sorted(set(self.rows) & set(self.personal))
        if both:
            raise ModelError(f"inputs {both} of the Keras model are both in rows and in personal")
        missing = sorted(set(shapes) - set(self.rows) - set(self.personal))
        if missing:
            raise ModelError(
                f"inputs {missing} of the Keras model are neither in rows nor in personal"
            )
        if not self.rows:
            raise ModelError("a recommender needs at least one input in rows (the item vector)")

    def _check_output(self) -> None:
        shapes = [tuple(tensor.shape) for tensor in self.model.outputs]
        if [shape[1:] for shape in shapes] != [(self.outputs,)]:
            raise ModelError(
                f"the Keras model gives {shapes}; expected one output (None, {self.outputs}), "
                "the logit or the rating of each sample"
            )

    def _check_layers(self) -> None:
        layers = {layer.name for layer in self.model.layers}
        for name in self.personal_layers:
            if name not in layers:
                raise ModelError(f"the Keras model has no layer {name!r}.{nearest(name, layers)}")
        if self.model.non_trainable_variables:
            raise ModelError(
                "the Keras model has non-trainable variables "
                f"({self.model.non_trainable_variables[0].path}); layers with a moving state, such "
                "as BatchNormalization or a seeded Dropout, cannot be federated: use "
                "LayerNormalization"
            )

    @property
    def row_inputs(self) -> tuple[RowInput, ...]:
        """One row input for each entry of `rows`."""
        return tuple(RowInput(name, name) for name in self.rows)

    @property
    def personal_vectors(self) -> Mapping[str, int]:
        """The personal inputs."""
        return self.personal

    def _variables(self) -> list[tuple[str, Any, bool]]:
        """Return (name, variable, whether it is personal) in the order of Keras."""
        variables = self.model.trainable_variables
        layers = (self.model.get_layer(name) for name in self.personal_layers)
        own = {id(v) for layer in layers for v in layer.trainable_variables}
        names = stable_names(v.path for v in variables)
        return [(n, v, id(v) in own) for n, v in zip(names, variables, strict=True)]

    def init_shared(self, catalogue: Catalogue, seed: int) -> Shared:
        """Return one table for each row input and the model's non-personal weights."""
        tables = {
            name: initial_rows(seed, len(catalogue), width, self.scale, table)
            for table, (name, width) in enumerate(self.rows.items())
        }
        weights = {n: _value(v) for n, v, own in self._variables() if not own}
        return Shared(tables, weights)

    def init_personal(self, clients: NDArray[np.int64], seed: int) -> Personal:
        """Return personal vectors [C, width] and copies of the personal weights [C, ...]."""
        values = {
            name: initial_vectors(seed, clients, width, self.scale, position)
            for position, (name, width) in enumerate(self.personal.items())
        }
        for name, variable, own in self._variables():
            if own:
                values[name] = np.repeat(_value(variable)[None], len(clients), 0)
        return Personal(values)

    def _call(self, weights: Tensors, personal: Tensors, rows: Tensors, training: bool) -> Tensor:
        import keras
        import tensorflow as tf

        batch = tf.shape(next(iter(rows.values())))[0]
        values = {name: rows[name] for name in self.rows}
        for name, width in self.personal.items():
            values[name] = tf.broadcast_to(personal[name], [batch, width])
        flat = [values[tensor.name] for tensor in self.model.inputs]
        inputs = keras.tree.pack_sequence_as(self.model.input, flat)  # a dict, a list or one
        trainable = [personal[n][0] if own else weights[n] for n, _, own in self._variables()]
        output, _ = self.model.stateless_call(trainable, [], inputs, training=training)
        return tf.reshape(output, [batch, self.outputs])

    def loss(self, weights: Tensors, personal: Tensors, rows: Tensors, batch: Tensors) -> Tensor:
        """See `Recommender.loss`."""
        return self._loss_of(self._call(weights, personal, rows, training=True), batch)

    def _loss_of(self, output: Tensor, batch: Tensors) -> Tensor:
        """Return the loss of each run of samples; the output is [..., B, outputs]."""
        from fedrec.models import losses

        loss = losses.squared if self.kind == "squared" else losses.logistic
        return loss(output[..., 0], batch["label"], batch["weight"])

    def _score_of(self, output: Tensor) -> Tensor:
        """Return what ranks, [B], of an output [B, outputs]."""
        return output[:, 0]

    @property
    def gradients(self) -> Callable[..., Gradients] | None:
        """The tape's gradients of all tiles in batched products; None with uncommon layers."""
        return partial(self._tiles, self._network) if self._network is not None else None

    @cached_property
    def _network(self) -> tuple[Call, ...] | None:
        return read_network(self.model)

    def _tiles(
        self,
        network: tuple[Call, ...],
        weights: Tensors,
        personal: Tensors,
        rows: Tensors,
        batch: Tensors,
    ) -> Gradients:
        """See `Recommender`: losses and gradients of tiles."""
        import tensorflow as tf

        inputs = (weights, personal, {name: rows[name] for name in self.rows})
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(inputs)
            values = {
                id(v): personal[n][:, 0] if own else weights[n] for n, v, own in self._variables()
            }
            vectors = {name: personal[name] for name in self.personal}
            output = self.model.output_names[0]
            told = self._loss_of(
                run_network(network, output, {**inputs[2], **vectors}, values), batch
            )
            total = tf.reduce_sum(told)
        of_weights, own, of_rows = tape.gradient(total, inputs, unconnected_gradients="zero")
        return Gradients(told, of_rows, of_weights, own)

    def score(
        self, weights: Tensors, personal: Tensors, item_vectors: Tensors, history: Tensor
    ) -> Tensor:
        """See `Recommender.score`."""
        return self._score_of(self._call(weights, personal, item_vectors, training=False))


def _value(variable: Any) -> NDArray[np.float32]:
    import keras

    return np.array(keras.ops.convert_to_numpy(variable), np.float32)


def stable_names(paths: Iterable[str]) -> list[str]:
    """Number layers of one name anew, so that a weight has one name everywhere.

    Keras numbers unnamed layers over the life of a process (dense, dense_1, ...,
    dense_7), which differs between server and clients, and between two runs in
    one process.  Here the layers of a model are numbered by themselves, in order.

    Args:
        paths: paths of variables, for example "dense_7/kernel".

    Returns:
        For example "dense/kernel" or, with several such layers, "dense_0/kernel".
    """
    parts = [path.split("/") for path in paths]
    numbers: dict[str, set[int]] = {}

    def take(word: str) -> tuple[str, int]:
        match = re.fullmatch(r"(.+?)_(\d+)", word)
        return (match[1], int(match[2])) if match else (word, -1)

    for *layers, _ in parts:
        for base, number in map(take, layers):
            numbers.setdefault(base, set()).add(number)

    def rename(word: str) -> str:
        base, number = take(word)
        among = sorted(numbers[base])
        return base if len(among) == 1 else f"{base}_{among.index(number)}"

    return ["/".join([*map(rename, layers), last]) for *layers, last in parts]
