"""Low-rank updates: linear, never longer, and exact inside their subspace."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from fedrec.config import Config
from fedrec.params import PartialSum, Personal, Shared, SparseRows
from fedrec.privacy.policy import build_policy
from fedrec.training.cohort import CohortUpdate
from fedrec.training.rows import RowIndex
from fedrec.training.secure_update import decode_sum, encode_clients, make_layout
from fedrec.training.subspace import bases, expand, project, update_rank, within

Make = Callable[..., Config]
TABLES = {"item": (6, 8), "item_bias": (6, 1)}
SHARED = Shared({t: np.zeros(shape, np.float32) for t, shape in TABLES.items()})
SECURE = {"secure__mode": "semi-honest", "secure__rows": "low-rank", "server__rows": "sum"}


def low_rank(small_run: Make, rank: int = 3, **keys: object) -> Config:
    return small_run(**{**SECURE, "secure__rank": rank, "model__dim": 8, **keys})


def update(seed: int = 0) -> CohortUpdate:
    """Client 0 moves rows 1 and 4, client 1 row 4."""
    draw = np.random.default_rng(seed)
    index = RowIndex(np.array([0, 0, 1], np.int32), np.array([1, 4, 4]), 6, 2)
    rows = {t: draw.normal(size=(3, s[1])).astype(np.float32) for t, s in TABLES.items()}
    zeros = np.ones(2)
    return CohortUpdate(rows, dict.fromkeys(TABLES, index), {}, Personal({}), zeros, zeros, (0, {}))


def test_which_key_names_the_rank(small_run: Make) -> None:
    assert update_rank(low_rank(small_run, 3)) == 3
    assert update_rank(low_rank(small_run, 3, secure__rows="dense")) == 0
    assert update_rank(small_run(compress__rank=2)) == 2
    assert update_rank(small_run()) == 0


def test_bases_are_orthonormal_and_addressed(small_run: Make) -> None:
    config = low_rank(small_run)
    found = bases(config, TABLES, 5)
    assert list(found) == ["item"]  # a table no wider than r is sent in full
    assert np.allclose(found["item"] @ found["item"].T, np.eye(3), atol=1e-12)
    assert np.array_equal(found["item"], bases(config, TABLES, 5)["item"])
    assert not np.allclose(found["item"], bases(config, TABLES, 6)["item"])
    other = bases(low_rank(small_run, run__seed=7), TABLES, 5)
    assert not np.allclose(found["item"], other["item"])
    two = bases(config, {"a": (6, 8), "b": (6, 8)}, 5)
    assert not np.allclose(two["a"], two["b"])


def test_projecting_is_linear_and_never_lengthens(small_run: Make) -> None:
    found = bases(low_rank(small_run), TABLES, 1)
    one, two = update(1), update(2)
    summed = project(one, found).rows["item"] + project(two, found).rows["item"]
    assert np.allclose(summed, (one.rows["item"] + two.rows["item"]) @ found["item"].T, atol=1e-6)
    before = np.linalg.norm(one.rows["item"], axis=1)
    after = np.linalg.norm(project(one, found).rows["item"], axis=1)
    assert (after <= before * (1 + 1e-6)).all()
    assert np.array_equal(project(one, found).rows["item_bias"], one.rows["item_bias"])
    inside = expand(project(one, found).rows["item"], "item", found)
    assert np.allclose(expand(inside @ found["item"].T, "item", found), inside, atol=1e-6)


def test_the_secure_sum_is_the_projected_sum(small_run: Make) -> None:
    config = low_rank(small_run)
    layout = make_layout(config, SHARED, round_number=4)
    assert layout.sizes["tables"] == 6 * 3 + 6
    what = update()
    encoded = list(encode_clients(what, layout, 0.0))
    totals = {name: sum(one[name] for one in encoded) for name in encoded[0]}
    total = decode_sum(totals, layout, 2, 0.0)
    dense = np.zeros((6, 8))
    np.add.at(dense, what.index["item"].ids, what.rows["item"])
    basis = bases(config, TABLES, 4)["item"]
    error = total.tables["item"].dense(6) - dense @ basis.T @ basis
    assert np.linalg.norm(error, axis=1).max() < 2 * layout.scheme.step * np.sqrt(3)
    bias = np.zeros((6, 1))
    np.add.at(bias, what.index["item_bias"].ids, what.rows["item_bias"])
    assert np.abs(total.tables["item_bias"].dense(6) - bias).max() < 2 * layout.scheme.step


@pytest.mark.parametrize("secure", [True, False])
def test_central_noise_lies_in_the_subspace_and_keeps_its_size(
    small_run: Make, secure: bool
) -> None:
    pytest.importorskip("dp_accounting")
    keys = {
        "privacy__mechanism": "central",
        "privacy__clip": 2.0,
        "privacy__noise_multiplier": 1.5,
        "privacy__draws": "seeded",
        "server__rows": "sum",
        "model__dim": 8,
    }
    ranks = SECURE | {"secure__rank": 3} if secure else {"compress__rank": 3}
    config = small_run(**{**keys, **ranks})
    wide = Shared({"item": np.zeros((4000, 8), np.float32)})
    none = {"item": SparseRows(np.zeros(0, np.int64), np.zeros((0, 8)))}
    nothing = PartialSum(none, {"item": np.zeros(0)}, {}, 0.0, 0)
    policy = build_policy(config, 50)
    noisy = policy.on_sum(nothing, wide, policy.at(9)).tables["item"].rows
    basis = bases(config, {"item": (4000, 8)}, 9)["item"]
    assert np.abs(noisy - noisy @ basis.T @ basis).max() < 1e-12
    deviation = (noisy @ basis.T).std()  # on each element that a client could send
    assert deviation == pytest.approx(1.5 * 2.0, rel=4 / np.sqrt(2 * 12_000))


def test_within_leaves_tables_without_a_basis_alone(small_run: Make) -> None:
    found = bases(low_rank(small_run), TABLES, 1)
    draw = np.random.default_rng(0)
    rows = {t: SparseRows(np.arange(6), draw.normal(size=s)) for t, s in TABLES.items()}
    total = PartialSum(rows, {t: np.ones(6) for t in TABLES}, {}, 1.0, 1)
    inside = within(total, found)
    assert inside.tables["item_bias"] is rows["item_bias"]
    assert np.linalg.matrix_rank(inside.tables["item"].rows) == 3
