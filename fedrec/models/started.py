"""Personal parameters that begin at a start which all clients share and learn.

A client's personal parameter is theta = start + change.  The start is a dense weight
"start/<name>" of the server; the change is zero at first and stays with the client.  So a
client that nobody has met begins at the start, and a penalty l2 of personal parameters
pulls them to the start instead of zero.

The gradient of the start is that of theta where the client stands.  After some local steps
on one part of a client's interactions, the gradient on another part is the first-order step
of MAML (Finn, Abbeel and Levine, ICML 2017, section 5.2, FOMAML; federated: Fallah, Mokhtari
and Ozdaglar, NeurIPS 2020, Per-FedAvg FO).  For Reptile (Nichol, Achiam and Schulman 2018)
no gradient reaches the start: clients send their change of theta, which
`fedrec.training.meta` puts there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fedrec.data.interactions import Catalogue
from fedrec.errors import ModelError
from fedrec.models.recommender import (
    Gradients,
    Recommender,
    Tensor,
    Tensors,
    personal_fixed,
)
from fedrec.models.wrapped import Wrapped
from fedrec.params import Personal, Shared

START = "start/"


@dataclass(frozen=True)
class Started(Wrapped):
    """`model` whose personal parameters begin at a shared start.

    Attributes:
        model: the model, written for one client.
        names: the personal parameters that have a start.
        by_gradient: whether the start gets the gradient of the parameter; False: none.
    """

    names: tuple[str, ...]
    by_gradient: bool = True

    @property
    def rank_one(self) -> bool:
        """As the model: a sum of two vectors is a vector."""
        return bool(getattr(self.model, "rank_one", False))

    def init_shared(self, catalogue: Catalogue, seed: int) -> Shared:
        """Return the model's parameters, and as starts what it would give its first client."""
        shared = self.model.init_shared(catalogue, seed)
        first = self.model.init_personal(np.zeros(1, np.int64), seed).values
        starts = {START + name: first[name][0] for name in self.names}
        return replace(shared, weights={**shared.weights, **starts})

    def init_personal(self, clients: NDArray[np.int64], seed: int) -> Personal:
        """Return changes of zero; what has no start as the model gives it."""
        values = self.model.init_personal(clients, seed).values
        still = {name: np.zeros_like(values[name]) for name in self.names}
        return Personal({**values, **still})

    def loss(self, weights: Tensors, personal: Tensors, rows: Tensors, batch: Tensors) -> Tensor:
        """See `Recommender.loss`."""
        import tensorflow as tf

        starts = {n: weights[START + n] for n in self.names}
        if not self.by_gradient:
            starts = {n: tf.stop_gradient(value) for n, value in starts.items()}
        own = {**personal, **{n: personal[n] + starts[n] for n in self.names}}
        return self.model.loss(self._split(weights), own, rows, batch)

    def score(
        self, weights: Tensors, personal: Tensors, item_vectors: Tensors, history: Tensor
    ) -> Tensor:
        """See `Recommender.score`."""
        own = {**personal, **{n: personal[n] + weights[START + n] for n in self.names}}
        return self.model.score(self._split(weights), own, item_vectors, history)

    @property
    def scores(self) -> Callable[..., Tensor] | None:
        """The model's scores of many clients, if it offers them."""
        many = getattr(self.model, "scores", None)
        if many is None:
            return None

        def started(w: Tensors, personal: Tensors, vectors: Tensors, history: Tensor) -> Tensor:
            own = {**personal, **{n: personal[n] + w[START + n] for n in self.names}}
            return many(self._split(w), own, vectors, history)

        return started

    @property
    def gradients(self) -> Callable[..., Gradients] | None:
        """The model's gradients by hand, if it offers them; those of starts are sums."""
        by_hand = getattr(self.model, "gradients", None)
        if by_hand is None:
            return None

        def started(w: Tensors, personal: Tensors, rows: Tensors, batch: Tensors) -> Gradients:
            import tensorflow as tf

            starts = {n: w[START + n] for n in self.names}
            own = {**personal, **{n: personal[n] + v[:, None] for n, v in starts.items()}}
            found: Gradients = by_hand(self._split(w), own, rows, batch)
            moved = {START + n: tf.zeros_like(v) for n, v in starts.items()}
            if self.by_gradient:
                moved = {START + n: tf.reduce_sum(found.personal[n], 1) for n in self.names}
            return found._replace(weights={**found.weights, **moved})

        return started

    def _split(self, weights: Tensors) -> dict[str, Tensor]:
        """Return the model's own dense weights."""
        return {n: value for n, value in weights.items() if not n.startswith(START)}


def with_start(model: Recommender, *, by_gradient: bool) -> Started:
    """Give the personal parameters of a model a shared start.

    Args:
        model: the model.
        by_gradient: whether the start follows the gradient of the parameters.

    Raises:
        ModelError: if it has no personal parameters.
    """
    values = model.init_personal(np.zeros(1, np.int64), 0).values
    still = personal_fixed(model)
    names = tuple(sorted(name for name in values if name not in still))
    if not names:
        raise ModelError(
            "train.method = 'reptile' and 'fomaml' learn where personal parameters start, and "
            f"{type(model).__name__} has none: give it a user vector, or use train.method = "
            "'fedavg'"
        )
    return Started(model, names, by_gradient)
