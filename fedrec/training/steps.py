"""The compiled loop over local steps: all clients of a block at once.

State is kept as changes since the clients received their parameters, never as the
difference of two tables: a small change of a large value would drown in rounding.
A client's row is the received row plus its own earlier changes.  All samples of a
step stand in tiles [n, K] of one client each (see `fedrec.data.tiles`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import tensorflow as tf

from fedrec.models.recommender import Gradients, Outer, Tensor, personal_fixed
from fedrec.training.compiled import compile_once
from fedrec.training.kinds import Kind
from fedrec.training.optimizers import adam_step
from fedrec.training.penalties import with_penalties, written_out

State = dict[str, dict[str, Tensor]]  # {"rows": ..., "weights": ..., "personal": ...}
Moments = dict[str, dict[str, tuple[Tensor, Tensor]]]  # group -> name -> Adam's two moments
Plan = Mapping[str, Any]
"""What the steps see, as tensors: "ids" and "label", "weight" [N, K]; "batch" (within the
step) and "tile_client" [N]; "client", "mass" and "first_tile" (within the step) [M]; the
starts of `Tiles`; "num_clients"; "reads", "writes": entity -> field ->
(cell, slot, start); "owner": table -> int32 [T]; "lr", "row_lr", "personal_lr", "l2",
"prox_mu", "l1", "apart"."""


@dataclass(frozen=True, eq=False)
class _Step:
    """One step's part of the plan.

    Attributes:
        ids: field -> int32 [n, K], rows of the tables.
        label: float32 [n, K].
        weight: float32 [n, K], weight of a sample in the loss.
        tile_client: int32 [n], client of each tile.
        segment: int32 [n], batch of each tile within the step, ascending.
        client: int32 [m], client of each batch.
        mass: float32 [m], sum of the weights of each batch.
        first_tile: int32 [m].
        reads: field -> cells [a] that read changes, and their slots.
        writes: field -> cells [a] that write changes, and their slots.
        number: int32, steps that the optimiser has taken before.
    """

    ids: Mapping[str, Tensor]
    label: Tensor
    weight: Tensor
    tile_client: Tensor
    segment: Tensor
    client: Tensor
    mass: Tensor
    first_tile: Tensor
    reads: Mapping[str, tuple[Tensor, Tensor]]
    writes: Mapping[str, tuple[Tensor, Tensor]]
    number: Tensor


@lru_cache(maxsize=64)
def compile_phase(kind: Kind) -> Callable[..., Any]:
    """Return the compiled loop over local steps for one kind of phase.

    One trace serves all blocks: shapes are dynamic, learning rates are arguments.

    Args:
        kind: of the phase.

    Returns:
        ``(start, state, moments, first_step, repeats, plan) -> (state, moments, out)``,
        where `out` has "loss" [M] of each batch and, if factored, for each row input
        "vector", [M, d] with "coefficient" [N, K] if all row gradients are of rank one,
        else [N * K, d].
    """
    trained = [r.name for r in kind.model.row_inputs if not r.fixed]
    inputs = trained if kind.factored else []
    parts = ("coefficient", "vector") if kind.rank_one else ("vector",)
    names = ["loss", *(f"{part}/{n}" for n in inputs for part in parts)]

    def run(
        start: State, state: State, moments: Moments, first: Tensor, repeats: Tensor, plan: Plan
    ) -> tuple[State, Moments, dict[str, Tensor]]:
        distinct = tf.shape(plan["tile_start"])[0] - 1
        steps, parts = distinct * repeats, _cut(plan)

        def body(
            s: Tensor, state: State, moments: Moments, out: dict[str, Any]
        ) -> tuple[Tensor, State, Moments, dict[str, Any]]:
            step = _read(parts, s % distinct, first + s)
            told: dict[str, Tensor] = {}
            for turn in kind.turns:
                found = _gradients(turn, start, state, step, plan)
                if not told:
                    told = {"loss": tf.math.segment_sum(found.losses, step.segment)}
                if kind.factored:
                    told |= _factors(turn, found, step, plan)
                state, moments = _move(turn, start, state, moments, found, step, plan)
            return s + 1, state, moments, {n: out[n].write(s, told[n]) for n in names}

        empty = {
            n: tf.TensorArray(tf.float32, steps, infer_shape=False, clear_after_read=True)
            for n in names
        }
        _, state, moments, out = tf.while_loop(
            lambda s, *_: s < steps,
            body,
            (tf.constant(0), state, moments, empty),
            parallel_iterations=1,
        )
        return state, moments, {n: array.concat() for n, array in out.items()}

    return compile_once(run, (1, 1, 1, 0, 0, 2))


def _cut(plan: Plan) -> dict[str, Any]:
    """Cut the plan into its steps: arrays of tensors, read by the number of the step.

    A step then costs one operation for each of its parts; slices would cost five.
    """

    def cut(value: Tensor, start: Tensor) -> Any:
        shape = [None, *value.shape[1:]]
        count = tf.shape(start)[0] - 1
        array = tf.TensorArray(
            value.dtype, count, element_shape=shape, clear_after_read=False, infer_shape=False
        )
        return array.split(value, start[1:] - start[:-1])

    tiles, batches = plan["tile_start"], plan["batch_start"]
    out: dict[str, Any] = {
        "ids": {name: cut(ids, tiles) for name, ids in plan["ids"].items()},
        **{name: cut(plan[name], tiles) for name in ("label", "weight", "batch", "tile_client")},
        **{name: cut(plan[name], batches) for name in ("client", "mass", "first_tile")},
    }
    for kind in ("reads", "writes"):
        out[kind] = {
            field: (cut(cell, start), cut(slot, start))
            for field, (cell, slot, start) in plan[kind].items()
        }
    return out


def _read(parts: Mapping[str, Any], at: Tensor, number: Tensor) -> _Step:
    """Return one step of a plan that has been cut."""

    def visits(kind: str) -> dict[str, tuple[Tensor, Tensor]]:
        return {f: (cell.read(at), slot.read(at)) for f, (cell, slot) in parts[kind].items()}

    return _Step(
        {name: array.read(at) for name, array in parts["ids"].items()},
        parts["label"].read(at),
        parts["weight"].read(at),
        parts["tile_client"].read(at),
        parts["batch"].read(at),
        parts["client"].read(at),
        parts["mass"].read(at),
        parts["first_tile"].read(at),
        visits("reads"),
        visits("writes"),
        number,
    )


def _gradients(kind: Kind, start: State, state: State, step: _Step, plan: Plan) -> Gradients:
    """Return losses [n] and gradients of what moves, for each tile; rows' with penalties."""
    model, rows = kind.model, {}
    for r in model.row_inputs:
        values = tf.gather(start["rows"][r.table], tf.reshape(step.ids[r.field], [-1]))
        if r.field in step.reads and not r.fixed:
            cell, slot = step.reads[r.field]
            own = tf.gather(state["rows"][r.table], slot)
            values = tf.tensor_scatter_nd_add(values, cell[:, None], own)
        rows[r.name] = tf.reshape(values, [*tf.unstack(tf.shape(step.label)), values.shape[-1]])
    moved = state["weights"]  # without a name: the weight is as received, for all tiles
    weights = {
        n: value + tf.gather(moved[n], step.tile_client) if n in moved else value
        for n, value in start["weights"].items()
    }
    personal = {
        n: tf.gather(value, step.tile_client) + tf.gather(state["personal"][n], step.tile_client)
        for n, value in start["personal"].items()
    }
    batch = {"label": step.label, "weight": step.weight}
    by_hand = getattr(model, "gradients", None)
    if by_hand is not None:
        wide = {n: value[:, None] for n, value in personal.items()}
        found = by_hand(weights, wide, rows, batch)
        found = found._replace(personal={n: found.personal[n][:, 0] for n in personal})
    else:
        found = _by_tape(kind, weights, personal, rows, batch)
    if kind.rank_one or not (kind.decays or kind.sparse or kind.apart):
        return found
    return found._replace(rows=with_penalties(kind, found.rows, rows, step.weight, plan))


