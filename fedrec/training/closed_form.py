"""Closed-form personal parameters: the user vector of implicit ALS.

Hu, Koren and Volinsky (ICDM 2008), federated by Ammad-ud-din et al. (2019, FCF):
``p_u = (Q^T C_u Q + ridge I)^-1 Q^T C_u r_u`` with confidence c_ui = 1 + alpha r_ui.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fedrec.data.batches import Samples
from fedrec.params import Personal, Shared

if TYPE_CHECKING:
    from fedrec.training.methods import Method


def solve_cohort(shared: Shared, personal: Personal, samples: Samples, method: Method) -> Personal:
    """Return the user vectors of C clients, solved from all-item samples."""
    liked = np.flatnonzero(samples.label > 0)
    vectors = solve_users(
        shared.tables["item"],
        samples.client[liked],
        samples.fields["item"][liked],
        samples.num_clients,
        alpha=method.sampling.alpha,
        ridge=method.ridge,
    )
    return Personal({"user": vectors})


def solve_users(
    table: NDArray[np.float32],
    owner: NDArray[np.int64],
    items: NDArray[np.int64],
    num_users: int,
    *,
    alpha: float,
    ridge: float,
) -> NDArray[np.float32]:
    """Solve the vectors of many users at once.

    Args:
        table: float32 [I, d], the item table Q.
        owner: int64 [n], user of each interaction, ascending.
        items: int64 [n], its item.
        num_users: U.
        alpha: weight of an interaction on top of 1.
        ridge: ridge of the normal equations.

    Returns:
        float32 [U, d]; zeros for a user without interactions.
    """
    q = table.astype(np.float64)
    dim = q.shape[1]
    base = q.T @ q + ridge * np.eye(dim)
    count = np.bincount(owner, minlength=num_users)
    start = np.cumsum(count) - count
    out = np.zeros((num_users, dim), np.float32)
    step = max(1, (1 << 22) // max(1, dim * max(dim, int(count.max(initial=1)))))
    by_size = np.argsort(count, kind="stable")  # like sizes together: little padding
    for at in range(0, num_users, step):
        users = by_size[at : at + step]
        width = int(count[users].max(initial=0))
        position = start[users][:, None] + np.arange(width)
        real = np.arange(width) < count[users][:, None]
        rows = q[items[np.where(real, position, 0)]] * real[..., None]
        left = base + alpha * np.matmul(rows.transpose(0, 2, 1), rows)
        right = (1.0 + alpha) * rows.sum(1)
        out[users] = np.linalg.solve(left, right[..., None])[..., 0]
    return out
