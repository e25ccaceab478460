"""The server's side of methods that sum and solve."""

from __future__ import annotations

import numpy as np
import pytest

from fedrec.config_sections import ServerSection
from fedrec.errors import CheckpointError, EngineError
from fedrec.params import Shared, SparseRows
from fedrec.training.gram import GramSums
from fedrec.training.normal import NormalSums
from server.aggregation import MeanUpdate
from server.optimizers import ServerOptimizer
from server.solver import Solver, build_optimizer, refuse_gap

START = Shared({"item": np.zeros((3, 0), np.float32)})
FOLDED = np.array([[2.0, 2.0], [3.0, 2.0], [2.0, 1.0]])
SUMS = GramSums("ease", rounds=2, l2=1.0)


def block(*ids: int) -> MeanUpdate:
    rows = np.array(ids, np.int64)
    return MeanUpdate({"item": SparseRows(rows, FOLDED[rows])}, {})


def test_nothing_is_solved_before_the_sum_is_complete() -> None:
    solver = Solver(SUMS, START)
    assert solver.apply(START, block(0)) is START
    solved = solver.apply(START, block(1, 2)).tables["item"]
    whole = GramSums("ease", l2=1.0).solve(START, Shared({"item": FOLDED})).tables["item"]
    np.testing.assert_array_equal(solved, whole)


def test_a_sum_goes_on_after_a_checkpoint() -> None:
    first, second = Solver(SUMS, START), Solver(SUMS, START)
    first.apply(START, block(0))
    second.restore(first.state())
    ours, theirs = (s.apply(START, block(1, 2)).tables["item"] for s in (first, second))
    np.testing.assert_array_equal(ours, theirs)
    assert set(first.state()) == {"taken"}  # a complete sum is not kept


def test_common_weights_are_sums_again() -> None:
    """The mean of the weights comes with what it was divided by."""
    start = Shared({"item": np.zeros((1, 1), np.float32)})
    solver = Solver(NormalSums(1, 1.0, 1.0), start)
    rows = SparseRows(np.array([0]), np.array([[1.0, 2.0]]))
    update = MeanUpdate({"item": rows}, {"gram": np.array([2.5])}, weight=2.0)
    assert solver.apply(start, update).tables["item"][0, 0] == pytest.approx(2 / 7)


def test_the_state_of_an_optimiser_is_refused() -> None:
    with pytest.raises(CheckpointError, match="this method sums and solves"):
        Solver(SUMS, START).restore({"table.0": np.zeros(1)})


def test_a_method_without_statistics_has_an_optimiser() -> None:
    shared = Shared({"item": np.zeros((3, 2), np.float32)})
    section = ServerSection(table_optimizer="sgd", weight_optimizer="sgd")
    assert isinstance(build_optimizer(section, None, shared, 5), ServerOptimizer)
    assert isinstance(build_optimizer(section, SUMS, START, 5), Solver)


def test_a_round_that_is_missing_stops_the_run() -> None:
    refuse_gap(None, "1 clients trained, server.min_clients = 3")
    refuse_gap(SUMS, None)
    with pytest.raises(EngineError, match=r"1 clients trained.*resume the run"):
        refuse_gap(SUMS, "1 clients trained, server.min_clients = 3")
