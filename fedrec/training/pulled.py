"""One gradient of what is shared, asked once for all clients.

Where a client sends the gradient of its samples at what it received (`alternating`), the sum
over clients needs no client's own.  A score depends on the shared part through what items
bring, what follows from a user's attributes, and some weights of its own
(`fedrec.models.frozen`); gradients of those are summed over the clients, and the sum is
pulled back through towers and first layers once, in float64, instead of once for each sample.
The chain rule is linear, so this is the sum of the clients' updates.  Whoever asks for a
single client's update (clipping, masks, attacks) has it computed as ever.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from fedrec.models.attributed import PROFILE
from fedrec.models.frozen import Form
from fedrec.training.cohort import Cohort, CohortUpdate, Result
from fedrec.training.compiled import compile_once
from fedrec.training.methods import Phase
from fedrec.training.rows import FactoredRows, entities, find_touched
from fedrec.training.still import profile_of, still_cohort
from fedrec.training.table_sum import TableSum, summed_weight

Arrays = dict[str, NDArray[np.float64]]
ROWS, WEIGHTS = "rows", "weights"


def is_one_gradient(cohort: Cohort, phase: Phase) -> bool:
    """Return whether a last phase is one plain step of what is shared, on all samples.

    Args:
        cohort: of C clients.
        phase: the last one.
    """
    one = phase.shared and not phase.personal and not phase.batch and phase.epochs == 1
    plain = phase.optimizer == "sgd" and not (phase.prox_mu or phase.l1 or phase.apart)
    whole = phase.part == "all" and "drift" not in cohort.start
    return one and plain and whole and set(entities(cohort.model).values()) <= {"item"}


def moving_cohort(cohort: Cohort, form: Form) -> Cohort:
    """Return the cohort over what items bring, all of which has a gradient.

    Args:
        cohort: of C clients, whose shared parameters have not moved.
        form: of its model.
    """
    still, model = still_cohort(cohort, form), form.moving
    touched = cohort.touched  # of a tower without rows of items nothing is
    if not touched:
        fields = tuple(sorted({r.field for r in model.row_inputs}))
        rows = len(next(iter(still.start["rows"].values())))
        touched = {"item": find_touched(cohort.samples, fields, rows)}
    return replace(still, model=model, touched=touched)


def moving_phase(phase: Phase, form: Form) -> Phase:
    """Return the phase that leaves the gradients of what moves, times -1."""
    plain = replace(phase, lr=1.0, row_lr=0.0, personal_lr=1.0, l2=0.0)
    return replace(plain, personal=form.width > 0)


@dataclass(frozen=True, eq=False)
class Gradient:
    """The gradients of C clients with regard to what items bring, and the way back.

    Attributes:
        form: of the model.
        cohort: over the model itself.
        phase: of the model itself.
        made: the same clients over what items bring (`moving_cohort`).
        told: what `moving_phase` has left of these.
    """

    form: Form
    cohort: Cohort
    phase: Phase
    made: Cohort
    told: Result

    def sums(self, weight: NDArray[np.float64]) -> dict[str, Arrays]:
        """Return the weighted sums of the clients' updates.

        Args:
            weight: float64 [C].

        Returns:
            "rows": table name -> float64 [I, d]; "weights": name -> float64 [...].
        """
        start, model, phase = self.cohort.start, self.cohort.model, self.phase
        rate = phase.row_lr or phase.lr
        fixed = {n: v for n, v in start["rows"].items() if n not in entities(model)}
        trained = {n: v for n, v in start["rows"].items() if n not in fixed}
        users, against = profile_of(self.cohort, self.form), self._against(weight)
        rows, dense = compile_back(self.form)(fixed, trained, start["weights"], users, against)
        decay = self._mass(weight)[:, None] * phase.l2
        return {
            ROWS: {n: rate * (v.numpy() - decay * trained[n].numpy()) for n, v in rows.items()},
            WEIGHTS: {n: phase.lr * v.numpy()[0] for n, v in dense.items()},
        }

    def _against(self, weight: NDArray[np.float64]) -> Arrays:
        """Return the summed gradients, times -1: of tables [I, ...], weights, users' values."""
        state, index = self.told.state, self.made.touched["item"].index
        found: Arrays = {n: summed_weight(_numbers(state["weights"]), n, weight)
                         for n in state["weights"]}  # fmt: skip
        names = self.form.model.tables
        factors = self.told.factors
        rows: Mapping[str, NDArray] = (
            _numbers({n: state["rows"][n] for n in names})
            if factors is None
            else FactoredRows(factors, dict.fromkeys(names, index))
        )
        for name in names:
            table = TableSum(index.num_rows, self.made.start["rows"][name].shape[-1])
            table.add(rows, name, index, weight)
            found[name] = table.whole()
        for name in dict(self.form.model.of_profile):
            found[name] = weight[:, None] * state["personal"][name].numpy().astype(np.float64)
        return found

    def _mass(self, weight: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the weights of each item's samples, times those of their clients [I]."""
        samples, touched = self.cohort.samples, self.made.touched["item"]
        each = samples.weight * weight[samples.client]
        if self.cohort.reduction == "mean":
            each = each / np.maximum(self.told.samples, 1e-12)[samples.client]
        ids, size = touched.index.ids, touched.index.num_rows
        parts = (np.bincount(ids[place], each, size) for place in touched.places.values())
        return np.sum(list(parts), axis=0)


def _numbers(values: Mapping[str, Any]) -> dict[str, NDArray]:
    return {n: v.numpy() for n, v in values.items()}


@lru_cache(maxsize=64)
def compile_back(form: Form) -> Callable[..., Any]:
    """Return the compiled way back from what the form is made of, in float64.

    Args:
        form: of a model.

    Returns:
        (fixed tables [I, ...], trained tables [I, ...], weights [1, ...], profile [C, A'],
        gradients of what they make) -> gradients of the trained tables, and of weights.
    """

    def run(fixed: Any, trained: Any, weights: Any, profile: Any, against: Any) -> tuple[Any, Any]:
        still, moving, dense, users = tf.nest.map_structure(
            lambda value: tf.cast(value, tf.float64), (fixed, trained, weights, profile)
        )
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch((moving, dense))
            one = {name: value[0] for name, value in dense.items()}
            made = {**form.of_items({**still, **moving}, one), **form.weights(one)}
            made |= form.of_profile(users[PROFILE], one) if form.width else {}
            total = tf.add_n([tf.reduce_sum(made[n] * value) for n, value in against.items()])
        back: tuple[Any, Any] = tape.gradient(total, (moving, dense), unconnected_gradients="zero")
        return back

    return compile_once(run, (1, 1, 0, 1, 1))


Whole = Callable[[], CohortUpdate]
Sums = Callable[[NDArray[np.float64]], dict[str, Arrays]]


class Pulled(Mapping[str, NDArray]):
    """Changes of C clients of which the sum is known; each client's own where one asks.

    Args:
        group: "rows" or "weights".
        shapes: name -> shape of the changes, as they would be written out in float32.
        sums: weights of clients -> sums of both groups.
        whole: trains the clients as ever.
    """

    def __init__(
        self, group: str, shapes: Mapping[str, tuple[int, ...]], sums: Sums, whole: Whole
    ) -> None:
        self._group, self._shapes = group, shapes
        self._sums, self._whole = sums, whole

    def __getitem__(self, name: str) -> NDArray:
        changes: Mapping[str, NDArray] = getattr(self._whole(), self._group)
        return changes[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._shapes)

    def __len__(self) -> int:
        return len(self._shapes)

    def summed(self, name: str, weight: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the weighted sum over clients, of a whole table or of a dense weight."""
        return self._sums(weight)[self._group][name]

    def num_bytes(self, name: str) -> int:
        """Return the bytes of the changes, written out in float32."""
        return 4 * int(np.prod(self._shapes[name]))


def pulled(gradient: Gradient, whole: Whole) -> tuple[Pulled, Pulled]:
    """Return the clients' changes of rows and of dense weights.

    Args:
        gradient: of the clients.
        whole: trains them as ever.
    """
    start, known = gradient.cohort.start, entities(gradient.cohort.model)
    touched = len(gradient.made.touched["item"].index.ids)
    clients = gradient.cohort.samples.num_clients
    rows = {n: (touched, *start["rows"][n].shape[1:]) for n in known}
    weights = {n: (clients, *v.shape[1:]) for n, v in start["weights"].items()}
    sums, once = _remembered(gradient.sums), cache(whole)
    return Pulled(ROWS, rows, sums, once), Pulled(WEIGHTS, weights, sums, once)


def _remembered(sums: Sums) -> Sums:
    """Return a function that works out anew only what it was not asked last."""
    last: list[tuple[NDArray[np.float64], dict[str, Arrays]]] = []

    def asked(weight: NDArray[np.float64]) -> dict[str, Arrays]:
        if not last or not np.array_equal(last[0][0], weight):
            last[:] = [(weight.copy(), sums(weight))]
        return last[0][1]

    return asked