def _by_tape(
    kind: Kind,
    weights: Mapping[str, Tensor],
    personal: Mapping[str, Tensor],
    rows: Mapping[str, Tensor],
    batch: Mapping[str, Tensor],
) -> Gradients:
    """Differentiate the model's loss for one client, vectorised over tiles.

    A loss is a sum over samples, so a tile is as good as a client of its own; tiles
    are independent, so the gradient of the sum of their losses is each one's own.
    """
    model = kind.model

    def one_tile(one: Mapping[str, Any]) -> Tensor:
        vectors = {name: value[None] for name, value in one["personal"].items()}
        return model.loss(one["weights"], vectors, one["rows"], one["batch"])

    moving = [r.name for r in model.row_inputs if r.table in kind.tables]

    def differentiated(one: Mapping[str, Any]) -> tuple[Tensor, State]:
        wanted = {
            "rows": {n: one["rows"][n] for n in moving},
            "weights": one["weights"] if kind.shared else {},
            "personal": one["personal"] if kind.personal else {},
        }
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(wanted)
            loss = one_tile(one)
        grads = tape.gradient(loss, wanted, unconnected_gradients="zero")
        return loss, tf.nest.map_structure(tf.convert_to_tensor, grads)  # no IndexedSlices

    stacked = {"weights": weights, "personal": personal, "rows": rows, "batch": batch}
    losses, grads = tf.vectorized_map(differentiated, stacked, fallback_to_while_loop=False)
    return Gradients(losses, grads["rows"], grads["weights"], grads["personal"])


