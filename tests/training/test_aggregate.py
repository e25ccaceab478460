from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from fedrec.config import Config
from fedrec.params import Personal, Shared
from fedrec.training.aggregate import bytes_up, client_weights, partial_sum, weight_exponent
from fedrec.training.cohort import CohortUpdate
from fedrec.training.rows import RowIndex

SHARED = Shared(
    {"item": np.zeros((5, 2), np.float32), "bias": np.zeros((5, 1), np.float32)},
    {"mean": np.array(0.0, np.float32), "kernel": np.zeros((2, 3), np.float32)},
)


def random_update(touched: list[list[int]], seed: int = 0) -> CohortUpdate:
    generator = np.random.default_rng(seed)
    client = np.repeat(np.arange(len(touched)), [len(t) for t in touched]).astype(np.int32)
    ids = np.concatenate([np.array(t, np.int64) for t in touched])
    index = RowIndex(client, ids, 5, len(touched))

    def normal(*shape: int) -> np.ndarray:
        return generator.normal(size=shape).astype(np.float32)

    count = len(touched)
    return CohortUpdate(
        {"item": normal(len(ids), 2), "bias": normal(len(ids), 1)},
        {"item": index, "bias": index},
        {"mean": normal(count), "kernel": normal(count, 2, 3)},
        Personal({"user": normal(count, 2)}),
        np.arange(2.0, 2.0 + count),
        np.arange(1.0, 1.0 + count),
        (0, {}),
    )


@pytest.mark.parametrize("exponent", [1.0, 0.0, 0.5])
def test_equals_a_plain_sum(exponent: float) -> None:
    updates = [random_update([[0, 3], [1, 3], [3]]), random_update([[0], [2, 3]], 1)]
    total = partial_sum(iter(updates), SHARED, exponent)
    tables = {name: np.zeros(v.shape) for name, v in SHARED.tables.items()}
    row_weight, weight = np.zeros(5), 0.0
    dense = {name: np.zeros(v.shape) for name, v in SHARED.weights.items()}
    for update in updates:
        weights = update.samples**exponent
        assert (client_weights(update, exponent) == weights).all()
        for c, w in enumerate(weights):
            weight += w
            for n in np.flatnonzero(update.index["item"].client == c):
                row_weight[update.index["item"].ids[n]] += w
                for name in tables:
                    tables[name][update.index[name].ids[n]] += w * update.rows[name][n]
            for name in dense:
                dense[name] += w * update.weights[name][c]
    assert total.weight == weight
    assert total.num_clients == 5
    for name in tables:
        assert total.tables[name].ids.tolist() == [0, 1, 2, 3]  # nobody touches row 4
        assert total.tables[name].rows.dtype == np.float64
        assert total.tables[name].dense(5) == pytest.approx(tables[name], rel=1e-12)
        assert total.row_weight[name] == pytest.approx(row_weight[:4])
    for name in dense:
        assert total.weights[name] == pytest.approx(dense[name], rel=1e-12)


def test_metrics_are_sums_over_clients() -> None:
    update = random_update([[0, 3], [1]])
    metrics = partial_sum([update], SHARED, 1.0).metrics
    assert metrics["samples"] == 2 + 3
    assert metrics["bytes_up"] == bytes_up(update)
    assert metrics["loss"] == 2 * 1 + 3 * 2  # weighted as the updates are
    assert partial_sum([update], SHARED, 0.0).metrics["loss"] == 1 + 2


def test_bytes_by_hand() -> None:
    """Three rows: ids once for both tables, 4 bytes each, 2 + 1 floats; two clients' weights."""
    assert bytes_up(random_update([[0, 3], [1]])) == 3 * 4 + 3 * (2 + 1) * 4 + 2 * (1 + 6) * 4


def test_no_update_gives_an_empty_sum() -> None:
    total = partial_sum([], SHARED, 1.0)
    assert (total.weight, total.num_clients) == (0.0, 0)
    assert len(total.tables["item"].ids) == 0
    assert total.weights["kernel"].shape == (2, 3)
    whole = partial_sum([random_update([[1]])], SHARED, 1.0)
    both = total + whole
    assert both.tables["item"].rows == pytest.approx(whole.tables["item"].rows)


def test_adding_cohorts_equals_one_cohort() -> None:
    first, second = random_update([[0, 3], [1]]), random_update([[2], [0, 1]], 1)
    apart = partial_sum([first], SHARED, 1.0) + partial_sum([second], SHARED, 1.0)
    whole = partial_sum([first, second], SHARED, 1.0)
    for name in SHARED.tables:
        assert apart.tables[name].ids.tolist() == whole.tables[name].ids.tolist()
        assert apart.tables[name].rows == pytest.approx(whole.tables[name].rows, rel=1e-12)
        assert apart.row_weight[name] == pytest.approx(whole.row_weight[name])
    assert apart.metrics == whole.metrics


def test_weights_by_hand(small_run: Callable[..., Config]) -> None:
    update = replace(random_update([[0], [1]]), samples=np.array([4.0, 9.0]))
    asked = (("equal", 0.5), ("samples", 1.0), ("samples", 0.5), ("samples", 0.0))
    configs = [small_run(server__weighting=w, server__weight_power=p) for w, p in asked]
    found = [client_weights(update, weight_exponent(c)).tolist() for c in configs]
    assert found == [[1.0, 1.0], [4.0, 9.0], [2.0, 3.0], [1.0, 1.0]]
