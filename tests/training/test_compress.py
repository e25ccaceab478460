"""Top rows, low rank and few bits in clear: by hand, without bias, and what they weigh."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedrec.config import Config
from fedrec.errors import ConfigError, ModelError
from fedrec.params import Personal, Shared
from fedrec.training.aggregate import bytes_up
from fedrec.training.cohort import CohortUpdate
from fedrec.training.compress import as_received, top_rows
from fedrec.training.rows import RowIndex
from fedrec.training.subspace import bases

Make = Callable[..., Config]
SHARED = Shared({"item": np.zeros((6, 4), np.float32), "item_bias": np.zeros((6, 1), np.float32)})
CLIENTS = np.array([3, 8])


def update(rows: np.ndarray, bias: np.ndarray | None = None) -> CohortUpdate:
    """Client 0 moves rows 1, 2 and 5, client 1 rows 0 and 5, in two tables over the same ids."""
    index = RowIndex(np.array([0, 0, 0, 1, 1], np.int32), np.array([1, 2, 5, 0, 5]), 6, 2)
    own = np.zeros((5, 1)) if bias is None else np.reshape(bias, (5, 1))
    tables = {"item": np.asarray(rows, np.float32), "item_bias": own.astype(np.float32)}
    weights = {"dense": np.ones((2, 7), np.float32)}
    one = np.ones(2)
    return CohortUpdate(
        tables, dict.fromkeys(tables, index), weights, Personal({}), one, one, (0, {})
    )


ROWS = np.array([[1, 0, 0, 0], [0, 3, 0, 0], [0, 0, -2, 0], [0.1, 0, 0, 0], [0, 0, 0, 4]])


def test_the_largest_rows_stay_and_ids_ascend() -> None:
    kept = top_rows(update(ROWS), 2)
    assert kept.index["item"].ids.tolist() == [2, 5, 0, 5]
    assert kept.index["item"].client.tolist() == [0, 0, 1, 1]
    assert np.array_equal(kept.rows["item"], ROWS[[1, 2, 3, 4]].astype(np.float32))
    assert kept.index["item_bias"] is kept.index["item"]
    one = top_rows(update(ROWS), 1)
    assert one.index["item"].ids.tolist() == [2, 5]
    same = update(ROWS)
    assert top_rows(same, 0) is same
    assert top_rows(same, 9).index["item"].ids.tolist() == same.index["item"].ids.tolist()


def test_norms_go_over_all_tables_of_an_item() -> None:
    kept = top_rows(update(ROWS, np.array([9, 0, 0, 0, 0])), 1)
    assert kept.index["item"].ids.tolist() == [1, 5]
    assert kept.rows["item_bias"].ravel().tolist() == [9, 0]


def test_equal_rows_go_by_id_and_diverged_ones_are_not_hidden() -> None:
    equal = top_rows(update(np.ones((5, 4))), 2)
    assert equal.index["item"].ids.tolist() == [1, 2, 0, 5]
    broken = ROWS.copy()
    broken[0, 0] = np.nan
    assert top_rows(update(broken), 1).index["item"].ids.tolist() == [1, 5]


@given(st.integers(1, 6), st.integers(0, 2**31))
def test_no_row_that_is_dropped_is_larger_than_one_that_stays(count: int, seed: int) -> None:
    rows = np.random.default_rng(seed).normal(size=(5, 4))
    kept = top_rows(update(rows), count)
    norms = np.linalg.norm(rows.astype(np.float32), axis=1)
    for client, places in ((0, [0, 1, 2]), (1, [3, 4])):
        ids = update(rows).index["item"].ids[places]
        stays = np.isin(ids, kept.index["item"].ids[kept.index["item"].client == client])
        assert stays.sum() == min(count, len(places))
        if 0 < stays.sum() < len(places):
            assert norms[places][stays].min() >= norms[places][~stays].max()


def test_levels_by_hand(small_run: Make) -> None:
    """3 bits: -3 to 3 thirds of a client's largest element; both ends and zero are exact."""
    config = small_run(compress__bits=3)
    rows = np.array([[3, 0, -3, 1], [2, -1, 0, 0], [0, 0, 0, 0], [0.5, 0, 0, 0], [0, 0, 0, -0.5]])
    got = as_received(config, update(rows), SHARED, CLIENTS, 1)
    assert np.allclose(got.rows["item"], rows, atol=1e-6)
    assert got.sent is not None
    # ids 4 bytes a row; 3 bits an element in whole bytes, and a float32, for either table; weights
    assert got.sent.tolist() == [12 + 5 + 4 + 2 + 4 + 28, 8 + 3 + 4 + 1 + 4 + 28]
    assert bytes_up(got) == got.sent.sum()


