"""Local training, written once: for every engine, client kind and baseline.

`train_cohort` trains C clients in one compiled call.  A client has only the rows
that it touches, and of those only its own changes are kept, so no per-client table
and no dense table change ever exist.  Here the samples become a plan of steps; the
loop over steps is in `fedrec.training.steps`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from fedrec.data.batches import Samples
from fedrec.data.tiles import lay_out
from fedrec.models.frozen import Form
from fedrec.models.recommender import Recommender, constants
from fedrec.params import Personal, Shared
from fedrec.training.cohort import Cohort, CohortUpdate, Result, Slots
from fedrec.training.control import Drift
from fedrec.training.kinds import Kind, fresh_moments, moving_tables
from fedrec.training.meta import with_starts
from fedrec.training.methods import Method, Phase
from fedrec.training.neighbourhood import spread, user_vectors
from fedrec.training.outside import Solver, asked_of
from fedrec.training.own import aims, no_rows, own_rows, vectors_of, with_own_rows
from fedrec.training.parts import part_of, rows_of_query
from fedrec.training.plan import step_plan
from fedrec.training.pulled import (
    Gradient,
    is_one_gradient,
    moving_cohort,
    moving_phase,
    pulled,
)
from fedrec.training.rows import (
    FactoredRows,
    RowIndex,
    Touched,
    Traffic,
    entities,
    factors_of,
    index_tables,
    plan_traffic,
    trained_tables,
)
from fedrec.training.steps import State, compile_phase
from fedrec.training.still import still_before, still_cohort, still_form

_TILE = 32  # samples of a tile; a smaller one pads less, a larger one repeats less
_DEEP_TILE = 64  # where each tile has a copy of the client's weights


def train_cohort(
    model: Recommender,
    shared: Shared,
    personal: Personal,
    samples: Samples,
    method: Method,
    *,
    solve_personal: Solver | None = None,
    every_row: bool = False,
    slots: Slots | None = None,
    drift: Drift | None = None,
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
        slots: optimiser state that the last phase goes on from (needs every_row); None: fresh.
        drift: what is added to every gradient of shared parameters; then all rows of tables
            of items are indexed, as they all move.

    Returns:
        The clients' updates.

    Raises:
        ValueError: if a closed-form phase has no solver, or one asks for a part of whole samples.
    """
    if len(samples.client) and method.phases[0].solver == "statistics":
        return _contribution(method, shared, personal, samples)  # of what no model's row is read
    whole = ("item", "user") if every_row else ("item",) if drift is not None else ()
    touched = index_tables(model, shared, samples, whole=whole)
    received = _received(model, shared, personal, touched)
    if drift is not None:
        received |= _drifting(drift)
    cohort = Cohort(model, received, samples, touched, method.reduction)
    nothing = np.zeros(samples.num_clients)
    start = _unchanged(cohort, shared, personal)
    if getattr(model, "one_for_all", False) and not any(p.shared for p in method.phases):
        start["weights"] = {}  # no copy of what never moves for each client
    result, update = Result(start, (0, {}), nothing, nothing), None
    phases = method.phases if len(samples.client) else ()  # nothing to train on: no change
    for number, phase in enumerate(phases):
        if phase.solver == "statistics":
            return _contribution(method, shared, personal, samples)
        if phase.solver in ("closed-form", "neighbours"):
            if phase.solver == "neighbours":
                personal = user_vectors(shared, samples, touched["item"])
            else:
                personal = asked_of(solve_personal)(shared, personal, samples, method)
            vectors = _constants(personal.values)
            still = {n: tf.zeros_like(v) for n, v in vectors.items()}
            cohort = replace(cohort, start={**cohort.start, "personal": vectors})
            result = Result({**result.state, "personal": still}, (0, {}), nothing, nothing)
            continue
        last = number == len(phases) - 1
        own, places = part_of(samples, touched, phase.part)
        part = replace(cohort, samples=own, touched=places)
        calm = still_before(phases[:number]) and not slots
        form = still_form(part) if calm else None
        if form is not None and not phase.shared:
            result = _run_still(still_cohort(part, form), phase, result)
        elif form is not None and last and is_one_gradient(part, phase):
            update = _pulled_update(part, form, phase, result, personal)
        else:
            result = _run_phase(part, phase, result, slots if last else None, last=last)
    update = with_starts(method.name, update or _update(cohort, result, personal), personal)
    if method.from_neighbours and len(samples.client):
        return spread(update, samples, touched["item"], personal)
    if method.splits and len(samples.client):
        return rows_of_query(update, part_of(samples, touched, "query")[1], entities(model))
    return update


