"""The three ways to divide a row, worked out by hand."""

import numpy as np
import pytest

from fedrec.params import PartialSum, SparseRows
from server.aggregation import mean_update

# Client A, weight 1, moves row 0 by 2; client B, weight 3, moves rows 0 and 5 by 4.
TOTAL = PartialSum(
    {"item": SparseRows(np.array([0, 5]), np.array([[14.0], [12.0]]))},
    {"item": np.array([4.0, 3.0])},
    {"bias": np.array([8.0])},
    weight=4.0,
    num_clients=2,
)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [("touching", [[3.5], [4.0]]), ("mean", [[3.5], [3.0]]), ("sum", [[14.0], [12.0]])],
)
def test_rows(rows: str, expected: list[list[float]]) -> None:
    update = mean_update(TOTAL, rows)
    assert update.tables["item"].rows.tolist() == expected
    assert update.tables["item"].ids.tolist() == [0, 5]
    assert update.weights["bias"].tolist() == [2.0]


def test_clients_without_weight_move_nothing() -> None:
    none = PartialSum(
        {"item": SparseRows(np.array([1]), np.zeros((1, 1)))}, {"item": np.zeros(1)},
        {"bias": np.zeros(1)}, 0.0, 1,
    )  # fmt: skip
    for rows in ("touching", "mean"):
        update = mean_update(none, rows)
        assert update.tables["item"].rows.tolist() == [[0.0]]
        assert update.weights["bias"].tolist() == [0.0]
