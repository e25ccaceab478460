"""Local training, written once: for every engine, client kind and baseline.

`train_cohort` trains C clients in one compiled call.  A client has only the rows
that it touches: the rows of all clients of a block lie one after the other in
one array [T, d], so no per-client table and no dense table delta ever exist.
The model's loss for one client is vectorised over clients; clients are
independent, so the gradient of the sum of their losses is each one's own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from fedrec.data.batches import Batches, Samples, lay_out
from fedrec.models.recommender import Recommender, Tensor
from fedrec.params import Personal, Shared
from fedrec.training.methods import Method, Phase
from fedrec.training.optimizers import adam_init, adam_step

State = dict[str, dict[str, Tensor]]  # {"rows": ..., "weights": ..., "personal": ...}
Slots = tuple[int, dict[str, Any]]  # steps taken, group -> name -> moments
_BITMAP_CELLS = 1 << 27


@dataclass(frozen=True, eq=False)
class RowIndex:
    """Which rows of an entity the clients of a block touch.

    Attributes:
        client: int32 [T], position of the client, ascending.
        ids: int64 [T], row of the table, ascending within a client.
        num_rows: rows of the table.
        num_clients: C.
    """

    client: NDArray[np.int32]
    ids: NDArray[np.int64]
    num_rows: int
    num_clients: int

    def local(self, ids: NDArray[np.int64]) -> NDArray[np.int32]:
        """Map ids [C, ...] to positions in 0..T-1, of the same shape."""
        client = np.arange(len(ids)).reshape(-1, *[1] * (ids.ndim - 1))
        key = client * self.num_rows + ids
        mine = self.client.astype(np.int64) * self.num_rows + self.ids
        cells = self.num_clients * self.num_rows
        if cells <= _BITMAP_CELLS:  # a table of positions beats a binary search tenfold
            position = np.empty(cells, np.int32)
            position[mine] = np.arange(len(mine), dtype=np.int32)
            return position[key]
        return np.searchsorted(mine, key).astype(np.int32)


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
    """

    rows: dict[str, NDArray[np.float32]]
    index: dict[str, RowIndex]
    weights: dict[str, NDArray[np.float32]]
    personal: Personal
    samples: NDArray[np.float64]
    loss: NDArray[np.float64]
    slots: Slots