def _contribution(
    method: Method, shared: Shared, personal: Personal, samples: Samples
) -> CohortUpdate:
    """Return what the clients add to sums; there is nothing to train, and no loss."""
    if method.statistics is None:
        raise ValueError("a phase of statistics needs method.statistics")
    told = method.statistics.contribute(shared, personal, samples)
    size = np.bincount(samples.client, samples.weight, samples.num_clients).astype(np.float64)
    index = dict.fromkeys(told.rows, told.index)
    none, sent = np.zeros(samples.num_clients), told.sent
    return CohortUpdate(told.rows, index, told.weights, personal, size, none, (0, {}), sent=sent)


def _constants(arrays: Mapping[str, NDArray]) -> dict[str, Any]:
    return {name: tf.convert_to_tensor(value) for name, value in arrays.items()}


def _drifting(drift: Drift) -> State:
    """Return what is added to gradients, rows client by client as `every_row` indexes them."""
    rows = {n: v.reshape(-1, *v.shape[2:]) for n, v in drift.tables.items()}
    return {"row_drift": _constants(rows), "drift": _constants(drift.weights)}


def _received(
    model: Recommender, shared: Shared, personal: Personal, touched: Mapping[str, Touched]
) -> State:
    """Return what clients start from: tables [I, d], weights [1, ...], personal [C, ...], aims."""
    index = {t: touched[e].index for t, e in entities(model).items()}
    groups = {
        "rows": {**constants(model), **shared.fixed, **shared.tables, **no_rows(model, personal)},
        "weights": {name: _first_axis(value) for name, value in shared.weights.items()},
        "personal": vectors_of(model, personal),
        "aims": aims(shared, index),
    }
    return {group: _constants(arrays) for group, arrays in groups.items()}


def _first_axis(value: Any) -> Any:
    """Return a value with an axis of 1 in front; slicing a tensor would take ten times as long."""
    return tf.expand_dims(value, 0) if isinstance(value, tf.Tensor) else value[None]


def _unchanged(cohort: Cohort, shared: Shared, personal: Personal) -> State:
    """Return changes of zero; those of rows are made where a phase moves them.

    Rows of the clients' own tables stand there whole, as changes of nothing.
    """
    count = cohort.samples.num_clients
    return {
        "rows": _constants(own_rows(cohort.model, personal, cohort.touched)),
        "weights": {n: _zeros((count, *v.shape)) for n, v in shared.weights.items()},
        "personal": {n: tf.zeros_like(v) for n, v in cohort.start["personal"].items()},
    }


def _zeros(shape: tuple[int, ...]) -> Any:
    return tf.constant(np.zeros(shape, np.float32))  # a fourth of the time of tf.zeros


def _update(cohort: Cohort, result: Result, personal: Personal) -> CohortUpdate:
    """Return what has changed since the clients received their parameters."""
    index = _index(cohort)
    rows: Mapping[str, NDArray[np.float32]]
    if result.factors is not None:
        rows = FactoredRows(result.factors, index)
    else:
        rows = {t: _rows(cohort, result.state, t).numpy() for t in index}
    count, moved = cohort.samples.num_clients, result.state["weights"]
    still = {
        n: np.zeros((count, *v.shape[1:]), np.float32)
        for n, v in cohort.start["weights"].items()
        if n not in moved
    }
    weights = {**still, **{n: v.numpy() for n, v in moved.items()}}
    return _as_update(cohort, result, personal, rows, weights)


