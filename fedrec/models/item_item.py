"""Item-item models: what a user met says what comes next; no user parameters at all.

EASE (Steck, WWW 2019) scores item j by ``sum_i x_ui B_ij``; item neighbours (Sarwar et
al., WWW 2001) by the similarities of the k items that are most like j and that the user
met.  Nothing is trained: `fedrec.training.gram` sums and solves.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedrec.data.interactions import Catalogue
from fedrec.errors import ModelError
from fedrec.models.recommender import WHOLE_HISTORY, RowInput, Tensor, Tensors
from fedrec.params import Personal, Shared


@dataclass(frozen=True)
class ItemItem:
    """An item-item model for one client.

    Attributes:
        neighbours: k: the table holds the numbers and the similarities of k neighbours of
            each item, [I, 2 k]; 0: it holds weights, [I, I].
        recent: latest items of a user that are scored with; 0: all.
        decay: an item met n interactions ago counts exp(-n / decay); 0: all count 1.
    """

    neighbours: int = 0
    recent: int = 0
    decay: float = 0.0

    pairwise = False

    @property
    def history_length(self) -> int:
        """How much of the history is read."""
        return self.recent or WHOLE_HISTORY

    @property
    def row_inputs(self) -> tuple[RowInput, ...]:
        """The item's row."""
        return (RowInput("item", "item"),)

    @property
    def personal_vectors(self) -> Mapping[str, int]:
        """None: the history is all that is personal."""
        return {}

    def init_shared(self, catalogue: Catalogue, seed: int) -> Shared:
        """Return a table without columns [I, 0]: clients receive nothing before it is solved."""
        return Shared({"item": np.zeros((len(catalogue), 0), np.float32)})

    def init_personal(self, clients: NDArray[np.int64], seed: int) -> Personal:
        """Return none."""
        return Personal({})

    def loss(self, weights: Tensors, personal: Tensors, rows: Tensors, batch: Tensors) -> Tensor:
        """An item-item model has no loss of a sample.

        Raises:
            ModelError: always.
        """
        raise ModelError(
            "model.name = 'item-item' is solved, not trained: set train.method = 'ease' or "
            "'item-knn'"
        )

    def score(
        self, weights: Tensors, personal: Tensors, item_vectors: Tensors, history: Tensor
    ) -> Tensor:
        """See `Recommender.score`."""
        import tensorflow as tf

        table = item_vectors["item"]
        size = tf.shape(table)[0]
        # where the history is padded, it counts for an item after the last, which is cut off
        places = tf.where(history < 0, size, history)
        age = tf.cast(tf.range(tf.shape(history)[0] - 1, -1, -1), table.dtype)
        mass = tf.exp(-age / self.decay) if self.decay else tf.ones_like(age)
        met = tf.math.unsorted_segment_sum(mass, places, size + 1)[:-1]
        if not self.neighbours:
            return tf.linalg.matvec(table, met, transpose_a=True)
        numbers = tf.cast(table[:, : self.neighbours], tf.int32)
        return tf.reduce_sum(table[:, self.neighbours :] * tf.gather(met, numbers), -1)
