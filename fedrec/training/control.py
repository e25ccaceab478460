"""SCAFFOLD: control variates against the drift of unlike clients.

Karimireddy et al., "SCAFFOLD: Stochastic controlled averaging for federated learning" (ICML
2020), algorithm 1 with option II.  A client i keeps c_i, an estimate of its own gradient, and
is sent c, the mean of these, beside the shared parameters x.  Each of its K steps goes along
g(y) - c_i + c, and after them

    c_i+ = c_i - c + (x - y) / (K lr).

It sends y - x and c_i+ - c_i, two sums like any other.  c travels as dense weights,
"control/table/<name>" [I, d] and "control/weight/<name>", so that the change of c_i is clipped,
masked, noised and summed with the update, as one vector.  Rows that a client has no sample of
move too, by c alone; so all rows are among its update.

A client whose answer is lost, or whose round is skipped, has computed a c_i+ that c will never
hold.  So c_i+ is its own only once the server has said that it was counted: the client keeps
c_i beside it, and the round it was made in; with its next work it is told the last round whose
sum held its update, and goes back to c_i if that is an earlier one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fedrec.errors import ConfigError
from fedrec.params import Personal, Shared

if TYPE_CHECKING:
    from fedrec.training.cohort import CohortUpdate
    from fedrec.training.methods import Phase

Arrays = dict[str, NDArray[np.float32]]

SCAFFOLD = "scaffold"
CONTROL = "control/"
TABLE, WEIGHT = f"{CONTROL}table/", f"{CONTROL}weight/"
BEFORE, MADE = f"{CONTROL}before/", f"{CONTROL}made"
"""What a client keeps until it is told that its c_i+ was counted: c_i, and the round of c_i+."""


@dataclass(frozen=True, eq=False)
class Drift:
    """What is added to every gradient of each client: c - c_i.

    Attributes:
        tables: table name -> float32 [C, I, d].
        weights: weight name -> float32 [C, ...].
    """

    tables: Arrays
    weights: Arrays


def zero_controls(shared: Shared) -> Arrays:
    """Return control variates of zero for all that clients train, by name."""
    tables = {TABLE + n: np.zeros(v.shape, np.float32) for n, v in shared.tables.items()}
    return tables | {WEIGHT + n: np.zeros(v.shape, np.float32) for n, v in shared.weights.items()}


def with_controls(shared: Shared) -> Shared:
    """Return what the server begins with: its parameters, and c = 0."""
    return replace(shared, weights={**shared.weights, **zero_controls(shared)})


def with_own_controls(personal: Personal, shared: Shared, num_clients: int) -> Personal:
    """Return what clients begin with: their personal parameters, and c_i = 0.

    Args:
        personal: of the clients.
        shared: of the model, for shapes.
        num_clients: C.
    """
    zeros = zero_controls(shared).items()
    own = {n: np.zeros((num_clients, *v.shape), np.float32) for n, v in zeros}
    return replace(personal, own={**personal.own, **own})


def unsettled(personal: Personal, before: Mapping[str, NDArray], made: int) -> Personal:
    """Return personal parameters of which it is not known yet whether each c_i was counted.

    Args:
        personal: with c_i+ of C clients, as they come out of a round.
        before: name -> float32 [C, ...], c_i with which they went into it.
        made: the round.
    """
    kept = {BEFORE + n: v for n, v in before.items() if n.startswith((TABLE, WEIGHT))}
    kept[MADE] = np.full(len(next(iter(kept.values()))), made, np.float32)
    return replace(personal, own={**personal.own, **kept})


def settled(personal: Personal, counted: NDArray[np.int64] | None) -> Personal:
    """Return personal parameters with each client's last c_i that was counted, alone.

    Args:
        personal: of C clients, as `unsettled` returned them.
        counted: int64 [C], the last round whose sum held the client's update, 0 for none; None:
            where nothing is told, all count.
    """
    own = {n: v for n, v in personal.own.items() if n != MADE and not n.startswith(BEFORE)}
    made = personal.own.get(MADE)
    if made is None or counted is None:
        return replace(personal, own=own)
    lost = np.flatnonzero(made > counted)
    for name, value in personal.own.items():
        if name.startswith(BEFORE) and len(lost):
            new = own[name.removeprefix(BEFORE)].copy()
            new[lost] = value[lost]
            own[name.removeprefix(BEFORE)] = new
    return replace(personal, own=own)


def without_controls(shared: Shared) -> tuple[Shared, Arrays]:
    """Return the parameters of the model, and c."""
    plain = {n: v for n, v in shared.weights.items() if not n.startswith(CONTROL)}
    control = {n: v for n, v in shared.weights.items() if n.startswith(CONTROL)}
    return replace(shared, weights=plain), control


def drift_of(control: Mapping[str, NDArray], own: Mapping[str, NDArray]) -> Drift:
    """Return c - c_i of each client.

    Args:
        control: c, by name.
        own: name -> c_i, float32 [C, ...].

    Raises:
        ConfigError: if there are none, as in a command that trains without a server.
    """
    if not control or set(own) != set(control):
        raise ConfigError(
            "train.method = 'scaffold' needs the control variates that a federated run keeps, and "
            "this command trains without: use train.method = 'fedavg' for it"
        )
    away = {name: value[None] - own[name] for name, value in control.items()}
    tables = {n.removeprefix(TABLE): v for n, v in away.items() if n.startswith(TABLE)}
    weights = {n.removeprefix(WEIGHT): v for n, v in away.items() if n.startswith(WEIGHT)}
    return Drift(tables, weights)


def controlled(
    update: CohortUpdate, drift: Drift, own: Mapping[str, NDArray], phase: Phase
) -> tuple[CohortUpdate, Arrays]:
    """Return the update with the change of each c_i beside it, and the new c_i.

    Args:
        update: of C clients, over all rows.
        drift: c - c_i, by which they were trained.
        own: name -> c_i, float32 [C, ...].
        phase: for the rates of its steps.

    Returns:
        The update, and name -> float32 [C, ...].
    """
    steps = np.maximum(update.steps, 1) if update.steps is not None else np.ones(len(update.loss))
    new: Arrays = {}
    for name, away in drift.tables.items():
        moved = update.rows[name].reshape(away.shape)
        new[TABLE + name] = _mean_gradient(moved, steps, phase.row_lr or phase.lr) - away
    for name, away in drift.weights.items():
        new[WEIGHT + name] = _mean_gradient(update.weights[name], steps, phase.lr) - away
    changes = {name: value - own[name] for name, value in new.items()}
    return replace(update, weights={**update.weights, **changes}), new


def _mean_gradient(
    moved: NDArray[np.float32], steps: NDArray[np.floating], rate: float
) -> NDArray[np.float32]:
    """Return (x - y) / (K lr) of each client, float32 [C, ...]."""
    scale = (-1.0 / (steps * rate)).astype(np.float32)
    return moved * scale.reshape(-1, *[1] * (moved.ndim - 1))
