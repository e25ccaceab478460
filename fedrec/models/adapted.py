"""Low-rank adapters: a frozen item table, and a few numbers for each item that are trained.

An item's row is q_i = q0_i + a_i B, where q0 [I, d] is read and never trained, the
adapter a [I, r] is a table and the basis B [r, d] a dense weight (LoRA: Hu et al., ICLR
2022, eq. 3).  a begins at zero, so training begins at q0; the rows of B begin
orthonormal.  A client sends r numbers a row, not d, and r * d for the basis.

Any model can be adapted: rows are composed before its own loss, which does not change.
Its dense weights and personal parameters are trained as always.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedrec.config import Config
from fedrec.data.interactions import Catalogue
from fedrec.errors import ModelError
from fedrec.models.recommender import (
    Gradients,
    Outer,
    Recommender,
    RowInput,
    Tensor,
    Tensors,
    initial_rows,
)
from fedrec.models.wrapped import Wrapped
from fedrec.params import Personal, Shared

FROZEN = "frozen/"
_FIRST_BASIS = 1000  # numbers of bases, beyond those of a model's own tables


@dataclass(frozen=True)
class Adapted(Wrapped):
    """`model` whose wide item tables are frozen.

    Attributes:
        model: the model, written for one client.
        tables: the tables that are frozen, wider than `rank`.
        rank: r, elements of an adapter's row; 0: frozen without adapters.
    """

    tables: tuple[str, ...]
    rank: int

    @property
    def rank_one(self) -> bool:
        """As the model: u times a vector times the basis is u times a vector."""
        return bool(getattr(self.model, "rank_one", False))

    @property
    def row_inputs(self) -> tuple[RowInput, ...]:
        """The model's, those of frozen tables as a frozen row and a row of the adapter."""
        out = []
        for one in self.model.row_inputs:
            if one.table not in self.tables:
                out.append(one)
                continue
            out.append(RowInput(FROZEN + one.name, one.table, one.field, fixed=True))
            if self.rank:
                out.append(RowInput(one.name, adapter_of(one.table), one.field))
        return tuple(out)

    def init_shared(self, catalogue: Catalogue, seed: int) -> Shared:
        """Return the model's parameters: frozen tables among the fixed, adapters of zeros."""
        start = self.model.init_shared(catalogue, seed)
        tables = {n: v for n, v in start.tables.items() if n not in self.tables}
        weights = dict(start.weights)
        for number, name in enumerate(self.tables * bool(self.rank)):
            rows, width = start.tables[name].shape
            tables[adapter_of(name)] = np.zeros((rows, self.rank), np.float32)
            weights[basis_of(name)] = _orthonormal(seed, self.rank, width, _FIRST_BASIS + number)
        fixed = {name: start.tables[name] for name in self.tables}
        return Shared(tables, weights, {**start.fixed, **fixed})

    def init_personal(self, clients: NDArray[np.int64], seed: int) -> Personal:
        """As the model."""
        return self.model.init_personal(clients, seed)

    def loss(self, weights: Tensors, personal: Tensors, rows: Tensors, batch: Tensors) -> Tensor:
        """See `Recommender.loss`."""
        own, composed = self._split(weights), self._composed(weights, rows)
        return self.model.loss(own, personal, composed, batch)

    def score(
        self, weights: Tensors, personal: Tensors, item_vectors: Tensors, history: Tensor
    ) -> Tensor:
        """See `Recommender.score`."""
        composed = self._composed(weights, item_vectors)
        return self.model.score(self._split(weights), personal, composed, history)

    @property
    def scores(self) -> Callable[..., Tensor] | None:
        """The model's scores of many clients, if it offers them."""
        many = getattr(self.model, "scores", None)
        if many is None:
            return None

        def adapted(w: Tensors, personal: Tensors, vectors: Tensors, history: Tensor) -> Tensor:
            one = {n: v[0] if v.shape[0] == 1 else v for n, v in w.items()}
            shared = all(v.shape.rank == 2 for v in vectors.values())
            composed = self._composed(one if shared else w, vectors)
            return many(self._split(w), personal, composed, history)

        return adapted

    @property
    def gradients(self) -> Callable[..., Gradients] | None:
        """The model's gradients by hand, if it offers them, carried on to adapter and basis."""
        by_hand = getattr(self.model, "gradients", None)
        if by_hand is None:
            return None

        def adapted(w: Tensors, personal: Tensors, rows: Tensors, batch: Tensors) -> Gradients:
            found = by_hand(self._split(w), personal, self._composed(w, rows), batch)
            moved, dense = {}, dict(found.weights)
            for one in self.model.row_inputs:
                if one.table not in self.tables:
                    moved[one.name] = found.rows.get(one.name)
                elif self.rank:
                    basis = basis_of(one.table)
                    both = _carried(found.rows[one.name], rows[one.name], w[basis])
                    moved[one.name] = both[0]
                    dense[basis] = dense[basis] + both[1] if basis in dense else both[1]
            return Gradients(found.losses, moved, dense, found.personal)

        return adapted

    def _split(self, weights: Tensors) -> Tensors:
        """Return the model's own dense weights."""
        bases = {basis_of(name) for name in self.tables}
        return {n: value for n, value in weights.items() if n not in bases}

    def _composed(self, weights: Tensors, rows: Tensors) -> Tensors:
        """Return the rows that the model reads."""
        import tensorflow as tf

        out = {}
        for one in self.model.row_inputs:
            if one.table not in self.tables:
                if one.name in rows:
                    out[one.name] = rows[one.name]
            elif FROZEN + one.name in rows:
                value = rows[FROZEN + one.name]
                if self.rank:
                    value = value + tf.linalg.matmul(rows[one.name], weights[basis_of(one.table)])
                out[one.name] = value
        return out


