"""Server optimisers that touch only the rows of a table that clients have changed.

The mean update of a round holds a few rows of a large table; for all others the
gradient is zero.  Plain SGD and Adagrad (Duchi et al., JMLR 2011) leave a row with a
zero gradient as it is, so working on the others alone is the dense rule, bit by bit.
Rules with moments are not: a dense moment decays, and goes on moving its row, when
nobody touches it.  Made lazy (`server.lazy_rows`), each row is an optimiser of its own
that takes a step only in rounds that touch it, and counts only these steps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedrec.config_sections import ServerSection
from fedrec.errors import CheckpointError
from fedrec.params import SparseRows

Arrays = dict[str, NDArray]
Step = Callable[["Part"], NDArray]

BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-7
MOMENTUM, RHO, DECAY, LION_BETA_2 = 0.9, 0.9, 0.004, 0.99
"""Constants of the Keras optimisers that these rules are held to."""

_CHUNK = 1 << 14  # rows at a time, so that what is in between stays in the cache
_COUNT = "count"


@dataclass(frozen=True, eq=False)
class Part:
    """Some rows of a table in the middle of a step.

    Attributes:
        rows: float32 [R, d].
        gradient: float32 [R, d].
        moments: name -> float32 [R, d], changed in place.
        count: float32 [R, 1], steps of each row, this one among them.
        lr: learning rate.
    """

    rows: NDArray[np.float32]
    gradient: NDArray[np.float32]
    moments: Arrays
    count: NDArray[np.float32]
    lr: np.float32


@dataclass(frozen=True)
class RowRule:
    """A rule on rows.

    Attributes:
        step: returns the rows after a step; it changes the moments in place.
        moments: names of what is remembered of each element, and how it starts.
        counts: whether each row counts its steps.
        exact: whether a row with a zero gradient stays as it is, so that leaving it out
            changes nothing.
    """

    step: Step
    moments: Mapping[str, float]
    counts: bool = False
    exact: bool = False


def _sgd(part: Part) -> NDArray:
    return part.rows - part.gradient * part.lr


def _momentum(part: Part) -> NDArray:
    first = part.moments["first"]
    first[...] = first * np.float32(MOMENTUM) - part.gradient * part.lr
    return part.rows + first


def _adagrad(part: Part) -> NDArray:
    total = part.moments["second"]
    total += np.square(part.gradient)
    return part.rows - part.lr * part.gradient / np.sqrt(total + np.float32(EPSILON))


def _rmsprop(part: Part) -> NDArray:
    second = part.moments["second"]
    second[...] = np.float32(RHO) * second + np.float32(1 - RHO) * np.square(part.gradient)
    return part.rows - part.lr * part.gradient / np.sqrt(second + np.float32(EPSILON))


def _adam(part: Part) -> NDArray:
    first, second = part.moments["first"], part.moments["second"]
    first += (part.gradient - first) * np.float32(1 - BETA_1)
    second += (np.square(part.gradient) - second) * np.float32(1 - BETA_2)
    one = np.float32(1)
    power_1 = np.power(np.float32(BETA_1), part.count)
    power_2 = np.power(np.float32(BETA_2), part.count)
    alpha = part.lr * np.sqrt(one - power_2) / (one - power_1)
    return part.rows - first * alpha / (np.sqrt(second) + np.float32(EPSILON))


def _adamw(part: Part) -> NDArray:
    decayed = part.rows - part.rows * np.float32(DECAY) * part.lr
    return _adam(Part(decayed, part.gradient, part.moments, part.count, part.lr))


def _lion(part: Part) -> NDArray:
    first, beta = part.moments["first"], np.float32(LION_BETA_2)
    ahead = first * np.float32(BETA_1) + part.gradient * np.float32(1 - BETA_1)
    first[...] = first * beta + part.gradient * (np.float32(1) - beta)
    return part.rows - part.lr * np.sign(ahead)


_ADAM = {"first": 0.0, "second": 0.0}
RULES: dict[str, RowRule] = {
    "sgd": RowRule(_sgd, {}, exact=True),
    "adagrad": RowRule(_adagrad, {"second": 0.1}, exact=True),
    "momentum": RowRule(_momentum, {"first": 0.0}),
    "rmsprop": RowRule(_rmsprop, {"second": 0.0}),
    "adam": RowRule(_adam, _ADAM, counts=True),
    "adamw": RowRule(_adamw, _ADAM, counts=True),
    "lion": RowRule(_lion, {"first": 0.0}),
}


def works_on_rows(section: ServerSection) -> bool:
    """Return whether tables are updated row by row: where it is exact, or asked for."""
    dense = section.l2 > 0 or section.graph_l2 > 0
    return section.lazy_rows or (RULES[section.table_optimizer].exact and not dense)


class RowOptimizer:
    """One rule over the rows of some named tables.

    Args:
        section: rule, learning rate and weight decay of the tables.
        tables: name -> float32 [I, d]; names and shapes stay the same.
    """

    def __init__(self, section: ServerSection, tables: Mapping[str, NDArray]) -> None:
        self._rule, self._l2 = RULES[section.table_optimizer], section.l2
        self._lr = np.float32(section.table_lr)
        self._state: Arrays = {}
        for name, table in tables.items():
            for moment, start in self._rule.moments.items():
                self._state[f"{name}.{moment}"] = np.full(table.shape, start, np.float32)
            if self._rule.counts:
                self._state[f"{name}.{_COUNT}"] = np.zeros(len(table), np.int32)

    def step(
        self, tables: Mapping[str, NDArray], update: Mapping[str, SparseRows], *, in_place: bool
    ) -> Arrays:
        """Return the tables after one step on the rows of an update.

        Args:
            tables: name -> float32 [I, d].
            update: their mean change; absent rows are left alone.
            in_place: change the tables that are given, where they can be written to.
        """
        done = {}
        for name, table in tables.items():
            here = in_place and table.flags.writeable
            done[name] = table if here else table.copy()
            ids = update[name].ids
            for at in range(0, len(ids), _CHUNK):
                rows = update[name].rows[at : at + _CHUNK]
                self._step_rows(name, done[name], ids[at : at + _CHUNK], rows)
        return done

    def _step_rows(
        self, name: str, table: NDArray, ids: NDArray[np.int64], change: NDArray
    ) -> None:
        rows, moments = table[ids], {}
        gradient = -change if not self._l2 else -change + self._l2 * rows
        for moment in self._rule.moments:
            moments[moment] = self._state[f"{name}.{moment}"][ids]
        count = np.zeros((0, 1), np.float32)
        if self._rule.counts:
            steps = self._state[f"{name}.{_COUNT}"]
            steps[ids] += 1
            count = steps[ids].astype(np.float32)[:, None]
        part = Part(rows, gradient.astype(np.float32), moments, count, self._lr)
        table[ids] = self._rule.step(part)
        for moment, value in moments.items():
            self._state[f"{name}.{moment}"][ids] = value

    def state(self) -> Arrays:
        """Return all that the optimiser remembers, for a checkpoint; do not change it."""
        return dict(self._state)

    def restore(self, state: Arrays) -> None:
        """Take up what `state` returned.

        Raises:
            CheckpointError: if it is that of another optimiser or model.
        """
        check_state(state, {name: value.shape for name, value in self._state.items()})
        self._state = {name: value.copy() for name, value in state.items()}


def check_state(state: Arrays, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Refuse the state of an optimiser with other variables.

    Raises:
        CheckpointError: if names or shapes differ.
    """
    if {name: array.shape for name, array in state.items()} != dict(shapes):
        raise CheckpointError(
            "the checkpoint holds the state of another server optimizer or model: "
            "start the run again with --overwrite"
        )
