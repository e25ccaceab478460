"""Rounded tables of a download: by hand, within half a step, and what they weigh."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fedrec.config import Config
from fedrec.errors import ConfigError
from fedrec.params import Shared
from fedrec.training.download import (
    as_downloaded,
    download_bytes,
    pack_tables,
    packed_bytes,
    unpack_tables,
)
from fedrec.wire import pack_shared, unpack_arrays, unpack_shared

Make = Callable[..., Config]


def test_four_bits_by_hand() -> None:
    table = np.array([[0, 15, 7.4, 2.6, 1], [-1, -1, -1, -1, -1]], np.float32)
    sent = pack_tables({"table.item": table}, 4)
    assert sent["code4.table.item"].tolist() == [[0 + 15 * 16, 7 + 3 * 16, 1], [0, 0, 0]]
    assert sent["low.table.item"].tolist() == [0, -1]
    assert sent["step.table.item"].tolist() == [1, 0]
    assert unpack_tables(sent)["table.item"].tolist() == [[0, 15, 7, 3, 1], [-1] * 5]


@given(arrays(np.float32, (3, 7), elements=st.floats(-100, 100, width=32)), st.sampled_from([8, 4]))
def test_elements_are_within_half_a_step_and_again_the_same(table: np.ndarray, bits: int) -> None:
    read = as_downloaded(Shared({"item": table}), bits).tables["item"]
    assert read.shape == table.shape
    assert read.dtype == np.float32
    span = table.max(1).astype(float) - table.min(1)
    error = np.abs(read.astype(float) - table).max(1)
    assert (error <= span / (2**bits - 1) / 2 + 1e-5 * np.abs(table).max(1)).all()
    assert np.array_equal(read.min(1), table.min(1))  # the smallest element is the zero point


def test_a_row_that_is_not_finite_stays_so() -> None:
    table = np.zeros((3, 6), np.float32)
    table[0, 2], table[1, 4] = np.nan, np.inf
    read = as_downloaded(Shared({"item": table}), 8).tables["item"]
    assert np.isfinite(read).all(1).tolist() == [False, False, True]


def test_bytes_are_those_of_the_arrays_that_travel() -> None:
    draw = np.random.default_rng(0)
    shared = Shared(
        {
            "item": draw.normal(size=(9, 5)).astype("f"),
            "bias": draw.normal(size=(9, 1)).astype("f"),
        },
        {"w": np.ones((4, 3), np.float32)},
        {"sent": draw.normal(size=(9, 8)).astype("f")},
    )
    for bits in (32, 8, 4):
        travels = unpack_arrays(pack_shared(shared, bits))
        size = sum(a.nbytes for n, a in travels.items() if not n.startswith("width."))
        assert size == download_bytes(shared, bits)
    assert download_bytes(shared, 32) == shared.num_bytes
    assert packed_bytes((9, 5), 8) == 9 * (5 + 8)
    assert packed_bytes((9, 5), 4) == 9 * (3 + 8)
    assert packed_bytes((9, 1), 8) == 36  # a scale would cost more: float32
    assert download_bytes(shared, 4) == 99 + 36 + 48 + 9 * 12


@pytest.mark.parametrize("bits", [32, 8, 4])
def test_a_node_reads_what_the_server_knows_that_it_reads(bits: int) -> None:
    draw = np.random.default_rng(1)
    tables = {n: draw.normal(size=(6, d)).astype("f") for n, d in {"item": 7, "bias": 1}.items()}
    shared = Shared(tables, {"w": np.ones(3, np.float32)}, {"x": tables["item"] + 1})
    there, here = unpack_shared(pack_shared(shared, bits)), as_downloaded(shared, bits)
    for group in ("tables", "weights", "fixed"):
        mine, theirs = getattr(here, group), getattr(there, group)
        assert set(mine) == set(theirs)
        assert all(np.array_equal(mine[n], theirs[n]) for n in mine)
    assert np.array_equal(there.tables["bias"], tables["bias"])
    assert (bits == 32) == np.array_equal(there.tables["item"], tables["item"])


def test_what_makes_no_sense_is_refused(small_run: Make) -> None:
    with pytest.raises(ConfigError, match=r"download_bits = 8 saves nothing with rows of model.d"):
        small_run(compress__download_bits=8, model__dim=2)
    with pytest.raises(ConfigError, match=r"exact sums, and compress.download_bits = 4 rounds"):
        small_run(compress__download_bits=4, train__method="ease", model__name="item-item",
                  train__rounds=1, server__rows="sum")  # fmt: skip
