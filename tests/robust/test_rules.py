"""Robust aggregation: hand-worked, and against Flower's functions where both apply."""

import numpy as np
import pytest
from flwr.server.strategy import aggregate
from hypothesis import given
from hypothesis import strategies as st

from fedrec.config_attacks import RobustSection
from fedrec.errors import ConfigError
from fedrec.robust.rules import (
    DEFENCES,
    by_coordinate,
    clip_rows,
    defend,
    distances,
    krum,
    krum_scores,
    nearest_to_median,
    trimmed_mean,
)
from fedrec.robust.updates import as_partial_sum
from tests.audit.audit_cases import updates_of


def dense_updates(seed, clients, items=3, width=2):
    """Every client touches every row, as Flower's dense layers are."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(clients, items, width)).astype(np.float32)
    head = rng.normal(size=(clients, 2)).astype(np.float32)
    updates = updates_of([dict(enumerate(v.tolist())) for v in values], items, head.tolist())
    return updates, [([v, h], 1) for v, h in zip(values, head, strict=True)]


def section(**keys):
    return RobustSection(**keys)


def same(total, layers, clients):
    assert np.allclose(total.tables["item"].dense(3) / clients, layers[0], atol=1e-5)
    assert np.allclose(total.weights["head"] / clients, layers[1], atol=1e-5)
    assert total.weight == clients


@given(st.integers(0, 10**6), st.integers(7, 14))
def test_rules_equal_those_of_flower_on_dense_updates(seed, clients):
    updates, results = dense_updates(seed, clients)
    bad = 1
    share = (bad - 0.5) / clients
    keys = section(malicious=share, trim=0.2)
    same(defend(updates, "median", keys), aggregate.aggregate_median(results), clients)
    trimmed = aggregate.aggregate_trimmed_avg(results, 0.2)
    same(defend(updates, "trimmed-mean", keys), trimmed, clients)
    same(defend(updates, "krum", keys), aggregate.aggregate_krum(results, bad, 0), clients)
    several = aggregate.aggregate_krum(results, bad, clients - bad)
    same(defend(updates, "multi-krum", keys), several, clients)
    best = aggregate.aggregate_bulyan(list(results), bad, aggregate.aggregate_krum, to_keep=0)
    same(defend(updates, "bulyan", keys), best, clients)


def test_coordinates_are_taken_over_those_who_touch_the_row():
    updates = updates_of([{0: [1.0], 1: [5.0]}, {0: [2.0]}, {0: [9.0], 1: [7.0]}, {2: [4.0]}], 4)
    total = by_coordinate(updates, lambda x: np.median(x, axis=-2))
    assert total.tables["item"].ids.tolist() == [0, 1, 2]
    assert total.tables["item"].rows.ravel().tolist() == [3 * 2.0, 2 * 6.0, 4.0]
    assert total.row_weight["item"].tolist() == [3.0, 2.0, 1.0]


def test_trimmed_mean_and_nearest_by_hand():
    values = np.array([[0.0], [1.0], [2.0], [3.0], [100.0]])
    assert trimmed_mean(values, 0.2).tolist() == [2.0]
    assert trimmed_mean(values, 0.0).tolist() == [21.2]
    assert nearest_to_median(values, 1).tolist() == [2.0]  # 1, 2 and 3
    assert nearest_to_median(values, 9).tolist() == [2.0]


def test_krum_leaves_out_who_stands_apart():
    rows = [{0: [1.0 + 0.01 * c]} for c in range(6)] + [{0: [50.0]}]
    updates = updates_of(rows, 2)
    apart = distances(updates)
    assert apart[0, 6] == pytest.approx(49.0**2)
    assert np.argmax(krum_scores(apart, 1)) == 6
    assert 6 not in krum(updates, 1, 6)
    total = defend(updates, "bulyan", section(malicious=0.1))
    assert total.tables["item"].rows[0, 0] / 7 == pytest.approx(1.02, abs=0.02)


def test_bounds():
    updates = updates_of([{0: [3.0, 4.0], 1: [0.0, 1.0]}, {1: [0.0, 2.0]}], 2)
    rows = clip_rows(updates, 1.5)
    assert np.allclose(rows.rows, [[0.9, 1.2], [0.0, 1.0], [0.0, 1.5]])
    assert np.allclose(clip_rows(updates, 0.0).rows[0], [1.2, 1.6])  # the median norm is 2
    total = defend(updates, "norm-bound", section(norm=1.0))
    assert np.linalg.norm(total.tables["item"].rows[0]) <= 1.0


@pytest.mark.parametrize("name", DEFENCES)
def test_equal_clients_give_their_sum_under_every_defence(name):
    one = {0: [1.0, 2.0], 2: [0.5, 0.0]}
    updates = updates_of([one] * 9, 4, [[1.0]] * 9)
    ours, plain = defend(updates, name, section(malicious=0.1)), as_partial_sum(updates)
    row_clipped = name == "row-clip"  # bounded by the median row norm
    if not row_clipped:
        assert np.allclose(ours.tables["item"].rows, plain.tables["item"].rows, atol=1e-5)
    assert ours.tables["item"].ids.tolist() == [0, 2]
    assert np.allclose(ours.row_weight["item"], plain.row_weight["item"])
    assert np.allclose(ours.weights["head"], 9.0)
    assert (ours.weight, ours.num_clients) == (9.0, 9)


def test_refusals():
    updates = updates_of([{0: [1.0]}] * 6, 2)
    with pytest.raises(ConfigError, match=r"unknown defence 'medium' .* mean 'median'"):
        defend(updates, "medium", section())
    with pytest.raises(ConfigError, match=r"'bulyan' needs at least 7 clients .* has 6: raise"):
        defend(updates, "bulyan", section(malicious=0.1))
    with pytest.raises(ConfigError, match="'krum' needs at least 9 clients"):
        defend(updates, "krum", section(malicious=0.45))
