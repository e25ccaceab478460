"""Merchants that join: closed forms by hand, weeks by hand, and nothing of them in the sums."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from fedrec.coldstart.merchants import (
    MERCHANT_STRATEGIES,
    SharedWeights,
    mixed,
    own_rows,
    own_weights,
    shared_weights,
)
from fedrec.coldstart.weeks import WEEK, Trade, among, month, trade_of
from fedrec.data.interactions import Catalogue, Dataset, Interactions
from fedrec.errors import ConfigError, DataError
from fedrec.training.ease import ease_weights, gram_matrix

ITEMS = 9


def drawn(seed: int, number: int) -> sp.csr_matrix:
    rng = np.random.default_rng(seed)
    return sp.csr_matrix((rng.random((number, ITEMS)) < 0.3).astype(np.float32))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**20), st.floats(0.5, 200.0))
def test_alone_it_is_ease_of_its_own_rows(seed: int, ridge: float) -> None:
    rows, asked = drawn(seed, 7), drawn(seed + 1, 4)
    found = own_weights(own_rows(rows), ridge).scores(asked)
    expected = asked @ ease_weights(gram_matrix(rows), ridge)
    assert found == pytest.approx(expected, abs=1e-5)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**20), st.floats(0.5, 200.0))
def test_fine_tuning_is_the_least_squares_that_it_says(seed: int, pull: float) -> None:
    """Column by column: own rows, the distance from the start, and a zero diagonal."""
    rows, others, asked = drawn(seed, 7), drawn(seed + 1, 30), drawn(seed + 2, 4)
    start = shared_weights(gram_matrix(others), 30, 5.0)
    found = own_weights(own_rows(rows), pull, start).scores(asked)
    x, expected = rows.toarray().astype(np.float64), np.zeros((ITEMS, ITEMS))
    for item in range(ITEMS):
        free = np.delete(np.arange(ITEMS), item)
        left = x[:, free].T @ x[:, free] + pull * np.eye(ITEMS - 1)
        right = x[:, free].T @ x[:, item] + pull * start.weights[free, item]
        expected[free, item] = np.linalg.solve(left, right)
    assert found == pytest.approx(asked @ expected, abs=1e-5)


def test_popularity_decides_where_nothing_else_does() -> None:
    rows = sp.csr_matrix(np.array([[1, 1, 0], [0, 1, 0]], np.float32))
    nobody = sp.csr_matrix((1, 3), dtype=np.float32)
    assert own_weights(own_rows(rows), 1.0).scores(nobody)[0].tolist() == pytest.approx(
        [0.5e-6, 1e-6, 0.0]
    )
    start = SharedWeights(np.zeros((3, 3), np.float32), np.array([0.0, 0.0, 1.0], np.float32))
    tuned = own_weights(own_rows(rows), 2.0, start)  # two customers, and two of the others
    assert tuned.rates.tolist() == pytest.approx([0.25, 0.5, 0.5])
    assert shared_weights(np.diag([3.0, 1.0]), 4, 1.0).rates.tolist() == [0.75, 0.25]


def test_a_strong_pull_is_the_start_and_a_mixture_lies_between() -> None:
    start = shared_weights(gram_matrix(drawn(3, 30)), 30, 5.0)
    asked, own = drawn(4, 4), own_rows(drawn(5, 7))
    assert own_weights(own, 1e8, start).scores(asked) == pytest.approx(
        start.scores(asked), abs=1e-4
    )
    one, other = np.full((1, 2), 4.0, np.float32), np.zeros((1, 2), np.float32)
    assert mixed(one, other, 0.25).tolist() == [[1.0, 1.0]]
    with pytest.raises(ConfigError, match="a pull above 0"):
        own_weights(own, 0.0)


def test_each_strategy_says_what_leaves() -> None:
    assert list(MERCHANT_STRATEGIES) == ["own", "federated", "fine-tuned", "mixture", "similar"]
    assert not MERCHANT_STRATEGIES["own"].downloads
    assert all("leaves" in s.privacy for s in MERCHANT_STRATEGIES.values())


def raw(rows: list[tuple[int, int, int, float]]) -> Dataset:
    """Rows of (user, item, merchant, week)."""
    user, item, merchant, week = (np.array(column) for column in zip(*rows, strict=True))
    found = Interactions(
        user.astype(np.int32), item.astype(np.int32), None, 1e9 + WEEK * week.astype(np.float64),
        merchant.astype(np.int32),
    )  # fmt: skip
    names = [np.array([f"{w}{n}" for n in range(ITEMS)], object) for w in "ium"]
    return Dataset("made", found, Catalogue(names[0]), Catalogue(names[1]), Catalogue(names[2]))


ROWS = [
    (0, 0, 1, 0.0), (0, 0, 1, 8.5), (0, 1, 1, 2.0), (0, 2, 1, 8.9), (1, 3, 1, 6.0),
    (1, 3, 0, 6.0), (1, 4, 1, 8.2), (2, 5, 2, 1.0), (-1, 5, 1, 1.0), (0, -1, 1, 1.0),
]  # fmt: skip


def test_weeks_by_hand() -> None:
    trade = trade_of(raw(ROWS), biggest=2)
    assert trade.num_customers == 3  # two of merchant 1, which is the biggest, one of merchant 0
    assert trade.owner.tolist() == [0, 0, 1]
    assert trade.person.tolist() == [0, 1, 1]
    begin, end = month(trade, 0, weeks=1)
    assert (begin, end) == (trade.end - WEEK, trade.end)
    assert trade.rows(0, -np.inf, begin).toarray()[:, :5].tolist() == [
        [1, 1, 0, 0, 0],
        [0, 0, 0, 1, 0],
    ]
    assert trade.rows(0, begin - 2 * WEEK, begin).toarray()[:, :5].tolist() == [
        [0, 0, 0, 0, 0],
        [0, 0, 0, 1, 0],
    ]
    asked = trade.asked(0, begin, end)
    assert asked.users.tolist() == [0, 1]
    assert asked.items.tolist() == [2, 4]  # item 0 again is nothing new
    seen = [asked.seen_items[slice(*asked.seen_indptr[u : u + 2])].tolist() for u in range(3)]
    assert [sorted(items) for items in seen] == [[0, 1], [3], []]
    assert np.flatnonzero(trade.on_sale(0)).tolist() == [0, 1, 2, 3, 4]  # weeks to come as well
    assert np.flatnonzero(trade.on_sale(1)).tolist() == [3]
    with pytest.raises(DataError, match="merchant 1 sells nobody anything new"):
        trade.asked(1, begin, end)
    with pytest.raises(DataError, match="with merchants and times"):
        trade_of(replace(raw(ROWS), interactions=replace(raw(ROWS).interactions, timestamp=None)))


def test_what_is_not_on_sale_comes_last_by_hand() -> None:
    scores = np.array([[3.0, 1.0, -2.0], [0.0, 0.0, 5.0]], np.float32)
    found = among(scores, np.array([True, False, True]))
    assert found.tolist() == [[3.0, -5.0, -2.0], [0.0, -1.0, 5.0]]
    assert among(scores, np.ones(3, bool)).tolist() == scores.tolist()


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**20))
def test_a_newcomer_and_the_future_touch_no_sum_of_the_others(seed: int) -> None:
    """Whatever merchant 0 does, and whatever anybody does later, the others' rows stay."""
    rng = np.random.default_rng(seed)

    def some(merchant: int, first: float, last: float) -> list[tuple[int, int, int, float]]:
        return [(int(rng.integers(ITEMS)), int(rng.integers(ITEMS)), merchant, first
                 + (last - first) * float(rng.random())) for _ in range(12)]  # fmt: skip

    kept = [*some(1, 0.0, 8.0), *some(2, 0.0, 8.0)]
    begin = 1e9 + 8.0 * WEEK
    worlds: list[Trade] = [
        trade_of(raw([*some(0, 0.0, 8.0), *kept, *some(1, 8.0, 9.0), *some(2, 8.0, 9.0)]))
        for _ in range(2)
    ]
    for merchant in ("m1", "m2"):
        grams, customers = [], []
        for trade in worlds:
            assert trade.dataset.merchants is not None
            place = list(trade.dataset.merchants.ids).index(merchant)
            rows = trade.rows(place, -np.inf, begin)
            grams.append(gram_matrix(rows))
            customers.append(int((np.diff(rows.indptr) > 0).sum()))
        assert np.array_equal(*grams)
        assert customers[0] == customers[1]
