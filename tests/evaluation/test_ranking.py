"""Ranks and metrics: by hand, against plain Python, against trec_eval."""

import math

import numpy as np
import pytest
import pytrec_eval
from hypothesis import given
from hypothesis import strategies as st

from fedrec.evaluation.ranking import METRICS, full_ranks, recommended_cells, user_metrics
from fedrec.rng import Purpose, keys

NO = -np.inf


def _keys(num_users: int) -> np.ndarray:
    return keys(0, 2, np.arange(num_users), Purpose.TIES)


def test_ranks_by_hand_leave_out_items_that_are_no_candidates() -> None:
    scores = np.array([[5, NO, 3, 4, 1], [1, 2, 3, 4, 5]], np.float32)
    rows, items = np.array([0, 0, 1]), np.array([2, 4, 4], np.int32)
    assert full_ranks(scores, rows, items, _keys(2)).tolist() == [3, 4, 1]


def test_metrics_by_hand() -> None:
    # one user with three relevant items at ranks 1, 3 and 12; another with one at rank 2
    found = user_metrics(np.array([3, 12, 1, 2]), np.array([0, 3, 4]), [2, 10])
    assert set(found) == {f"{m}@{k}" for m in METRICS for k in (2, 10)}
    ideal = 1 + 1 / math.log2(3) + 0.5
    expected = {
        "hr@10": [1, 1],
        "recall@10": [2 / 3, 1],
        "precision@10": [0.2, 0.1],
        "f1@10": [2 * 0.2 * (2 / 3) / (0.2 + 2 / 3), 2 * 0.1 / 1.1],
        "mrr@10": [1, 0.5],
        "map@10": [(1 + 2 / 3) / 3, 0.5],
        "ndcg@10": [(1 + 0.5) / ideal, 1 / math.log2(3)],
        "recall@2": [1 / 3, 1],
        "map@2": [0.5, 0.5],
        "ndcg@2": [1 / (1 + 1 / math.log2(3)), 1 / math.log2(3)],
    }
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, err_msg=name)


def test_a_perfect_list_scores_one() -> None:
    found = user_metrics(np.arange(1, 8), np.array([0, 7]), [5, 7])
    for name in ("hr@5", "ndcg@5", "precision@5", "mrr@5", "map@5", "recall@7", "f1@7", "map@7"):
        assert found[name] == pytest.approx([1.0]), name


def test_no_users_give_empty_metrics() -> None:
    found = user_metrics(np.zeros(0, np.int64), np.zeros(1, np.int64), [10])
    assert all(values.shape == (0,) for values in found.values())


def test_agrees_with_trec_eval() -> None:
    rng = np.random.default_rng(3)
    num_users, num_items, ks = 40, 60, (5, 10, 20)
    scores = rng.permutation(num_users * num_items).reshape(num_users, num_items).astype(np.float32)
    relevant = [rng.choice(num_items, rng.integers(1, 13), replace=False) for _ in scores]
    indptr = np.concatenate([[0], np.cumsum([len(r) for r in relevant])])
    rows = np.repeat(np.arange(num_users), np.diff(indptr))
    items = np.concatenate(relevant).astype(np.int32)
    ours = user_metrics(full_ranks(scores, rows, items, _keys(num_users)), indptr, ks)
    measures = {f"{m}.5,10,20" for m in ("ndcg_cut", "recall", "P", "map_cut", "success")}
    judged = {f"u{u}": {f"i{i}": 1 for i in relevant[u]} for u in range(num_users)}
    run = {f"u{u}": {f"i{i}": float(s) for i, s in enumerate(scores[u])} for u in range(num_users)}
    theirs = pytrec_eval.RelevanceEvaluator(judged, measures | {"recip_rank"}).evaluate(run)
    same = {"ndcg": "ndcg_cut", "recall": "recall", "precision": "P", "hr": "success"}
    for user in range(num_users):
        found, n = theirs[f"u{user}"], len(relevant[user])
        for k in ks:
            for mine, trec in same.items():
                assert ours[f"{mine}@{k}"][user] == pytest.approx(found[f"{trec}_{k}"])
            # trec_eval divides by all relevant items, also by those that K cannot hold
            assert ours[f"map@{k}"][user] * min(n, k) / n == pytest.approx(found[f"map_cut_{k}"])
            reciprocal = found["recip_rank"] if found["recip_rank"] >= 1 / k else 0.0
            assert ours[f"mrr@{k}"][user] == pytest.approx(reciprocal)


@given(st.integers(0, 10**6), st.integers(2, 30), st.integers(1, 5))
def test_equal_scores_are_ordered_once_and_for_all(seed: int, num_items: int, levels: int) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, levels, (3, num_items)).astype(np.float32)
    rows = np.repeat(np.arange(3), num_items)
    items = np.tile(np.arange(num_items, dtype=np.int32), 3)
    ranks = full_ranks(scores, rows, items, _keys(3)).reshape(3, num_items)
    for user in range(3):  # a full order, consistent with the scores
        assert sorted(ranks[user]) == list(range(1, num_items + 1))
        assert np.all(np.diff(scores[user][np.argsort(ranks[user])]) <= 0)
    k = int(rng.integers(1, num_items + 1))  # lists of the K best follow the same order
    cells = recommended_cells(scores, k, _keys(3))
    np.testing.assert_array_equal(cells, np.flatnonzero(ranks <= k))


def test_lists_are_shorter_where_candidates_are_few() -> None:
    scores = np.array([[1, NO, NO, 2], [7, 7, 7, 7]], np.float32)
    assert len(recommended_cells(scores, 3, _keys(2))) == 2 + 3
    assert recommended_cells(scores[:1], 3, _keys(1)).tolist() == [0, 3]
    assert recommended_cells(scores, 9, _keys(2)).tolist() == [0, 3, 4, 5, 6, 7]


def test_ranks_do_not_depend_on_the_block(monkeypatch: pytest.MonkeyPatch) -> None:
    scores = np.random.default_rng(1).integers(0, 5, (20, 30)).astype(np.float32)
    rows = np.repeat(np.arange(20), 3)
    items = np.tile(np.array([3, 9, 20], np.int32), 20)
    whole = full_ranks(scores, rows, items, _keys(20))
    monkeypatch.setattr("fedrec.evaluation.ranking._CELLS", 60)
    np.testing.assert_array_equal(full_ranks(scores, rows, items, _keys(20)), whole)
