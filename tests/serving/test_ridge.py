"""One more item by Sherman and Morrison is what solving anew gives; shares add up."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedrec.params import Shared
from fedrec.serving.past import Past
from fedrec.serving.ridge import Ridge, implicit_ridge, rating_ridge
from fedrec.training.closed_form import solve_users

DRAWN = np.random.default_rng(3)
TABLE = DRAWN.normal(size=(40, 5)).astype(np.float32)
BIAS = DRAWN.normal(size=(40, 1)).astype(np.float32)


def past(items: list[int], labels: list[float] | None = None) -> Past:
    told = np.ones(len(items)) if labels is None else np.array(labels)
    return Past(
        np.array(items, np.int64), told.astype(np.float32), np.full(len(items), -1, np.int8)
    )


def ratings() -> Ridge:
    shared = Shared({"item": TABLE, "item_bias": BIAS}, {"mean": np.array(3.0, np.float32)})
    return rating_ridge(shared, 2.0, (1.0, 5.0))


@given(
    st.lists(st.integers(0, 39), unique=True, min_size=1, max_size=30),
    st.sampled_from([0.0, 1.0, 40.0]),
    st.sampled_from([0.1, 10.0]),
)
def test_updates_are_the_solution(items: list[int], alpha: float, ridge: float) -> None:
    users = implicit_ridge(TABLE, alpha, ridge)
    state = users.start(past([]))
    for count in range(1, len(items) + 1):
        state = users.grown(state, past(items[:count]))
    whose = np.zeros(len(items), np.int64)
    solved = solve_users(TABLE, whose, np.array(items), 1, alpha=alpha, ridge=ridge)[0]
    assert state.vector == pytest.approx(solved, abs=1e-5)
    assert users.start(past(items)).vector == pytest.approx(solved, abs=1e-5)


@given(
    st.lists(st.integers(0, 39), unique=True, min_size=1, max_size=30),
    st.data(),
)
def test_ratings_too(items: list[int], data: st.DataObject) -> None:
    labels = [data.draw(st.sampled_from([1.0, 3.0, 4.5])) for _ in items]
    users = ratings()
    state = users.start(past([]))
    for count in range(1, len(items) + 1):
        state = users.grown(state, past(items[:count], labels[:count]))
    rows = np.concatenate([TABLE[items], np.ones((len(items), 1))], 1).astype(np.float64)
    left = rows.T @ rows + 2.0 * np.eye(6)
    target = np.array(labels) - 3.0 - BIAS[items, 0]
    assert state.vector == pytest.approx(np.linalg.solve(left, rows.T @ target), abs=1e-5)


def test_by_hand() -> None:
    users = implicit_ridge(np.array([[1.0], [2.0]], np.float32), 1.0, 1.0)
    assert users.base.tolist() == [[6.0]]  # 1 + 4 + the ridge
    state = users.grown(users.start(past([])), past([1]))
    assert state.vector == pytest.approx([2 * 2 / (6 + 4)])
    assert users.scores(state, past([1])) == pytest.approx([0.4, 0.8])


@pytest.mark.parametrize("users", [implicit_ridge(TABLE, 4.0, 10.0), ratings()])
def test_shares_add_up(users: Ridge) -> None:
    met = past([3, 1, 20], [5.0, 2.0, 4.0])
    state = users.start(met)
    every = np.arange(40)
    shares = users.shares(state, met, every)
    total = shares.history.sum(1) + sum(shares.other.values())
    scores = users.scores(state, met)
    if users.limits is not None:
        total = np.clip(total, *users.limits)
    assert total == pytest.approx(scores, abs=1e-5)
    assert shares.kind == "exact"


def test_predictions_stay_in_their_range() -> None:
    users = ratings()
    high = past([0, 1, 2], [5.0, 5.0, 5.0])
    assert users.scores(users.start(high), high).max() == 5.0
    assert users.scores(users.start(past([])), past([])) == pytest.approx(
        np.clip(3.0 + BIAS[:, 0], 1, 5)
    )