def index_rows(samples: Samples, fields: tuple[str, ...], num_rows: int) -> RowIndex:
    """Find the rows that each client of a block touches through some id columns.

    Args:
        samples: samples of C clients.
        fields: id columns over the same table.
        num_rows: rows of the table.

    Returns:
        The index.
    """
    keys = [samples.client * num_rows + samples.fields[name] for name in fields]
    cells = samples.num_clients * num_rows
    if cells <= _BITMAP_CELLS:
        touched = np.zeros(cells, bool)
        for key in keys:
            touched[key] = True
        unique = np.flatnonzero(touched)
    else:
        unique = np.unique(np.concatenate(keys))
    client, ids = np.divmod(unique, num_rows)
    return RowIndex(client.astype(np.int32), ids, num_rows, samples.num_clients)


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
        slots: optimiser state to go on from (needs every_row); None: fresh, as
            clients that keep no state between rounds have it.

    Returns:
        The clients' updates.
    """
    entities = {row.table: row.entity for row in model.row_inputs}
    index = _indices(model, shared, samples, entities, every_row)
    start: State = {
        "rows": {t: tf.gather(shared.tables[t], index[e].ids) for t, e in entities.items()},
        "weights": {n: _stack(v, samples.num_clients) for n, v in shared.weights.items()},
        "personal": {n: tf.constant(v) for n, v in personal.values.items()},
    }
    state, loss, weight = start, np.zeros(samples.num_clients), np.zeros(samples.num_clients)
    for phase in method.phases:
        if phase.solver == "closed-form":
            if solve_personal is None:
                raise ValueError("a closed-form phase needs solve_personal")
            solved = solve_personal(shared, personal, samples, method)
            state = {**state, "personal": {n: tf.constant(v) for n, v in solved.values.items()}}
            continue
        batches = lay_out(samples, phase.batch, phase.epochs if phase.batch else 1)
        state, slots, total = _run_phase(
            model, phase, method.reduction, start, state, slots, batches, index
        )
        passes = phase.epochs
        weight = batches.samples.sum(-1, dtype=np.float64) / (passes if phase.batch else 1)
        loss = total.numpy().astype(np.float64) / np.maximum(weight * passes, 1e-12)
    return CohortUpdate(
        {t: (state["rows"][t] - start["rows"][t]).numpy() for t in entities},
        {t: index[e] for t, e in entities.items()},
        {n: (state["weights"][n] - v).numpy() for n, v in start["weights"].items()},
        Personal({n: v.numpy() for n, v in state["personal"].items()}),
        weight,
        loss,
        slots or (0, {}),
    )


def _stack(value: NDArray[np.float32], num_clients: int) -> Tensor:
    return tf.broadcast_to(tf.constant(value), (num_clients, *value.shape))


def _indices(
    model: Recommender,
    shared: Shared,
    samples: Samples,
    entities: Mapping[str, str],
    every_row: bool,
) -> dict[str, RowIndex]:
    index = {}
    for entity in sorted(set(entities.values())):
        fields = tuple(sorted({r.field for r in model.row_inputs if r.entity == entity}))
        table = next(t for t, e in entities.items() if e == entity)
        num_rows, clients = len(shared.tables[table]), samples.num_clients
        if every_row:
            owner = np.repeat(np.arange(clients, dtype=np.int32), num_rows)
            index[entity] = RowIndex(
                owner, np.tile(np.arange(num_rows), clients), num_rows, clients
            )
        else:
            index[entity] = index_rows(samples, fields, num_rows)
    return index


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
    scale = (
        np.maximum(batches.samples, 1e-12) if reduction == "mean" else np.ones_like(batches.samples)
    )
    owner = {r.table: index[r.entity].client for r in model.row_inputs}
    rates = {
        "lr": phase.lr,
        "personal_lr": phase.personal_lr,
        "l2": phase.l2,
        "prox_mu": phase.prox_mu,
    }
    run = compile_phase(
        model, phase.shared, phase.personal, phase.optimizer, phase.prox_mu > 0 and phase.shared
    )
    groups = (("rows", "weights") if phase.shared else ()) + (
        ("personal",) if phase.personal else ()
    )
    if slots is None:
        moments = {g: adam_init(state[g]) for g in groups} if phase.optimizer == "adam" else {}
        slots = (0, moments)
    repeats = 1 if phase.batch else phase.epochs
    new, moments, total = run(
        start,
        state,
        slots[1],
        tf.constant(slots[0]),
        local,
        owner,
        batches.label,
        batches.mask,
        scale.astype(np.float32),
        tf.constant(repeats),
        {name: tf.constant(value, tf.float32) for name, value in rates.items()},
    )
    return new, (slots[0] + batches.label.shape[1] * repeats, moments), total


@lru_cache(maxsize=64)
def compile_phase(
    model: Recommender, shared: bool, personal: bool, optimizer: str, proximal: bool
) -> Callable[..., Any]:
    """Return the compiled loop over local steps for one kind of phase.

    One trace serves all blocks: shapes are dynamic, learning rates are arguments.

    Args:
        model: the model.
        shared: whether rows and weights move.
        personal: whether personal parameters move.
        optimizer: "sgd" or "adam".
        proximal: whether the FedProx pull is added.

    Returns:
        ``(start, state, moments, first_step, local, owner, label, mask, scale, repeats, rates)
        -> (state, moments, loss [C])``.
    """

    def run(start, state, slots, first, local, owner, label, mask, scale, repeats, rates):  # type: ignore[no-untyped-def]
        steps = tf.shape(label)[1] * repeats

        def body(s, state, slots, total):  # type: ignore[no-untyped-def]
            at = s % tf.shape(label)[1]
            ids = {name: value[:, at] for name, value in local.items()}
            weight = mask[:, at] / scale[:, at, None]
            losses, grads, gathered = _gradients(
                model, state, ids, label[:, at], weight, shared, personal
            )
            sample_sum = tf.reduce_sum(weight, -1)
            new = dict(state)
            if shared:
                _add_row_l2(grads, gathered, weight, rates["l2"])
                new["rows"], new["weights"], slots = _move_shared(
                    model,
                    start,
                    state,
                    slots,
                    grads,
                    ids,
                    owner,
                    sample_sum > 0,
                    rates,
                    first + s,
                    optimizer,
                    proximal,
                )
            if personal:
                new["personal"], slots = _move_personal(
                    state, slots, grads, sample_sum, rates, first + s, optimizer
                )
            return s + 1, new, slots, total + losses * scale[:, at]

        zero = tf.zeros(tf.shape(label)[0])
        _, state, slots, total = tf.while_loop(
            lambda s, *_: s < steps, body, (tf.constant(0), state, slots, zero)
        )
        return state, slots, total

    return tf.function(run, reduce_retracing=True)


def _gradients(model, state, ids, label, weight, shared, personal):  # type: ignore[no-untyped-def]
    """Losses [C] of all clients, and the gradients of what moves."""
    gathered = {r.name: tf.gather(state["rows"][r.table], ids[r.field]) for r in model.row_inputs}

    def one_client(one):  # type: ignore[no-untyped-def]
        vectors = {name: value[None] for name, value in one["personal"].items()}
        batch = {"label": one["label"], "weight": one["weight"]}
        return model.loss(one["weights"], vectors, one["rows"], batch)

    stacked = {
        "weights": state["weights"],
        "personal": state["personal"],
        "rows": gathered,
        "label": label,
        "weight": weight,
    }
    wanted = ({"rows": gathered, "weights": state["weights"]} if shared else {}) | (
        {"personal": state["personal"]} if personal else {}
    )
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(wanted)
        losses = tf.vectorized_map(one_client, stacked, fallback_to_while_loop=False)
        total = tf.reduce_sum(losses)
    return losses, tape.gradient(total, wanted, unconnected_gradients="zero"), gathered


def _add_row_l2(grads, gathered, weight, l2) -> None:  # type: ignore[no-untyped-def]
    grads["rows"] = {
        name: grad + l2 * weight[..., None] * gathered[name] for name, grad in grads["rows"].items()
    }


def _move_shared(  # type: ignore[no-untyped-def]
    model, start, state, slots, grads, ids, owner, active, rates, s, optimizer, proximal
):
    """One optimiser step on the clients' rows and weights."""
    rows, weights, weight_grads = {}, {}, dict(grads["weights"])
    moments = {g: dict(slots[g]) for g in slots}
    for table, value in state["rows"].items():
        inputs = [r for r in model.row_inputs if r.table == table]
        lr = rates["personal_lr" if inputs[0].entity == "user" else "lr"]
        where = tf.concat([tf.reshape(ids[r.field], [-1]) for r in inputs], 0)
        width = tf.shape(value)[-1]
        grad = tf.concat([tf.reshape(grads["rows"][r.name], [-1, width]) for r in inputs], 0)
        if optimizer == "sgd" and not proximal:
            rows[table] = tf.tensor_scatter_nd_sub(value, where[:, None], lr * grad)
            continue
        summed = tf.math.unsorted_segment_sum(grad, where, tf.shape(value)[0])
        if proximal:
            summed += rates["prox_mu"] * (value - start["rows"][table])
        moving = tf.gather(active, owner[table])
        rows[table], slot = _step(
            optimizer, value, summed, moments.get("rows", {}).get(table), lr, s, moving
        )
        if slot is not None:
            moments["rows"][table] = slot
    for name, value in state["weights"].items():
        grad = weight_grads[name]
        if proximal:
            grad += rates["prox_mu"] * (value - start["weights"][name])
        weights[name], slot = _step(
            optimizer, value, grad, moments.get("weights", {}).get(name), rates["lr"], s, active
        )
        if slot is not None:
            moments["weights"][name] = slot
    return rows, weights, moments


def _move_personal(state, slots, grads, sample_sum, rates, s, optimizer):  # type: ignore[no-untyped-def]
    """One optimiser step on personal parameters, with l2 once for each sample."""
    values, moments = {}, {g: dict(slots[g]) for g in slots}
    for name, value in state["personal"].items():
        per_client = tf.reshape(sample_sum, tf.concat([[-1], tf.ones_like(tf.shape(value)[1:])], 0))
        grad = grads["personal"][name] + rates["l2"] * per_client * value
        values[name], slot = _step(
            optimizer,
            value,
            grad,
            moments.get("personal", {}).get(name),
            rates["personal_lr"],
            s,
            sample_sum > 0,
        )
        if slot is not None:
            moments["personal"][name] = slot
    return values, moments


def _step(optimizer, value, grad, slot, lr, s, active):  # type: ignore[no-untyped-def]
    """One step; entries whose client has no batch left (`active` false) stay."""
    if optimizer == "sgd":
        moved = value - lr * grad
    else:
        moved, slot = adam_step(value, grad, slot, lr, s)
    shape = tf.concat([[-1], tf.ones_like(tf.shape(value)[1:])], 0)
    return tf.where(tf.reshape(active, shape), moved, value), slot
