"""Local training, written once: for every engine, client kind and baseline.

`train_cohort` trains C clients in one compiled call.  A client has only the rows
that it touches: the rows of all clients of a block lie one after the other in
one array [T, d], so no per-client table and no dense table delta ever exist.
The model's loss for one client is vectorised over clients; clients are
independent, so the gradient of the sum of their losses is each one's own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from fedrec.data.batches import Batches, Samples, lay_out
from fedrec.models.recommender import Recommender, Tensor
from fedrec.params import Personal, Shared
from fedrec.training.compiled import compile_once
from fedrec.training.methods import Method, Phase
from fedrec.training.optimizers import adam_init, adam_step
from fedrec.training.rows import RowIndex, entities, index_tables

State = dict[str, dict[str, Tensor]]  # {"rows": ..., "weights": ..., "personal": ...}
Moments = dict[str, dict[str, tuple[Tensor, Tensor]]]  # group -> name -> Adam's two moments
Slots = tuple[int, Moments]  # steps taken, moments


@dataclass(frozen=True, eq=False)
class CohortUpdate:
    """The updates of C clients, each still its own.

    Attributes:
        rows: table name -> float32 [T, d], row deltas, client by client.
        index: table name -> which client and row each delta belongs to.
        weights: name -> float32 [C, ...], dense deltas.
        personal: the new personal parameters, stacked [C, ...].
        samples: float64 [C], weighted samples of each client.
        loss: float64 [C], mean loss over the samples of the last phase.
        slots: optimiser state of the last phase, for a caller that goes on (centralised).
        metrics: name -> float64 [C], more numbers of each client that are to be summed.
        sent: float64 [C], bytes that a compressed update takes; None: row ids and float32.
    """

    rows: dict[str, NDArray[np.float32]]
    index: dict[str, RowIndex]
    weights: dict[str, NDArray[np.float32]]
    personal: Personal
    samples: NDArray[np.float64]
    loss: NDArray[np.float64]
    slots: Slots
    metrics: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    sent: NDArray[np.float64] | None = None


def train_cohort(
    model: Recommender,
    shared: Shared,
    personal: Personal,
    samples: Samples,
    method: Method,
    *,
    solve_personal: Callable[[Shared, Personal, Samples, Method], Personal] | None = None,
    every_row: bool = False,
    slots: Slots | None = None,
) -> CohortUpdate:
    """Train C clients on their samples, each from the same shared parameters.

    Args:
        model: the model, written for one client.
        shared: what the server sent.
        personal: the clients' personal parameters [C, ...].
        samples: their samples of this round.
        method: which parameters move when.
        solve_personal: closed-form solver for phases that ask for it.
        every_row: index all rows of every table, touched or not, for each client.
        slots: optimiser state that the last phase goes on from (needs every_row);
            None: fresh, as clients that keep no state between rounds have it.

    Returns:
        The clients' updates.

    Raises:
        ValueError: if a phase is closed-form and there is no solver.
    """
    of_table = entities(model)
    index = index_tables(model, shared, samples, all_rows=every_row)
    start: State = {
        "rows": {t: tf.gather(shared.tables[t], index[e].ids) for t, e in of_table.items()},
        "weights": {n: _stack(v, samples.num_clients) for n, v in shared.weights.items()},
        "personal": {n: tf.constant(v) for n, v in personal.values.items()},
    }
    state, loss, weight = start, np.zeros(samples.num_clients), np.zeros(samples.num_clients)
    left: Slots = (0, {})
    phases = method.phases if len(samples.client) else ()  # nothing to train on: no change
    for number, phase in enumerate(phases):
        if phase.solver == "closed-form":
            if solve_personal is None:
                raise ValueError("a closed-form phase needs solve_personal")
            solved = solve_personal(shared, personal, samples, method)
            state = {**state, "personal": {n: tf.constant(v) for n, v in solved.values.items()}}
            continue
        batches = lay_out(samples, phase.batch, phase.epochs if phase.batch else 1)
        given = slots if number == len(phases) - 1 else None
        state, left, total = _run_phase(
            model, phase, method.reduction, start, state, given, batches, index
        )
        passes = phase.epochs
        weight = batches.samples.sum(-1, dtype=np.float64) / (passes if phase.batch else 1)
        loss = total.numpy().astype(np.float64) / np.maximum(weight * passes, 1e-12)
    return _difference(model, start, state, index, weight, loss, left)


def _difference(
    model: Recommender,
    start: State,
    state: State,
    index: Mapping[str, RowIndex],
    samples: NDArray[np.float64],
    loss: NDArray[np.float64],
    slots: Slots,
) -> CohortUpdate:
    """Return what has changed since `start`."""
    return CohortUpdate(
        {t: (v - start["rows"][t]).numpy() for t, v in state["rows"].items()},
        {t: index[e] for t, e in entities(model).items()},
        {n: (v - start["weights"][n]).numpy() for n, v in state["weights"].items()},
        Personal({n: v.numpy() for n, v in state["personal"].items()}),
        samples,
        loss,
        slots,
    )


def _stack(value: NDArray[np.float32], num_clients: int) -> Tensor:
    return tf.broadcast_to(tf.constant(value), (num_clients, *value.shape))


def _run_phase(
    model: Recommender,
    phase: Phase,
    reduction: str,
    start: State,
    state: State,
    slots: Slots | None,
    batches: Batches,
    index: Mapping[str, RowIndex],
) -> tuple[State, Slots, Tensor]:
    """Run one phase; returns the new state, its slots and each client's summed loss [C]."""
    fields = {row.field: row.entity for row in model.row_inputs}
    local = {name: index[e].local(batches.fields[name]) for name, e in fields.items()}
    means = reduction == "mean"
    scale = np.maximum(batches.samples, 1e-12) if means else np.ones_like(batches.samples)
    owner = {r.table: index[r.entity].client for r in model.row_inputs}
    names = ("lr", "personal_lr", "l2", "prox_mu")
    rates = {name: tf.constant(getattr(phase, name), tf.float32) for name in names}
    proximal = phase.prox_mu > 0 and phase.shared
    run = compile_phase(model, phase.shared, phase.personal, phase.optimizer, proximal)
    first, moments = slots or (0, _fresh_moments(model, phase, state))
    repeats = 1 if phase.batch else phase.epochs
    new, moments, total = run(
        start,
        state,
        moments,
        tf.constant(first),
        local,
        owner,
        batches.label,
        batches.mask,
        scale.astype(np.float32),
        tf.constant(repeats),
        rates,
    )
    return new, (first + batches.label.shape[1] * repeats, moments), total