def _factors(kind: Kind, found: Gradients, step: _Step, plan: Plan) -> dict[str, Tensor]:
    """Return what a step of SGD adds to rows: a number for each cell, a vector for each batch.

    Where row gradients are not of rank one: a vector for each cell.
    """
    out = {}
    for r in kind.model.row_inputs:
        if r.table not in kind.tables:
            continue
        grad, rate = found.rows[r.name], plan["personal_lr" if r.entity == "user" else "row_lr"]
        if not kind.rank_one:
            wide = written_out(grad)
            out[f"vector/{r.name}"] = -rate * tf.reshape(wide, [-1, wide.shape[-1]])
            continue
        out[f"coefficient/{r.name}"] = -rate * grad.coefficient
        out[f"vector/{r.name}"] = tf.gather(grad.vector[:, 0], step.first_tile)
    return out


def _move(
    kind: Kind,
    start: State,
    state: State,
    moments: Moments,
    found: Gradients,
    step: _Step,
    plan: Plan,
) -> tuple[State, Moments]:
    """Take one optimiser step on all that moves; l2 counts once for each sample."""
    new = {group: dict(values) for group, values in state.items()}
    slots = {group: dict(values) for group, values in moments.items()}
    for table in kind.tables:
        new["rows"][table], slot = _move_rows(kind, table, start, state, moments, found, step, plan)
        if slot is not None:
            slots["rows"][table] = slot
    groups = [("weights", plan["lr"])] * kind.shared
    groups += [("personal", plan["personal_lr"])] * kind.personal
    still = personal_fixed(kind.model)
    for group, rate in groups:
        for name in (n for n in state[group] if group != "personal" or n not in still):
            value = state[group][name]
            grad = tf.math.segment_sum(getattr(found, group)[name], step.segment)
            own = tf.gather(value, step.client)
            if group == "personal" and kind.decays:
                received = tf.gather(start[group][name], step.client)
                grad += plan["l2"] * _along(step.mass, own) * (received + own)
            elif group == "weights" and kind.proximal:
                grad += plan["prox_mu"] * own
            if group == "weights" and kind.drifts:
                grad += tf.gather(start["drift"][name], step.client)
            where, slot = step.client[:, None], moments.get(group, {}).get(name)
            if slot is None:
                new[group][name] = tf.tensor_scatter_nd_sub(value, where, rate * grad)
                continue
            mine = tuple(tf.gather(moment, step.client) for moment in slot)
            moved, mine = adam_step(own, grad, mine, rate, step.number)
            new[group][name] = tf.tensor_scatter_nd_update(value, where, moved)
            slots[group][name] = tuple(
                tf.tensor_scatter_nd_update(old, where, one)
                for old, one in zip(slot, mine, strict=True)
            )
    return new, slots


def _move_rows(
    kind: Kind,
    table: str,
    start: State,
    state: State,
    moments: Moments,
    found: Gradients,
    step: _Step,
    plan: Plan,
) -> tuple[Tensor, Any]:
    """Take one step on the rows of a table: those of the step's samples, or all that coast."""
    inputs = [r for r in kind.model.row_inputs if r.table == table]
    own = inputs[0].entity == "user"
    value, rate = state["rows"][table], plan["personal_lr"] if own else plan["row_lr"]
    parts = [_row_gradients(found.rows[r.name], *step.writes[r.field]) for r in inputs]
    grad, where = (tf.concat(part, 0) for part in zip(*parts, strict=True))
    shared = not (own or inputs[0].own)
    pull, drifts = kind.proximal and shared, kind.drifts and shared
    if kind.optimizer == "sgd" and not (pull or drifts):
        return tf.tensor_scatter_nd_sub(value, where[:, None], rate * grad), None
    grad = tf.math.unsorted_segment_sum(grad, where, tf.shape(value)[0])
    if pull:
        aim = start["aims"].get(table)
        grad += plan["prox_mu"] * (value if aim is None else value - aim)
    if drifts:
        grad += start["row_drift"][table]
    everyone = tf.reshape(plan["num_clients"], [1])
    busy = tf.scatter_nd(step.client[:, None], tf.ones_like(step.client), everyone)
    active = _along(tf.gather(busy > 0, plan["owner"][table]), value)
    slot = moments.get("rows", {}).get(table)
    if slot is None:
        return tf.where(active, value - rate * grad, value), None
    moved, after = adam_step(value, grad, slot, rate, step.number)
    return tf.where(active, moved, value), after


def _row_gradients(grad: Tensor | Outer, cell: Tensor, slot: Tensor) -> tuple[Tensor, Tensor]:
    """Return the gradients of the rows that some cells name, and their slots."""
    if isinstance(grad, Outer) and grad.vector.shape[1] == 1:
        width = tf.shape(grad.coefficient)[1]
        vector = tf.gather(grad.vector[:, 0], cell // width)
        return tf.gather(tf.reshape(grad.coefficient, [-1]), cell)[:, None] * vector, slot
    wide = written_out(grad)
    return tf.gather(tf.reshape(wide, [-1, tf.shape(wide)[-1]]), cell), slot


def _along(first: Tensor, value: Tensor) -> Tensor:
    """Reshape [C] so that it broadcasts over the first axis of `value`."""
    return tf.reshape(first, tf.concat([[-1], tf.ones_like(tf.shape(value)[1:])], 0))
