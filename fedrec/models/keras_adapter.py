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

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedrec.data.interactions import Catalogue
from fedrec.errors import ModelError, nearest
from fedrec.models.recommender import (
    RowInput,
    Tensor,
    Tensors,
    initial_rows,
    initial_vectors,
)
from fedrec.params import Personal, Shared


@dataclass(frozen=True, eq=False)
class KerasRecommender:
    """A Keras model as a recommender.

    Attributes:
        model: a keras.Model with named inputs; output [B, 1] logits (or ratings).
        rows: input name -> table width d; each input is a row of a table of its
            own name, with one row an item.
        personal: input name -> width of personal vectors.
        personal_layers: names of layers whose variables stay with the client.
        kind: "logistic" or "squared".
        scale: standard deviation of initial rows and vectors.
    """

    model: Any
    rows: Mapping[str, int]
    personal: Mapping[str, int] = field(default_factory=dict)
    personal_layers: tuple[str, ...] = ()
    kind: str = "logistic"
    scale: float = 0.01

    pairwise = False

    def __post_init__(self) -> None:
        names = set(
            self.model.input_names
            if hasattr(self.model, "input_names")
            else [tensor.name for tensor in self.model.inputs]
        )
        for name in (*self.rows, *self.personal):
            if name not in names:
                raise ModelError(f"the Keras model has no input {name!r}.{nearest(name, names)}")
        missing = names - set(self.rows) - set(self.personal)
        if missing:
            raise ModelError(
                f"inputs {sorted(missing)} of the Keras model are neither in rows nor in personal"
            )
        if not self.rows:
            raise ModelError("a recommender needs at least one input in rows (the item vector)")
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

    @property
    def _personal_paths(self) -> set[str]:
        layers = (self.model.get_layer(name) for name in self.personal_layers)
        return {v.path for layer in layers for v in layer.trainable_variables}

    def init_shared(self, catalogue: Catalogue, seed: int) -> Shared:
        """Return one table for each row input and the model's non-personal weights."""
        tables = {
            name: initial_rows(seed, len(catalogue), width, self.scale, table)
            for table, (name, width) in enumerate(self.rows.items())
        }
        paths = self._personal_paths
        return Shared(
            tables,
            {
                v.path: np.asarray(v, np.float32)
                for v in self.model.trainable_variables
                if v.path not in paths
            },
        )

    def init_personal(self, clients: NDArray[np.int64], seed: int) -> Personal:
        """Return personal vectors [C, width] and copies of the personal weights [C, ...]."""
        values = {
            name: initial_vectors(seed, clients, width, self.scale, position)
            for position, (name, width) in enumerate(self.personal.items())
        }
        paths = self._personal_paths
        for v in self.model.trainable_variables:
            if v.path in paths:
                values[v.path] = np.repeat(np.asarray(v, np.float32)[None], len(clients), 0)
        return Personal(values)

    def _call(self, weights: Tensors, personal: Tensors, rows: Tensors) -> Tensor:
        import tensorflow as tf

        batch = tf.shape(next(iter(rows.values())))[0]
        inputs = dict(rows)
        for name, width in self.personal.items():
            inputs[name] = tf.broadcast_to(personal[name], [batch, width])
        trainable = [
            weights[v.path] if v.path in weights else personal[v.path][0]
            for v in self.model.trainable_variables
        ]
        output, _ = self.model.stateless_call(trainable, [], inputs, training=True)
        return tf.reshape(output, [batch])

    def loss(self, weights: Tensors, personal: Tensors, rows: Tensors, batch: Tensors) -> Tensor:
        """See `Recommender.loss`."""
        from fedrec.models import losses

        loss = losses.squared if self.kind == "squared" else losses.logistic
        return loss(self._call(weights, personal, rows), batch["label"], batch["weight"])

    def score(
        self, weights: Tensors, personal: Tensors, item_vectors: Tensors, history: Tensor
    ) -> Tensor:
        """See `Recommender.score`."""
        return self._call(weights, personal, item_vectors)
