"""Penalties of the rows of a batch, added to their gradients once for each sample."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from fedrec.models.recommender import Outer, RowInput, Tensor
from fedrec.training.kinds import Kind


def written_out(grad: Tensor | Outer) -> Tensor:
    """Return row gradients as rows, float32 [N, K, d]."""
    if isinstance(grad, Outer):
        return grad.coefficient[..., None] * grad.vector
    return grad


def with_penalties(
    kind: Kind,
    gradients: Mapping[str, Any],
    rows: Mapping[str, Tensor],
    weight: Tensor,
    plan: Mapping[str, Any],
) -> dict[str, Tensor]:
    """Add the penalties of a phase to the gradients of the rows that move.

    With the weight of its sample a row q gets, as far as the phase has them:
    ``l2 * q``; a shared row ``l1 * sign(q) / d``, which is the gradient of the mean
    absolute value; an own row p beside a shared row q, which are to differ,
    ``-2 apart * (p - q) / d``, and q the opposite: the gradients of minus the mean
    squared difference (Li et al., ICLR 2024, FedRAP, equation 4).

    Args:
        kind: of the phase.
        gradients: input name -> gradients of the loss.
        rows: input name -> float32 [N, K, d], the rows themselves.
        weight: float32 [N, K], of the samples in the loss.
        plan: has "l2", "l1" and "apart".
    """
    moving = [r for r in kind.model.row_inputs if r.table in kind.tables and not r.fixed]
    wide = {r.name: written_out(gradients[r.name]) for r in moving}
    of_sample = weight[..., None]
    if kind.decays:
        wide = {n: grad + plan["l2"] * of_sample * rows[n] for n, grad in wide.items()}
    for r in moving if kind.sparse else ():
        if r.entity != "user" and not r.own:
            size = plan["l1"] / rows[r.name].shape[-1]
            wide[r.name] += size * of_sample * tf.sign(rows[r.name])
    for own, shared in _pairs(kind.model.row_inputs) if kind.apart else ():
        push = 2.0 * plan["apart"] / rows[own].shape[-1] * of_sample * (rows[own] - rows[shared])
        for name, grad in ((own, -push), (shared, push)):
            if name in wide:
                wide[name] += grad
    return wide


def _pairs(inputs: tuple[RowInput, ...]) -> list[tuple[str, str]]:
    """Return the names of own rows with those of the trained shared rows of the same items."""
    shared = {r.field: r.name for r in inputs if not (r.own or r.fixed)}
    return [(r.name, shared[r.field]) for r in inputs if r.own]