def moving_tables(model: Recommender, shared: bool, personal: bool) -> tuple[str, ...]:
    """Return the tables whose rows move: users' rows are personal, all others shared."""
    return tuple(
        table for table, e in entities(model).items() if (personal if e == "user" else shared)
    )


def _fresh_moments(model: Recommender, phase: Phase, state: State) -> Moments:
    if phase.optimizer != "adam":
        return {}
    rows = {t: state["rows"][t] for t in moving_tables(model, phase.shared, phase.personal)}
    moments = {"rows": adam_init(rows)}
    if phase.shared:
        moments["weights"] = adam_init(state["weights"])
    if phase.personal:
        moments["personal"] = adam_init(state["personal"])
    return moments


@dataclass(frozen=True)
class _Kind:
    """What is fixed when a phase is compiled (see `compile_phase`)."""

    model: Recommender
    shared: bool
    personal: bool
    optimizer: str
    proximal: bool


@dataclass(frozen=True, eq=False)
class _Step:
    """What one step sees, as tensors inside the compiled loop.

    Attributes:
        ids: field -> int32 [C, B], positions in the stacked rows.
        label: float32 [C, B].
        weight: float32 [C, B], weight of a sample in the loss.
        owner: table -> int32 [T], client of each stacked row.
        rates: learning rates and penalties.
        number: int32, steps that the optimiser has taken before.
    """

    ids: Mapping[str, Tensor]
    label: Tensor
    weight: Tensor
    owner: Mapping[str, Tensor]
    rates: Mapping[str, Tensor]
    number: Tensor


@lru_cache(maxsize=64)
def compile_phase(
    model: Recommender, shared: bool, personal: bool, optimizer: str, proximal: bool
) -> Callable[..., Any]:
    """Return the compiled loop over local steps for one kind of phase.

    One trace serves all blocks: shapes are dynamic, learning rates are arguments.

    Args:
        model: the model.
        shared: whether rows and weights move.
        personal: whether personal parameters (and users' rows) move.
        optimizer: "sgd" or "adam".
        proximal: whether the FedProx pull is added to shared parameters.

    Returns:
        ``(start, state, moments, first_step, local, owner, label, mask, scale, repeats, rates)
        -> (state, moments, loss [C])``.
    """
    kind = _Kind(model, shared, personal, optimizer, proximal)

    def run(
        start: State,
        state: State,
        moments: Moments,
        first: Tensor,
        local: Mapping[str, Tensor],
        owner: Mapping[str, Tensor],
        label: Tensor,
        mask: Tensor,
        scale: Tensor,
        repeats: Tensor,
        rates: Mapping[str, Tensor],
    ) -> tuple[State, Moments, Tensor]:
        distinct = tf.shape(label)[1]

        def body(
            s: Tensor, state: State, moments: Moments, total: Tensor
        ) -> tuple[Tensor, State, Moments, Tensor]:
            at = s % distinct
            ids = {name: value[:, at] for name, value in local.items()}
            weight = mask[:, at] / scale[:, at, None]
            step = _Step(ids, label[:, at], weight, owner, rates, first + s)
            losses, grads = _gradients(kind, state, step)
            state, moments = _move(kind, start, state, moments, grads, step)
            return s + 1, state, moments, total + losses * scale[:, at]

        zero = tf.zeros(tf.shape(label)[0])
        _, state, moments, total = tf.while_loop(
            lambda s, *_: s < distinct * repeats, body, (tf.constant(0), state, moments, zero)
        )
        return state, moments, total

    return compile_once(run, (1, 1, 1, 0, 3, 1, 3, 3, 2, 0, 0))


