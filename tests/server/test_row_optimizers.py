"""Row-wise server optimisers: equal to the dense rule where that is claimed, by hand elsewhere."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedrec.config_sections import ServerSection
from fedrec.errors import CheckpointError
from fedrec.params import Shared, SparseRows
from server.aggregation import MeanUpdate
from server.optimizers import ServerOptimizer, _DenseTables
from server.row_optimizers import RULES, RowOptimizer, works_on_rows

EXACT = ("sgd", "adagrad")
LAZY = ("momentum", "rmsprop", "adam", "adamw", "lion")


def section(name: str, **keys: Any) -> ServerSection:
    return ServerSection.model_validate(
        {"table_optimizer": name, "table_lr": 0.1, "l2": 0.0, **keys}
    )


def table(rows: int = 6) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(rows, 3)).astype(np.float32)


def change(ids: list[int], seed: int) -> dict[str, SparseRows]:
    rows = np.random.default_rng(seed).normal(size=(len(ids), 3))
    return {"item": SparseRows(np.array(ids, np.int64), rows)}


def play(optimizer: Any, rounds: list[list[int]], start: np.ndarray) -> np.ndarray:
    tables = {"item": start.copy()}
    for seed, ids in enumerate(rounds):
        tables = optimizer.step(tables, change(ids, seed), in_place=True)
    return tables["item"]


def test_where_rows_are_worked_on() -> None:
    assert all(works_on_rows(section(name)) for name in EXACT)
    assert not any(works_on_rows(section(name, l2=0.1)) for name in EXACT)
    assert not any(works_on_rows(section(name)) for name in LAZY)
    assert all(works_on_rows(section(name, lazy_rows=True, l2=0.1)) for name in EXACT + LAZY)
    assert {name for name, rule in RULES.items() if rule.exact} == set(EXACT)


@pytest.mark.parametrize("name", EXACT)
@given(rounds=st.lists(st.sets(st.integers(0, 5)), min_size=1, max_size=4))
@settings(max_examples=15, deadline=None)
def test_exact_rules_equal_the_dense_rule_bit_by_bit(name: str, rounds: list[set[int]]) -> None:
    ids, start = [sorted(r) for r in rounds], table()
    dense = _DenseTables(section(name), {"item": start})
    rows = RowOptimizer(section(name), {"item": start})
    assert play(rows, ids, start).tobytes() == play(dense, ids, start).tobytes()


@pytest.mark.parametrize("name", LAZY)
def test_lazy_rules_equal_the_dense_rule_where_every_round_touches_all(name: str) -> None:
    rounds, start = [list(range(6))] * 4, table()
    keys = {"l2": 0.3}
    dense = _DenseTables(section(name, **keys), {"item": start})
    lazy = RowOptimizer(section(name, lazy_rows=True, **keys), {"item": start})
    np.testing.assert_allclose(
        play(lazy, rounds, start), play(dense, rounds, start), rtol=2e-5, atol=1e-6
    )


@pytest.mark.parametrize("name", LAZY)
def test_a_lazy_row_is_an_optimizer_of_its_own(name: str) -> None:
    """Its steps are those of a dense rule on this row alone, in the rounds that touch it."""
    rounds, start = [[0, 2], [2], [1], [0, 1, 2], [2, 5]], table()
    after = play(RowOptimizer(section(name, lazy_rows=True), {"item": start}), rounds, start)
    for row in range(6):
        alone = {"item": start[[row]]}
        dense = _DenseTables(section(name), alone)
        for seed, ids in enumerate(rounds):
            if row in ids:
                mine = change(ids, seed)["item"].rows[[ids.index(row)]]
                update = {"item": SparseRows(np.array([0]), mine)}
                alone = dense.step(alone, update, in_place=False)
        np.testing.assert_allclose(after[[row]], alone["item"], rtol=2e-5, atol=1e-6)
    assert after[3].tobytes() == start[3].tobytes()


def test_lazy_momentum_by_hand_and_where_it_differs() -> None:
    """Dense: an untouched row goes on by its momentum; lazy: it waits, undecayed."""
    start = {"item": np.zeros((2, 1), np.float32)}
    one = {"item": SparseRows(np.array([0]), np.array([[1.0]]))}
    other = {"item": SparseRows(np.array([1]), np.array([[1.0]]))}
    keys = {"table_lr": 1.0}

    def row_0(optimizer: Any) -> list[float]:
        tables, seen = {"item": start["item"].copy()}, []
        for update in (one, other, one):
            tables = optimizer.step(tables, update, in_place=False)
            seen.append(round(float(tables["item"][0, 0]), 5))
        return seen

    assert row_0(_DenseTables(section("momentum", **keys), start)) == [1.0, 1.9, 3.71]
    assert row_0(RowOptimizer(section("momentum", lazy_rows=True, **keys), start)) == [
        1.0, 1.0, 2.9,
    ]  # fmt: skip


def test_first_lazy_adam_step_has_the_size_of_the_rate_in_any_round() -> None:
    start = np.zeros((6, 3), np.float32)
    optimizer = RowOptimizer(section("adam", lazy_rows=True), {"item": start})
    play(optimizer, [[0]] * 50, start)
    moved = optimizer.step({"item": start}, change([4], 9), in_place=False)["item"]
    np.testing.assert_allclose(np.abs(moved[4]), 0.1, rtol=1e-4)


def test_lazy_l2_shrinks_touched_rows_only() -> None:
    start = np.ones((3, 1), np.float32)
    optimizer = RowOptimizer(section("sgd", lazy_rows=True, l2=0.5), {"item": start})
    update = {"item": SparseRows(np.array([1]), np.array([[0.0]]))}
    after = optimizer.step({"item": start}, update, in_place=False)["item"]
    np.testing.assert_allclose(after[:, 0], [1.0, 0.95, 1.0])
    assert start.tolist() == [[1], [1], [1]]


def test_more_rows_than_a_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    start, ids = table(50), list(range(0, 50, 3))
    whole = play(RowOptimizer(section("adam", lazy_rows=True), {"item": start}), [ids] * 2, start)
    monkeypatch.setattr("server.row_optimizers._CHUNK", 4)
    parts = play(RowOptimizer(section("adam", lazy_rows=True), {"item": start}), [ids] * 2, start)
    assert whole.tobytes() == parts.tobytes()


def test_in_place_and_not() -> None:
    shared = Shared({"item": table()})
    update = MeanUpdate(change([1, 4], 3), {})
    before = shared.tables["item"].copy()
    optimizer = ServerOptimizer(section("sgd"), shared)
    fresh = optimizer.apply(shared, update)
    assert shared.tables["item"].tobytes() == before.tobytes()
    here = optimizer.apply(shared, update, in_place=True)
    assert here.tables["item"] is shared.tables["item"]
    assert here.tables["item"].tobytes() == fresh.tables["item"].tobytes()
    locked = Shared({"item": before})
    before.flags.writeable = False
    again = optimizer.apply(locked, update, in_place=True)
    assert again.tables["item"].tobytes() == fresh.tables["item"].tobytes()


@pytest.mark.parametrize("name", EXACT + LAZY)
def test_a_restored_row_optimizer_continues_bit_by_bit(name: str) -> None:
    start, settings_ = table(), section(name, lazy_rows=True)
    first = RowOptimizer(settings_, {"item": start})
    now = play(first, [[0, 1], [1, 2]], start)
    saved = {n: a.copy() for n, a in first.state().items()}
    second = RowOptimizer(settings_, {"item": start})
    second.restore(saved)
    rounds = [[1, 5], [0, 1]]
    assert play(first, rounds, now).tobytes() == play(second, rounds, now).tobytes()
    assert all(np.array_equal(saved[n], a) for n, a in saved.items())


def test_the_state_of_the_dense_rule_is_refused_by_the_lazy_one() -> None:
    shared = Shared({"item": table()})
    dense = ServerOptimizer(section("adam"), shared)
    lazy = ServerOptimizer(section("adam", lazy_rows=True), shared)
    with pytest.raises(CheckpointError, match="another server optimizer or model"):
        lazy.restore(dense.state())
