"""A model over many users at once: personal vectors become rows of a table.

The centralised baseline pools all users; a merchant client pools its own.  The
model's loss is unchanged: it receives one personal row for each sample.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedrec.data.interactions import Catalogue
from fedrec.models.recommender import (
    Gradients,
    Recommender,
    RowInput,
    Tensor,
    Tensors,
    constants,
    personal_fixed,
)
from fedrec.params import Personal, Shared
from fedrec.training.control import CONTROL

PREFIX = "personal/"


@dataclass(frozen=True)
class Pooled:
    """`model` trained on the samples of many users.

    Attributes:
        model: the model, written for one client.
    """

    model: Recommender

    @property
    def personal_vectors(self) -> Mapping[str, int]:
        """None: they are rows here."""
        return {}

    @property
    def constants(self) -> Mapping[str, NDArray[np.float32]]:
        """As the model."""
        return constants(self.model)

    @property
    def pairwise(self) -> bool:
        """As the model."""
        return self.model.pairwise

    @property
    def row_inputs(self) -> tuple[RowInput, ...]:
        """The model's rows, and a user row for each of its personal vectors."""
        still = personal_fixed(self.model)
        names = ((PREFIX + n, n in still) for n in self.model.personal_vectors)
        users = (RowInput(name, name, "user", fixed) for name, fixed in names)
        return (*self.model.row_inputs, *users)

    def init_shared(self, catalogue: Catalogue, seed: int) -> Shared:
        """As the model: user tables are not the server's."""
        return self.model.init_shared(catalogue, seed)

    def init_personal(self, clients: NDArray[np.int64], seed: int) -> Personal:
        """Personal parameters that are not vectors (a local head), one a client."""
        values = self.model.init_personal(clients, seed).values
        return Personal({n: v for n, v in values.items() if n not in self.model.personal_vectors})

    def loss(self, weights: Tensors, personal: Tensors, rows: Tensors, batch: Tensors) -> Tensor:
        """See `Recommender.loss`; personal vectors are [B, width]."""
        vectors = {n: rows[PREFIX + n] for n in self.model.personal_vectors}
        own = {r.name: rows[r.name] for r in self.model.row_inputs}
        return self.model.loss(weights, {**personal, **vectors}, own, batch)

    @property
    def gradients(self) -> Callable[..., Gradients] | None:
        """The model's gradients by hand, if it offers them; those of vectors are rows."""
        by_hand = getattr(self.model, "gradients", None)
        if by_hand is None:
            return None

        def pooled(weights: Tensors, personal: Tensors, rows: Tensors, batch: Tensors) -> Gradients:
            vectors = {n: rows[PREFIX + n] for n in self.model.personal_vectors}
            own = {r.name: rows[r.name] for r in self.model.row_inputs}
            found: Gradients = by_hand(weights, {**personal, **vectors}, own, batch)
            moved = {PREFIX + n: found.personal[n] for n in vectors}
            rest = {n: found.personal[n] for n in personal}
            return Gradients(found.losses, {**found.rows, **moved}, found.weights, rest)

        return pooled

    def score(
        self, weights: Tensors, personal: Tensors, item_vectors: Tensors, history: Tensor
    ) -> Tensor:
        """As the model."""
        return self.model.score(weights, personal, item_vectors, history)


def with_users(
    model: Recommender, shared: Shared, vectors: Mapping[str, NDArray[np.float32]]
) -> Shared:
    """Return `shared` with the personal vectors of users as tables, trained or fixed.

    Args:
        model: written for one client.
        shared: what the server sent.
        vectors: name -> float32 [U, width].
    """
    still = personal_fixed(model)
    rows = {PREFIX + n: v for n, v in vectors.items() if n not in still}
    fixed = {PREFIX + n: v for n, v in vectors.items() if n in still}
    return Shared({**shared.tables, **rows}, shared.weights, {**shared.fixed, **fixed})


def first_user(owner: NDArray[np.int64], clients: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the position of each client's first user, int64 [C].

    Args:
        owner: int64 [U], the client of each user.
        clients: int64 [C], each with a user.
    """
    order = np.argsort(owner, kind="stable")
    return order[np.searchsorted(owner[order], clients)]


def by_client(model: Recommender, personal: Personal, first: NDArray[np.int64]) -> Personal:
    """Return personal parameters in which layers and heads stand once for each client.

    Args:
        model: written for one client.
        personal: of clients with many users, with a copy for each user.
        first: int64 [C], a user of each client.
    """
    vectors = {n: v for n, v in personal.values.items() if n in model.personal_vectors}
    layers = {n: v[first] for n, v in personal.values.items() if n not in vectors}
    return Personal(vectors, {**personal.own, **layers})


def by_user(personal: Personal, owner: NDArray[np.int64]) -> Personal:
    """Return what `by_client` was given: a copy of each client's layers for each user.

    Args:
        personal: of clients with many users.
        owner: int64 [U], position of the client of each user.
    """
    layers = {n: v[owner] for n, v in personal.own.items() if not n.startswith(CONTROL)}
    rest = {n: v for n, v in personal.own.items() if n not in layers}
    return Personal({**personal.values, **layers}, rest)
