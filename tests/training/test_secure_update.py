"""Updates as integers: the bound of the error, exact zeros, weights, norms, refusals."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from fedrec.config import Config
from fedrec.errors import ConfigError, ModelError
from fedrec.params import Personal, Shared
from fedrec.training.cohort import CohortUpdate
from fedrec.training.rows import RowIndex
from fedrec.training.secure_update import (
    Layout,
    check_secure_run,
    decode_sum,
    encode_clients,
    encode_nothing,
    make_layout,
)

Make = Callable[..., Config]
SHARED = Shared({"item": np.zeros((6, 2), np.float32)}, {"bias": np.zeros(3, np.float32)})
BASE = {"secure__mode": "semi-honest", "server__rows": "sum"}


def update(rows: list[list[float]], bias: list[list[float]], samples: list[int]) -> CohortUpdate:
    """Client 0 moves rows 1 and 4, client 1 row 4."""
    index = RowIndex(np.array([0, 0, 1], np.int32), np.array([1, 4, 4]), 6, 2)
    return CohortUpdate(
        {"item": np.array(rows, np.float32)},
        {"item": index},
        {"bias": np.array(bias, np.float32)},
        Personal({}),
        np.array(samples, np.float64),
        np.array([0.5, 2.0]),
        (0, {}),
    )


UPDATE = update([[0.25, -1], [2, 3], [0.5, 0]], [[10, 0, -7], [1, 2, 3]], [4, 9])


def summed(layout: Layout, exponent: float = 0.0, what: CohortUpdate = UPDATE, **keys: float):
    encoded = list(encode_clients(what, layout, exponent, **keys))
    totals = {name: sum(one[name] for one in encoded) for name in encoded[0]}
    return decode_sum(totals, layout, len(encoded), 99.0)


def test_the_sum_comes_back_within_the_bound(small_run: Make) -> None:
    layout = make_layout(small_run(**BASE), SHARED)
    total = summed(layout)
    table = total.tables["item"].dense(6)
    error = np.abs(table - [[0, 0], [0.25, -1], [0, 0], [0, 0], [2.5, 3], [0, 0]])
    assert error.max() < 2 * layout.scheme.step
    assert error[[0, 2, 3, 5]].max() == 0.0  # rows that nobody touches stay
    assert np.abs(total.weights["bias"] - [11, 2, -4]).max() < 2 * layout.weight_scheme.step
    assert (total.weight, total.num_clients, total.metrics["bytes_up"]) == (2.0, 2, 99.0)
    assert total.metrics["loss"] == pytest.approx(2.5, abs=1e-5)
    assert total.metrics["samples"] == pytest.approx(13, abs=0.02)
    assert round(total.metrics["clipped"]) == 0
    assert total.row_weight["item"].tolist() == [2.0] * 6


def test_weights_are_inside_and_bounded(small_run: Make) -> None:
    keys = {"server__weighting": "samples", "secure__max_weight": 5}
    layout = make_layout(small_run(**BASE, **keys), SHARED)
    total = summed(layout, 1.0)
    assert total.weight == 9.0  # 4 samples, and 9 of which 5 count
    assert total.tables["item"].dense(6)[4, 0] == pytest.approx(4 * 2 + 5 * 0.5, abs=1e-3)
    assert total.metrics["loss"] == pytest.approx(4 * 0.5 + 5 * 2.0, abs=1e-3)


def test_a_power_of_samples_is_a_weight_too(small_run: Make) -> None:
    layout = make_layout(small_run(**BASE, server__weighting="samples"), SHARED)
    total = summed(layout, 0.5)
    assert total.weight == 5.0  # 2 of 4 samples, 3 of 9
    assert total.tables["item"].dense(6)[4, 0] == pytest.approx(2 * 2 + 3 * 0.5, abs=0.02)


def test_rounding_has_no_bias(small_run: Make) -> None:
    layout = make_layout(small_run(**BASE, secure__bits=4), SHARED)
    draws = [summed(layout).tables["item"].dense(6)[4, 0] for _ in range(400)]
    assert abs(np.mean(draws) - 2.5) < 4 * layout.scheme.step / np.sqrt(400)


def test_elements_beyond_the_range_are_counted(small_run: Make) -> None:
    layout = make_layout(small_run(**BASE, secure__clip=1.5), SHARED)
    total = summed(layout)
    assert round(total.metrics["clipped"]) == 2
    assert total.tables["item"].dense(6)[4].tolist() == pytest.approx([2.0, 1.5], abs=1e-4)


def test_rows_that_do_not_take_part_stay_out(small_run: Make) -> None:
    layout = make_layout(small_run(**BASE), SHARED, {"item": np.array([0, 4])})
    total = summed(layout)
    assert total.tables["item"].ids.tolist() == [0, 4]
    assert total.tables["item"].rows[1].tolist() == pytest.approx([2.5, 3.0], abs=1e-3)
    empty = make_layout(small_run(**BASE), SHARED, {"item": np.zeros(0, np.int64)})
    assert list(empty.sizes) == ["weights", "metrics"]
    assert len(summed(empty).tables["item"].ids) == 0


def test_a_client_without_samples_adds_nothing(small_run: Make) -> None:
    layout = make_layout(small_run(**BASE), SHARED)
    nothing = encode_nothing(layout)
    total = decode_sum(nothing, layout, 1, 0.0)
    assert total.weight == 0.0
    assert not total.tables["item"].rows.any()
    assert abs(total.metrics["loss"]) < 1e-6


def test_a_private_update_keeps_its_norm_after_rounding(small_run: Make) -> None:
    keys = {"privacy__mechanism": "central", "privacy__clip": 1.0}
    layout = make_layout(small_run(**BASE, **keys, secure__bits=12), SHARED)
    within = {"within_clip": np.ones(2)}
    what = update([[0.6, 0], [0, 0.8], [1, 0]], [[0] * 3, [0] * 3], [1, 1])
    what.metrics.update(within)
    for encoded in encode_clients(what, layout, 0.0, 1.0):
        one = decode_sum(encoded, layout, 1, 0.0)
        assert 0.9 < np.linalg.norm(one.tables["item"].rows) <= 1.0


def test_vectors_name_no_single_number(small_run: Make) -> None:
    layout = make_layout(small_run(**BASE), SHARED)
    described = {v.name: (v.length, v.width) for v in layout.vectors(100)}
    assert described == {"tables": (12, 27), "weights": (3, 39), "metrics": (4, 39)}


def test_a_diverged_update_is_refused(small_run: Make) -> None:
    layout = make_layout(small_run(**BASE), SHARED)
    broken = update([[np.nan, 0], [0, 0], [0, 0]], [[0] * 3, [0] * 3], [1, 1])
    with pytest.raises(ModelError, match="lower the learning rate"):
        list(encode_clients(broken, layout, 0.0))


def test_a_sum_that_could_overflow_is_refused(small_run: Make) -> None:
    keys = {"server__weighting": "samples", "secure__max_weight": 2**31}
    with pytest.raises(ConfigError, match="does not fit into 64 bits"):
        check_secure_run(small_run(**BASE, **keys, secure__bits=32), SHARED, 50)


def test_rounding_larger_than_the_clip_norm_is_refused(small_run: Make) -> None:
    keys = {"privacy__mechanism": "central", "privacy__clip": 0.001}
    with pytest.raises(ConfigError, match=r"raise secure\.bits"):
        check_secure_run(small_run(**BASE, **keys, secure__bits=8), SHARED, 50)
