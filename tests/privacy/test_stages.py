"""What a client does to its update: hand-worked clips, bounds that hold for any input."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fedrec.privacy.stages import add_pseudo_items, client_norms, clip_clients, clip_rows
from tests.privacy.updates import NUM_ROWS, update_of, vectors

ANY = st.floats(width=32, allow_nan=True, allow_infinity=True)


def test_clipping_by_hand() -> None:
    """Client 0: rows (3, 0 | 0) and (0, 4 | 0) and weight 12: norm 13. Client 1: norm 0.5."""
    rows = [[3, 0, 0], [0, 4, 0], [0.3, 0, 0.4]]
    update = update_of([[1, 5], [5]], rows=np.array(rows), weights=np.diag([12.0, 0, 0])[:2])
    assert client_norms(update).tolist() == pytest.approx([13.0, 0.5])
    clipped, norms, within = clip_clients(update, 6.5)
    assert norms.tolist() == pytest.approx([13.0, 0.5])
    assert within.tolist() == [False, True]
    assert clipped.rows["item"] == pytest.approx(np.array([[1.5, 0], [0, 2], [0.3, 0]]), rel=1e-5)
    assert clipped.rows["item_bias"][:, 0].tolist() == pytest.approx([0, 0, 0.4])
    assert clipped.weights["w"][0].tolist() == pytest.approx([6, 0, 0], rel=1e-5)
    assert client_norms(clipped)[0] == pytest.approx(6.5, rel=1e-5)


def test_an_update_within_the_bound_stays_bit_by_bit() -> None:
    update = update_of([[0, 1], [], [3]])
    clipped, _, within = clip_clients(update, 1e6)
    assert within.all()
    assert (vectors(clipped) == vectors(update)).all()
    assert update.rows["item"].tobytes() == clipped.rows["item"].tobytes()


def test_the_bound_itself_counts_as_within() -> None:
    update = update_of([[2]], rows=np.array([[3.0, 4.0, 0.0]]), weights=np.zeros((1, 3)))
    assert clip_clients(update, 5.0)[2].all()


@given(
    arrays(np.float32, (5, 3), elements=ANY),
    arrays(np.float32, (3, 3), elements=ANY),
    st.floats(1e-3, 1e3),
)
def test_no_update_is_longer_than_the_bound(rows: np.ndarray, weights: np.ndarray, limit: float):
    update = update_of([[0, 2, 6], [], [1, 2]], rows=rows, weights=weights)
    clipped, norms, within = clip_clients(update, limit)
    lengths = np.linalg.norm(vectors(clipped), axis=1)
    assert (lengths <= limit).all()
    assert np.isfinite(lengths).all()
    assert (lengths[~np.isfinite(norms)] == 0).all()
    assert not within[~np.isfinite(norms)].any()


@given(arrays(np.float32, (5, 3), elements=ANY), arrays(np.float32, 3, elements=ANY))
def test_one_client_moves_the_sum_by_at_most_the_bound(rows: np.ndarray, weight: np.ndarray):
    """Whatever client 0 does: without it the sum moves by C, with other data by 2 C."""
    touched, limit = [[0, 2, 6], [1, 2]], 0.7
    base = update_of(touched, seed=1)
    changed = np.concatenate([base.rows["item"], base.rows["item_bias"]], 1)
    changed[:3] = rows[:3]
    other = update_of(touched, rows=changed, weights=np.stack([weight, base.weights["w"][1]]))
    ours, theirs = (vectors(clip_clients(u, limit)[0]) for u in (base, other))
    assert (ours[1] == theirs[1]).all()
    assert np.linalg.norm(ours.sum(0) - ours[1]) <= limit
    assert np.linalg.norm(ours.sum(0) - theirs.sum(0)) <= 2 * limit


def test_rows_are_clipped_one_by_one() -> None:
    rows = np.array([[3, 4, 8.0], [0.3, 0.4, 0.5]])
    clipped = clip_rows(update_of([[1, 4]], rows=rows), 1.0)
    assert clipped.rows["item"] == pytest.approx(np.array([[0.6, 0.8], [0.3, 0.4]]), rel=1e-5)
    assert clipped.rows["item_bias"][:, 0].tolist() == pytest.approx([1.0, 0.5], rel=1e-5)
    assert (np.linalg.norm(clipped.rows["item"].astype(np.float64), axis=1) <= 1).all()


def test_pseudo_items_join_the_true_ones() -> None:
    update = update_of([[0, 2], [1], [3, 6]])
    clients = np.array([4, 9, 11])
    grown = add_pseudo_items(update, clients, 5, 3, 1)
    index = grown.index["item"]
    assert index is grown.index["item_bias"]  # one list of ids, before and after
    keys = index.client * NUM_ROWS + index.ids
    assert (np.diff(keys) > 0).all()
    assert len(keys) > 5
    before, after = vectors(update), vectors(grown)
    true = before != 0
    assert (after[true] == before[true]).all()
    assert (grown.weights["w"] == update.weights["w"]).all()
    lone = grown.rows["item"][index.client == 1]
    assert (lone == update.rows["item"][2]).all()  # one true row: its likeness has no variance


def test_pseudo_items_of_a_client_do_not_depend_on_the_others() -> None:
    update, clients = update_of([[0, 2], [1, 5], [3, 6]]), np.array([4, 9, 11])
    grown = add_pseudo_items(update, clients, 3, 3, 1)
    rows = np.concatenate([update.rows["item"], update.rows["item_bias"]], 1)[2:4]
    alone = update_of([[1, 5]], rows=rows, weights=update.weights["w"][1:2])
    mine = add_pseudo_items(alone, clients[1:2], 3, 3, 1)
    assert vectors(mine)[0] == pytest.approx(vectors(grown)[1])
    other = add_pseudo_items(update, clients, 3, 3, 2)
    assert vectors(other).tolist() != vectors(grown).tolist()


def test_pseudo_rows_have_the_moments_of_the_true_ones() -> None:
    generator = np.random.default_rng(0)
    rows = generator.normal((1.0, -2.0, 5.0), (0.5, 2.0, 0.1), (3, 3))
    update = update_of([[0, 1, 2]] * 2000, rows=np.tile(rows, (2000, 1)))
    grown = add_pseudo_items(update, np.arange(2000), 4, 0, 1)
    made = grown.rows["item"][grown.index["item"].ids > 2].astype(np.float64)
    error = rows[:, :2].std(0) / np.sqrt(len(made))
    assert (np.abs(made.mean(0) - rows[:, :2].mean(0)) < 5 * error).all()
    assert made.std(0) == pytest.approx(rows[:, :2].std(0), rel=0.05)
