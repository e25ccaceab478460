import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedrec.params import PartialSum, Personal, Shared, SparseRows

ROWS, DIM = 6, 2


def partial(seed: int) -> PartialSum:
    """A partial sum over some rows, with whole numbers so that sums are exact."""
    rng = np.random.default_rng(seed)
    ids = np.flatnonzero(rng.random(ROWS) < 0.6)
    return PartialSum(
        tables={"item": SparseRows(ids, rng.integers(-9, 9, (len(ids), DIM)).astype(np.float64))},
        row_weight={"item": rng.integers(1, 9, len(ids)).astype(np.float64)},
        weights={"head": rng.integers(-9, 9, (3,)).astype(np.float64)},
        weight=float(rng.integers(1, 9)),
        num_clients=int(rng.integers(1, 9)),
        metrics={"loss": float(rng.integers(1, 9))},
    )


def plain(total: PartialSum) -> tuple:
    """Everything in a partial sum, dense, to be compared."""
    rows = total.tables["item"]
    return (
        rows.ids.tolist(),
        rows.rows.tolist(),
        total.row_weight["item"].tolist(),
        total.weights["head"].tolist(),
        total.weight,
        total.num_clients,
        total.metrics,
    )


def test_sparse_rows_add_by_id():
    first = SparseRows(np.array([1, 4]), np.array([[1.0, 2.0], [3.0, 4.0]]))
    second = SparseRows(np.array([0, 4]), np.array([[10.0, 20.0], [30.0, 40.0]]))
    total = first + second
    assert total.ids.tolist() == [0, 1, 4]
    assert total.rows.tolist() == [[10.0, 20.0], [1.0, 2.0], [33.0, 44.0]]


def test_dense_has_zeros_in_absent_rows():
    rows = SparseRows(np.array([1]), np.array([[1.0, 2.0]], np.float32))
    assert rows.dense(3).tolist() == [[0, 0], [1, 2], [0, 0]]
    assert rows.dense(3).dtype == np.float32


def test_adding_nothing():
    empty = SparseRows(np.zeros(0, np.int64), np.zeros((0, 2)))
    rows = SparseRows(np.array([3]), np.array([[1.0, 2.0]]))
    for total in (empty + rows, rows + empty):
        assert total.ids.tolist() == [3]
        assert total.rows.tolist() == [[1.0, 2.0]]
    assert len((empty + empty).ids) == 0


def test_the_more_exact_type_wins():
    single = SparseRows(np.array([0]), np.ones((1, 1), np.float32))
    double = SparseRows(np.array([0]), np.ones((1, 1), np.float64))
    assert (single + double).rows.dtype == np.float64
    assert (single + single).rows.dtype == np.float32


@given(st.integers(0, 2**20), st.integers(0, 2**20))
def test_a_sum_of_sparse_rows_is_the_sum_of_dense_ones(a, b):
    first, second = partial(a).tables["item"], partial(b).tables["item"]
    total = first + second
    np.testing.assert_array_equal(total.dense(ROWS), first.dense(ROWS) + second.dense(ROWS))
    assert (np.diff(total.ids) > 0).all()


@given(st.integers(0, 2**20), st.integers(0, 2**20), st.integers(0, 2**20))
def test_partial_sums_fold_in_any_order(a, b, c):
    x, y, z = partial(a), partial(b), partial(c)
    assert plain((x + y) + z) == plain(x + (y + z)) == plain((z + x) + y)


def test_a_partial_sum_by_hand():
    first = PartialSum({"t": SparseRows(np.array([0, 2]), np.array([[1.0], [2.0]]))}, {"t": np.array([4.0, 5.0])}, {"w": np.array([1.0])}, 9.0, 2, {"loss": 0.5, "up": 1.0})  # fmt: skip
    second = PartialSum({"t": SparseRows(np.array([2]), np.array([[10.0]]))}, {"t": np.array([7.0])}, {"w": np.array([3.0])}, 7.0, 1, {"loss": 0.25})  # fmt: skip
    total = first + second
    assert total.tables["t"].ids.tolist() == [0, 2]
    assert total.tables["t"].rows.tolist() == [[1.0], [12.0]]
    assert total.row_weight["t"].tolist() == [4.0, 12.0]
    assert total.weights["w"].tolist() == [4.0]
    assert (total.weight, total.num_clients) == (16.0, 3)
    assert total.metrics == {"loss": 0.75, "up": 1.0}
    assert first.metrics == {"loss": 0.5, "up": 1.0}


def test_personal_rows_are_taken_in_order():
    personal = Personal({"user": np.arange(6, dtype=np.float32).reshape(3, 2)})
    assert personal.take(np.array([2, 0])).values["user"].tolist() == [[4, 5], [0, 1]]


def test_the_size_of_a_download():
    shared = Shared({"item": np.zeros((10, 4), np.float32)}, {"head": np.zeros(3, np.float32)})
    assert shared.num_bytes == 4 * (40 + 3)


def test_parameters_are_frozen():
    with pytest.raises(AttributeError):
        Shared({}).tables = {}
