"""User vectors that are a client's own part on top of a part that somebody else knows.

``theta = own + offset``.  The offset is read and never trained, so that a penalty on the own
part pulls theta to the offset: to what attributes say of a user, before interactions do
(Agarwal and Chen, "Regression-based latent factor models", KDD 2009).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedrec.data.interactions import Catalogue
from fedrec.models.recommender import Gradients, RowInput, Tensor, Tensors
from fedrec.params import Personal, Shared

USER, OFFSET = "user", "offset"


@dataclass(frozen=True)
class Offset:
    """`model` with an offset of its user vector.

    Attributes:
        model: matrix factorisation: it has a personal vector "user", and gradients by hand.
    """

    model: Any

    @property
    def pairwise(self) -> bool:
        """As the model."""
        return bool(self.model.pairwise)

    @property
    def row_inputs(self) -> tuple[RowInput, ...]:
        """As the model."""
        inputs: tuple[RowInput, ...] = self.model.row_inputs
        return inputs

    @property
    def personal_vectors(self) -> Mapping[str, int]:
        """The model's, and the offset of "user"."""
        own: Mapping[str, int] = self.model.personal_vectors
        return {**own, OFFSET: own[USER]}

    @property
    def personal_fixed(self) -> tuple[str, ...]:
        """The offset: nobody trains it here."""
        return (OFFSET,)

    def init_shared(self, catalogue: Catalogue, seed: int) -> Shared:
        """As the model."""
        shared: Shared = self.model.init_shared(catalogue, seed)
        return shared

    def init_personal(self, clients: NDArray[np.int64], seed: int) -> Personal:
        """The model's, and offsets of zero [C, d]."""
        values = self.model.init_personal(clients, seed).values
        return Personal({**values, OFFSET: np.zeros_like(values[USER])})

    def _joined(self, personal: Tensors) -> dict[str, Tensor]:
        rest = {n: v for n, v in personal.items() if n != OFFSET}
        return {**rest, USER: personal[USER] + personal[OFFSET]}

    def loss(self, weights: Tensors, personal: Tensors, rows: Tensors, batch: Tensors) -> Tensor:
        """See `Recommender.loss`."""
        return self.model.loss(weights, self._joined(personal), rows, batch)

    def gradients(
        self, weights: Tensors, personal: Tensors, rows: Tensors, batch: Tensors
    ) -> Gradients:
        """The model's; the offset has none."""
        import tensorflow as tf

        found: Gradients = self.model.gradients(weights, self._joined(personal), rows, batch)
        still = {OFFSET: tf.zeros_like(personal[OFFSET])}
        return found._replace(personal={**found.personal, **still})

    def score(
        self, weights: Tensors, personal: Tensors, item_vectors: Tensors, history: Tensor
    ) -> Tensor:
        """See `Recommender.score`."""
        return self.model.score(weights, self._joined(personal), item_vectors, history)