def _index(cohort: Cohort) -> dict[str, RowIndex]:
    """Return table name -> which client and row each of its changes belongs to."""
    return {t: cohort.touched[e].index for t, e in entities(cohort.model).items()}


def _as_update(
    cohort: Cohort,
    result: Result,
    personal: Personal,
    rows: Mapping[str, NDArray[np.float32]],
    weights: Mapping[str, NDArray[np.float32]],
) -> CohortUpdate:
    """Return an update of these changes, with all else that a result tells."""
    start, state = cohort.start["personal"], result.state["personal"]
    tables = with_own_rows(cohort.model, personal, cohort.touched, result.state["rows"])
    return CohortUpdate(
        rows,
        _index(cohort),
        weights,
        Personal({**{n: (start[n] + v).numpy() for n, v in state.items()}, **tables}),
        result.samples,
        result.loss,
        result.slots,
        steps=result.steps,
    )


def _pulled_update(
    cohort: Cohort, form: Form, phase: Phase, before: Result, personal: Personal
) -> CohortUpdate:
    """Run the last phase for the sum over clients; for each client's own it runs as ever."""
    ready = moving_cohort(cohort, form)
    start = _over_items(ready, before, weights=True)
    told = _run_phase(ready, moving_phase(phase, form), start, None, last=True)

    def whole() -> CohortUpdate:
        return _update(cohort, _run_phase(cohort, phase, before, None, last=True), personal)

    rows, weights = pulled(Gradient(form, cohort, phase, ready, told), whole)
    return _as_update(cohort, replace(told, state=before.state), personal, rows, weights)


def _rows(cohort: Cohort, state: State, table: str) -> Any:
    """Return the changes of a table's rows so far, [T, d]; zero if no phase has moved them."""
    if table in state["rows"]:
        return state["rows"][table]
    size = len(cohort.touched[entities(cohort.model)[table]].index.ids)
    return tf.zeros((size, *cohort.start["rows"][table].shape[1:]))


def _tile(model: Recommender, start: State, num_clients: int) -> int:
    """Return the width of a tile: one client's batches are never cut."""
    if num_clients == 1:
        return 1 << 30
    heads = set(start["personal"]) - set(model.personal_vectors)
    return _DEEP_TILE if start["weights"] or heads else _TILE


def _run_phase(
    cohort: Cohort, phase: Phase, before: Result, slots: Slots | None, *, last: bool
) -> Result:
    """Run one phase; whoever goes on from `slots` continues with their moments."""
    model, count = cohort.model, cohort.samples.num_clients
    epochs = phase.epochs if phase.batch else 1
    tile = _tile(model, cohort.start, count)
    tiles = lay_out(cohort.samples, phase.batch, epochs, tile)
    if not len(tiles.batch):  # samples without weight teach nothing
        return replace(before, loss=np.zeros(count), samples=np.zeros(count))
    repeats = 1 if phase.batch else phase.epochs
    kind = _kind(cohort, phase, before, last=last)
    traffic = {
        entity: plan_traffic(
            tiles,
            touched,
            again=repeats > 1,
            moving=phase.personal if entity == "user" else phase.shared,
            changed=slots is not None
            or bool(before.state["rows"])
            or _unvisited_rows_move(cohort, kind),
            sparing=kind.factored,
        )
        for entity, touched in cohort.touched.items()
    }
    state = {**before.state, "rows": _changes(cohort, kind, before.state, traffic)}
    first, moments = slots or (0, fresh_moments(kind, state))
    state, moments, out = compile_phase(kind)(
        cohort.start,
        state,
        moments,
        np.int32(first),
        np.int32(repeats),
        step_plan(cohort, phase, tiles, traffic),
    )
    after = (first + tiles.num_steps * repeats, moments)
    samples = np.bincount(tiles.client, tiles.samples, count) / epochs
    losses = out["loss"].numpy().astype(np.float64)
    if cohort.reduction == "mean":
        losses *= np.tile(tiles.samples, repeats)
    total = np.bincount(np.tile(tiles.client, repeats), losses, count)
    loss = total / np.maximum(samples * phase.epochs, 1e-12)
    kept = {t: v for t, v in state["rows"].items() if t in before.state["rows"] or t in kind.tables}
    factors = None
    if kind.factored:
        factors = factors_of(model, cohort.touched, tiles, out, rank_one=kind.rank_one)
    steps = np.bincount(tiles.client, minlength=count) * repeats
    return Result({**state, "rows": kept}, after, samples, loss, factors, steps)