def test_rounding_has_no_bias_and_less_than_a_step_of_error(small_run: Make) -> None:
    rows = np.random.default_rng(1).normal(size=(5, 4))
    config = small_run(compress__bits=4)
    draws = [
        as_received(config, update(rows), SHARED, CLIENTS, r).rows["item"] for r in range(1, 401)
    ]
    largest = [np.abs(rows[:3]).max()] * 3 + [np.abs(rows[3:]).max()] * 2
    step = np.array(largest)[:, None] / 7
    assert (np.abs(draws - rows) < step + 1e-6).all()
    assert (np.abs(np.mean(draws, axis=0) - rows) < 5 * step / np.sqrt(400)).all()


def test_roundings_are_those_of_the_client_wherever_it_is_trained(small_run: Make) -> None:
    config, rows = small_run(compress__bits=4), np.random.default_rng(2).normal(size=(5, 4))
    both = as_received(config, update(rows), SHARED, CLIENTS, 3)
    whole = update(rows)
    index = RowIndex(np.zeros(2, np.int32), np.array([0, 5]), 6, 1)
    alone = replace(
        whole,
        rows={name: value[3:] for name, value in whole.rows.items()},
        index=dict.fromkeys(whole.rows, index),
        weights={"dense": whole.weights["dense"][1:]},
        samples=np.ones(1),
    )
    got = as_received(config, alone, SHARED, CLIENTS[1:], 3)
    assert np.array_equal(got.rows["item"], both.rows["item"][3:])


def test_low_rank_in_clear_is_the_projection_and_its_bytes(small_run: Make) -> None:
    config = small_run(compress__rank=2)
    got = as_received(config, update(ROWS), SHARED, CLIENTS, 6)
    basis = bases(config, {n: v.shape for n, v in SHARED.tables.items()}, 6)["item"]
    assert np.allclose(got.rows["item"], ROWS @ basis.T @ basis, atol=1e-6)
    assert got.sent is not None
    assert got.sent.tolist() == [3 * (4 + 8 + 4) + 28, 2 * (4 + 8 + 4) + 28]


def test_without_compression_nothing_changes(small_run: Make) -> None:
    same = update(ROWS)
    assert as_received(small_run(compress__rows=1), same, SHARED, CLIENTS, 1) is same
    assert bytes_up(top_rows(same, 1)) == 2 * (4 + 16 + 4) + 2 * 28


def test_a_diverged_update_is_refused(small_run: Make) -> None:
    broken = ROWS.copy()
    broken[0, 0] = np.inf
    with pytest.raises(ModelError, match="lower the learning rate"):
        as_received(small_run(compress__bits=8), update(broken), SHARED, CLIENTS, 1)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"compress__rank": 4}, r"compress.rank = 4 saves nothing .* model.dim = 4"),
        (
            {"compress__rank": 2, "secure__mode": "semi-honest", "server__rows": "sum"},
            "set secure.rows = 'low-rank' and secure.rank",
        ),
        (
            {"compress__bits": 8, "secure__mode": "semi-honest", "server__rows": "sum"},
            "with secure.mode = 'semi-honest' set secure.bits",
        ),
        (
            {
                "secure__rows": "low-rank",
                "secure__rank": 4,
                "secure__mode": "semi-honest",
                "server__rows": "sum",
            },
            "secure.rank = 4 saves nothing",
        ),
        (
            {
                "compress__rows": 3,
                "privacy__mechanism": "local",
                "privacy__clip": 1.0,
                "server__rows": "sum",
            },
            "its noise fills every row",
        ),
        ({"compress__bits": 1}, "compress.bits"),
    ],
)
def test_refused_with_the_configuration(small_run: Make, keys: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        small_run(**keys)