def adapter_of(table: str) -> str:
    """Return the name of the table a of a frozen table."""
    return f"{table}_adapter"


def basis_of(table: str) -> str:
    """Return the name of the weight B of a frozen table."""
    return f"{table}_basis"


def as_configured(config: Config, model: Recommender) -> Recommender:
    """Return the model, adapted where `model.adapter_rank` or `model.freeze` ask for it.

    Raises:
        ModelError: if it has no table that could be.
    """
    rank = config.model.adapter_rank
    return adapt(model, rank) if rank or config.model.freeze else model


def adapt(model: Recommender, rank: int) -> Adapted:
    """Freeze the item tables of a model that are wider than the rank.

    Args:
        model: the model.
        rank: r; 0 for no adapters.

    Raises:
        ModelError: if it has no such table.
    """
    start = model.init_shared(Catalogue(np.array(["0"], object)), 0)
    read = {r.table for r in model.row_inputs if not r.fixed and r.entity == "item"}
    widths = {n: v.shape[1] for n, v in start.tables.items() if n in read and v.ndim == 2}
    wide = tuple(sorted(n for n, width in widths.items() if width > rank))
    if not wide:
        raise ModelError(
            f"model.adapter_rank = {rank}: no item table of {type(model).__name__} is wider (they "
            f"have {', '.join(f'{n} {w}' for n, w in widths.items()) or 'none'}): lower it"
        )
    return Adapted(model, wide, rank)


def _orthonormal(seed: int, rank: int, width: int, number: int) -> NDArray[np.float32]:
    drawn = initial_rows(seed, rank, width, 1.0, number).astype(np.float64)
    columns, upper = np.linalg.qr(drawn.T)
    return np.ascontiguousarray((columns * np.sign(np.diag(upper))).T, np.float32)


def _carried(grad: Any, adapter: Tensor, basis: Tensor) -> tuple[Any, Tensor]:
    """Return the gradients of adapter rows and of the basis.

    Args:
        grad: of the composed rows, [N, K, d] or `Outer`.
        adapter: [N, K, r].
        basis: [N, r, d].
    """
    import tensorflow as tf

    if not isinstance(grad, Outer):
        rows = tf.linalg.matmul(grad, basis, transpose_b=True)
        return rows, tf.linalg.matmul(adapter, grad, transpose_a=True)
    coefficient, vector = grad
    rows = Outer(coefficient, tf.linalg.matmul(vector, basis, transpose_b=True))
    weighted = coefficient[..., None] * adapter
    if vector.shape[1] == 1:
        weighted = tf.reduce_sum(weighted, 1, keepdims=True)
    return rows, tf.linalg.matmul(weighted, vector, transpose_a=True)