def _run_still(still: Cohort, phase: Phase, before: Result) -> Result:
    """Run a phase of personal parameters alone, as `still_cohort` has made it ready."""
    known, start = before.state["personal"], _over_items(still, before, weights=False)
    found = _run_phase(still, phase, start, None, last=False)
    moved = {n: v for n, v in found.state["personal"].items() if n in known}
    return replace(found, state={**before.state, "personal": {**known, **moved}})


def _over_items(still: Cohort, before: Result, *, weights: bool) -> Result:
    """Return what a phase over what items bring begins with: personal vectors as they are now."""
    nothing = {n: tf.zeros_like(v) for n, v in still.start["personal"].items()}
    known, count = before.state["personal"], still.samples.num_clients
    moved = {n: _zeros((count, *v.shape[1:])) for n, v in still.start["weights"].items()}
    own: State = {
        "rows": {},
        "weights": moved if weights else {},
        "personal": {n: known.get(n, v) for n, v in nothing.items()},
    }
    return replace(before, state=own)


def _unvisited_rows_move(cohort: Cohort, kind: Kind) -> bool:
    """Return whether a row may move in a step that does not visit it: by drift, or to a guide."""
    return kind.drifts or (kind.proximal and bool(cohort.start["aims"]))


def _kind(cohort: Cohort, phase: Phase, before: Result, *, last: bool) -> Kind:
    """Return what is compiled; row changes stay factored if nothing after needs the rows."""
    model = cohort.model
    proximal = phase.prox_mu > 0 and phase.shared
    every = set(moving_tables(model, phase.shared, phase.personal)) == set(entities(model))
    drifts = phase.shared and "drift" in cohort.start
    plain = phase.optimizer == "sgd" and not (proximal or drifts)
    once = bool(phase.batch) or phase.epochs == 1  # repeated steps would each need factors
    some = bool(entities(model))
    factored = some and every and plain and last and once and not before.state["rows"]
    penalties = (phase.l1 > 0, phase.apart > 0)
    decays = phase.l2 > 0
    bare = not (decays or any(penalties))
    rank_one = factored and bare and bool(getattr(model, "rank_one", False))
    factored = rank_one or (factored and _mostly_distinct(cohort, phase))
    moves = (phase.shared, phase.personal, phase.optimizer)
    order = phase.personal_first and phase.shared and phase.personal
    return Kind(model, *moves, proximal, decays, factored, rank_one, order, *penalties, drifts)


def _mostly_distinct(cohort: Cohort, phase: Phase) -> bool:
    """Whether a vector for each sample takes about as little as one for each row."""
    samples = len(cohort.samples.client) * phase.epochs
    return samples <= 2 * min(len(t.index.ids) for t in cohort.touched.values())


def _changes(
    cohort: Cohort, kind: Kind, state: State, traffic: Mapping[str, Traffic]
) -> dict[str, Any]:
    """Return the changes of rows that the steps read and write: [T, d], or those slots used."""
    out = {}
    for table, entity in trained_tables(cohort.model).items():
        if table in state["rows"]:
            out[table] = state["rows"][table]
        elif table in kind.tables and not kind.factored:
            out[table] = _rows(cohort, state, table)
        else:
            width = cohort.start["rows"][table].shape[1:]
            out[table] = tf.zeros((traffic[entity].num_slots, *width))
    return out