def _gradients(kind: _Kind, state: State, step: _Step) -> tuple[Tensor, State]:
    """Return the losses [C] of all clients, and the gradients of what moves.

    Row gradients stand one for each sample and row input, [C, B, d], with l2.
    """
    model = kind.model
    rows = {r.name: tf.gather(state["rows"][r.table], step.ids[r.field]) for r in model.row_inputs}

    def one_client(one: Mapping[str, Any]) -> Tensor:
        vectors = {name: value[None] for name, value in one["personal"].items()}
        batch = {"label": one["label"], "weight": one["weight"]}
        return model.loss(one["weights"], vectors, one["rows"], batch)

    stacked = {
        "weights": state["weights"],
        "personal": state["personal"],
        "rows": rows,
        "label": step.label,
        "weight": step.weight,
    }
    moving = moving_tables(model, kind.shared, kind.personal)
    wanted = {
        "rows": {r.name: rows[r.name] for r in model.row_inputs if r.table in moving},
        "weights": state["weights"] if kind.shared else {},
        "personal": state["personal"] if kind.personal else {},
    }
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(wanted)
        losses = tf.vectorized_map(one_client, stacked, fallback_to_while_loop=False)
        total = tf.reduce_sum(losses)
    grads = tape.gradient(total, wanted, unconnected_gradients="zero")
    grads = tf.nest.map_structure(tf.convert_to_tensor, grads)  # no IndexedSlices
    decay = step.rates["l2"] * step.weight[..., None]
    grads["rows"] = {name: grad + decay * rows[name] for name, grad in grads["rows"].items()}
    return losses, grads


def _move(
    kind: _Kind, start: State, state: State, moments: Moments, grads: State, step: _Step
) -> tuple[State, Moments]:
    """Take one optimiser step on all that moves; l2 counts once for each sample."""
    new = {group: dict(values) for group, values in state.items()}
    slots = {group: dict(values) for group, values in moments.items()}
    samples = tf.reduce_sum(step.weight, -1)
    active = samples > 0  # a client whose batches are used up stays as it is
    lr, personal_lr = step.rates["lr"], step.rates["personal_lr"]

    def apply(group: str, name: str, grad: Tensor, rate: Tensor, moving: Tensor) -> None:
        value, slot = state[group][name], slots.get(group, {}).get(name)
        new[group][name], slot = _step(kind.optimizer, value, grad, slot, rate, step.number, moving)
        if slot is not None:
            slots[group][name] = slot

    for table in moving_tables(kind.model, kind.shared, kind.personal):
        inputs = [r for r in kind.model.row_inputs if r.table == table]
        own = inputs[0].entity == "user"
        pull = kind.proximal and not own
        value, rate = state["rows"][table], personal_lr if own else lr
        where = tf.concat([tf.reshape(step.ids[r.field], [-1]) for r in inputs], 0)
        width = tf.shape(value)[-1]
        grad = tf.concat([tf.reshape(grads["rows"][r.name], [-1, width]) for r in inputs], 0)
        if kind.optimizer == "sgd" and not pull:
            new["rows"][table] = tf.tensor_scatter_nd_sub(value, where[:, None], rate * grad)
            continue
        summed = tf.math.unsorted_segment_sum(grad, where, tf.shape(value)[0])
        if pull:
            summed += step.rates["prox_mu"] * (value - start["rows"][table])
        apply("rows", table, summed, rate, tf.gather(active, step.owner[table]))
    for name, grad in grads["weights"].items():
        if kind.proximal:
            grad += step.rates["prox_mu"] * (state["weights"][name] - start["weights"][name])
        apply("weights", name, grad, lr, active)
    for name, grad in grads["personal"].items():
        value = state["personal"][name]
        decay = step.rates["l2"] * _along(samples, value)
        apply("personal", name, grad + decay * value, personal_lr, active)
    return new, slots


def _step(
    optimizer: str,
    value: Tensor,
    grad: Tensor,
    slot: Any,
    lr: Tensor,
    number: Tensor,
    active: Tensor,
) -> tuple[Tensor, Any]:
    """Take one step; entries that are not `active` (bool, first axis of value) stay."""
    if optimizer == "sgd":
        moved = value - lr * grad
    else:
        moved, slot = adam_step(value, grad, slot, lr, number)
    return tf.where(_along(active, value), moved, value), slot


def _along(first: Tensor, value: Tensor) -> Tensor:
    """Reshape [C] so that it broadcasts over the first axis of `value`."""
    return tf.reshape(first, tf.concat([[-1], tf.ones_like(tf.shape(value)[1:])], 0))
