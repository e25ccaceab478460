"""The contract of a model: written for one client, vectorised by the engine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from fedrec.data.interactions import Catalogue
from fedrec.params import Personal, Shared
from fedrec.rng import Purpose, keys, normal

Tensor = Any  # tf.Tensor; TensorFlow is imported lazily
Tensors = Mapping[str, Tensor]

WHOLE_HISTORY = -1
"""`history_length` of a model that reads all training items of a user."""


@dataclass(frozen=True)
class RowInput:
    """One input of a model that is a row of a table.

    Attributes:
        name: key under which the model finds it in `rows`.
        table: the shared table that it is gathered from.
        field: the id column of the batch: "item", "negative" (pairwise) or "user"
            (pooled training only).
        fixed: the table is read and never trained: it is among `Shared.fixed`, or among
            the model's own `constants`.
        own: each client has a table of its own, that stays with it: the personal value of
            this name, float32 [C, I, d]; its rows are trained like those of a shared table.
    """

    name: str
    table: str
    field: str = "item"
    fixed: bool = False
    own: bool = False

    @property
    def entity(self) -> str:
        """What the ids number: "item" or "user"."""
        return "user" if self.field == "user" else "item"


class Outer(NamedTuple):
    """Row gradients of rank one: one number for each sample.

    Attributes:
        coefficient: float32 [N, K].
        vector: float32 [N, 1, d], or [N, K, d] where personal values differ by sample.
    """

    coefficient: Tensor
    vector: Tensor


class Gradients(NamedTuple):
    """Losses and gradients of N tiles of K samples, each tile of one client.

    Attributes:
        losses: float32 [N], weighted sums over the samples of a tile.
        rows: input name -> float32 [N, K, d], or `Outer`.
        weights: name -> float32 [N, ...].
        personal: name -> float32, of the shape of the personal value.
    """

    losses: Tensor
    rows: Mapping[str, Any]
    weights: Tensors
    personal: Tensors


class Recommender(Protocol):
    """A model, written for ONE client.

    Personal values arrive with a leading axis of 1 (one client; it broadcasts
    over the batch) or B (pooled training, one row for each sample).  A model is
    hashable: compiled functions are kept for it.

    A model may also offer its gradients, derived by hand and batched over tiles of
    samples; they must equal those of `loss`:
    ``gradients(weights, personal, rows, batch) -> Gradients`` with weights [N, ...],
    personal [N, 1 or K, ...], rows [N, K, d] and batch columns [N, K].  With
    ``one_for_all = True`` it also takes weights [1, ...], where they do not move.  With
    ``rank_one = True`` it promises that all its row gradients are `Outer`, whose
    vector is [N, 1, d] wherever the personal values are.

    It may read attributes: ``bound(items, users) -> Recommender`` returns it with what it
    needs of the two catalogues, and its ``constants``, name -> float32 [I, w], are tables
    that are on every node, neither trained nor sent.  Inputs of them are `fixed`.  Of the
    personal values, those named in its ``personal_fixed`` (a user's own attributes) stay
    as `init_personal` gives them.

    It may score many clients at once too, which deep networks of loops need:
    ``scores(weights, personal, item_vectors, history) -> [b, I]`` with weights
    [1 or b, ...], personal [b, ...], item vectors [I, d] or [b, I, d], history [b, H].
    """

    @property
    def row_inputs(self) -> tuple[RowInput, ...]:
        """Which inputs are table rows."""
        ...

    @property
    def personal_vectors(self) -> Mapping[str, int]:
        """Name -> width of the personal vectors (user embeddings)."""
        ...

    @property
    def pairwise(self) -> bool:
        """Whether a sample is a (positive, negative) pair."""
        ...

    def __hash__(self) -> int: ...

    def init_shared(self, catalogue: Catalogue, seed: int) -> Shared:
        """Return initial tables and weights for the items of `catalogue`."""
        ...

    def init_personal(self, clients: NDArray[np.int64], seed: int) -> Personal:
        """Return initial personal parameters, addressed by client number [C]."""
        ...

    def loss(self, weights: Tensors, personal: Tensors, rows: Tensors, batch: Tensors) -> Tensor:
        """Return the scalar ``sum_b batch["weight"][b] * loss_b``.

        Args:
            weights: name -> float32, the dense weights.
            personal: name -> float32 [1 or B, ...].
            rows: input name -> float32 [B, d].
            batch: "label" float32 [B], "weight" float32 [B] (0 where padded).
        """
        ...

    def score(
        self, weights: Tensors, personal: Tensors, item_vectors: Tensors, history: Tensor
    ) -> Tensor:
        """Return the scores of candidates, float32 [I].

        Args:
            weights: name -> float32, the dense weights.
            personal: name -> float32 [1, ...].
            item_vectors: input name (of field "item") -> float32 [I, d].
            history: int32 [H], training items of the client in time order, padded
                with -1 in front.  Models without sequence ignore it.
        """
        ...


def constants(model: Recommender) -> dict[str, NDArray[np.float32]]:
    """Return the model's own tables, name -> float32 [I, w]; most models have none."""
    return dict(getattr(model, "constants", {}))


def personal_fixed(model: Recommender) -> tuple[str, ...]:
    """Return the names of personal values that are read and never trained."""
    return tuple(getattr(model, "personal_fixed", ()))


def bound(model: Recommender, items: Catalogue, users: Catalogue) -> Recommender:
    """Return the model with what it needs of the catalogues; most models need nothing."""
    bind = getattr(model, "bound", None)
    result: Recommender = model if bind is None else bind(items, users)
    return result


def initial_rows(
    seed: int, num_rows: int, dim: int, scale: float, table: int = 0
) -> NDArray[np.float32]:
    """Return addressed normal rows: row i depends on (seed, table, i) alone.

    Args:
        seed: seed of the run.
        num_rows: number of rows.
        dim: width d.
        scale: standard deviation.
        table: number of the table within the model.

    Returns:
        float32 [num_rows, dim].
    """
    key = keys(seed, table, np.arange(num_rows), Purpose.INIT_SHARED)
    return scale * normal(key, dim)


def initial_vectors(
    seed: int, clients: NDArray[np.int64], dim: int, scale: float, position: int = 0
) -> NDArray[np.float32]:
    """Return addressed personal vectors: client c's depends on (seed, position, c) alone.

    Args:
        seed: seed of the run.
        clients: int64 [C].
        dim: width.
        scale: standard deviation.
        position: number of the personal value within the model.

    Returns:
        float32 [C, dim].
    """
    return scale * normal(keys(seed, position, clients, Purpose.INIT_PERSONAL), dim)
