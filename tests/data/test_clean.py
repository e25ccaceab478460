from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedrec.data.clean import Rules, clean
from fedrec.data.interactions import Truth
from fedrec.errors import DataError
from tests.data.small_data import dataset, rows_of


def line(data, start: str) -> str:
    return next(text for text in data.account if text.startswith(start))


def test_every_step_is_in_the_account_even_if_it_dropped_nothing():
    cleaned = clean(dataset([(0, 0), (1, 1)], time=[1, 2], rating=[4, 5]), Rules())
    assert cleaned.account == (
        "read: 2 rows",
        "missing user or item: 0 rows dropped",
        "missing ratings: 0 rows, kept (an interaction counts as such)",
        "broken times (missing, unreadable, before 1970, after 2200): 0 rows dropped",
        "automated-looking users: not looked for (data.max_events_per_day = 0)",
        "repeated pairs of user and item: 0 rows dropped, the latest of each kept",
        "k-core: not asked for (data.user_core, data.item_core)",
        "users without any interaction left: 0 of 2 dropped",
        "items without any interaction left: 0 of 2 dropped",
        "kept: 2 rows of 2 users and 2 items",
    )


def test_missing_ids_are_dropped_and_counted():
    raw = dataset([(0, 0), (1, 1), (2, 2)])
    rows = replace(raw.interactions, user=np.array([-1, 1, 2], dtype=np.int32))
    cleaned = clean(replace(raw, interactions=rows), Rules())
    assert rows_of(cleaned) == [("u1", "i1"), ("u2", "i2")]
    assert line(cleaned, "missing user") == "missing user or item: 1 rows dropped"
    assert line(cleaned, "users without") == "users without any interaction left: 1 of 3 dropped"


def test_a_repeated_pair_keeps_its_latest_row_and_of_equal_times_the_later():
    pairs = [(0, 0), (0, 0), (0, 1), (0, 0), (0, 1)]
    cleaned = clean(dataset(pairs, time=[5, 9, 3, 2, 3], rating=[1, 2, 3, 4, 5]), Rules())
    assert rows_of(cleaned) == [("u0", "i0"), ("u0", "i1")]
    assert cleaned.interactions.rating.tolist() == [2, 5]
    assert cleaned.interactions.timestamp.tolist() == [9, 3]


def test_without_times_the_last_row_of_a_pair_is_kept():
    cleaned = clean(dataset([(0, 0), (0, 1), (0, 0)], rating=[1, 2, 3]), Rules())
    assert rows_of(cleaned) == [("u0", "i1"), ("u0", "i0")]
    assert cleaned.interactions.rating.tolist() == [2, 3]


def test_a_repeated_pair_keeps_its_strongest_event():
    pairs = [(0, 0), (0, 0), (0, 1), (0, 0)]
    cleaned = clean(dataset(pairs, time=[1, 2, 3, 4], event=[0, 2, 0, 1]), Rules())
    assert cleaned.interactions.event.tolist() == [0, 2]
    assert cleaned.interactions.timestamp.tolist() == [3, 4]


def test_per_merchant_keeps_a_pair_once_for_each_merchant():
    raw = dataset([(0, 0), (0, 0), (0, 0)], merchant=[0, 1, 1])
    assert len(clean(raw, Rules(per_merchant=True)).interactions) == 2
    assert len(clean(raw, Rules()).interactions) == 1


def test_explicit_drops_missing_and_impossible_ratings():
    pairs = [(0, 0), (0, 1), (0, 2), (0, 3)]
    raw = dataset(pairs, rating=[np.nan, 0, 5, 6])
    cleaned = clean(raw, Rules(explicit=True))
    assert rows_of(cleaned) == [("u0", "i2")]
    assert line(cleaned, "missing ratings") == "missing ratings: 1 rows dropped"
    assert line(cleaned, "ratings outside") == "ratings outside 1 to 5: 2 rows dropped"


def test_implicit_keeps_unrated_rows_unless_a_least_rating_is_asked_for():
    raw = dataset([(0, 0), (0, 1), (0, 2)], rating=[np.nan, 2, 4])
    assert "1 rows, kept" in line(clean(raw, Rules()), "missing ratings")
    cleaned = clean(raw, Rules(min_rating=3))
    assert rows_of(cleaned) == [("u0", "i2")]
    assert line(cleaned, "rated below") == "rated below 3: 1 rows dropped"


def test_broken_times_are_dropped():
    pairs = [(0, n) for n in range(5)]
    cleaned = clean(dataset(pairs, time=[np.nan, -1, np.inf, 1e12, 7]), Rules())
    assert rows_of(cleaned) == [("u0", "i4")]
    assert "4 rows dropped" in line(cleaned, "broken times")


def test_equal_times_are_pointed_out():
    cleaned = clean(dataset([(0, 0), (0, 1)], time=[7, 7]), Rules())
    assert "order of rows decides" in line(cleaned, "times: all equal")


def test_automated_looking_users_are_dropped_with_all_their_rows():
    pairs = [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)]
    day = 86_400
    cleaned = clean(dataset(pairs, time=[0, 1, day, 0, day, 2 * day]), Rules(max_events_per_day=1))
    assert {user for user, _ in rows_of(cleaned)} == {"u1"}
    assert line(cleaned, "automated") == (
        "automated-looking users: 3 rows dropped (1 users over 1 events a day)"
    )


def test_core_is_repeated_until_stable():
    # i2 has one user; without it u2 has one item; without u2 item i1 has two users still
    pairs = [(0, 0), (0, 1), (1, 0), (1, 1), (2, 1), (2, 2)]
    cleaned = clean(dataset(pairs), Rules(user_core=2, item_core=2))
    assert rows_of(cleaned) == [("u0", "i0"), ("u0", "i1"), ("u1", "i0"), ("u1", "i1")]
    assert line(cleaned, "k-core") == "k-core (2 per user, 2 per item): 2 rows dropped"


def test_nothing_left_is_an_error_with_the_account():
    with pytest.raises(DataError, match=r"no interaction is left(.|\n)*k-core \(3 per user"):
        clean(dataset([(0, 0)]), Rules(user_core=3))


@pytest.mark.parametrize(
    ("rules", "words"),
    [(Rules(explicit=True), "data.feedback = 'explicit'"), (Rules(min_rating=3), "min_rating")],
)
def test_rules_about_ratings_need_ratings(rules, words):
    with pytest.raises(DataError, match=words):
        clean(dataset([(0, 0)]), rules)


def test_truth_follows_the_renumbering():
    raw = dataset([(1, 2)])
    truth = Truth(np.arange(2)[:, None], np.arange(3)[:, None], np.arange(3))
    cleaned = clean(replace(raw, truth=truth), Rules())
    assert cleaned.truth.user_vectors.tolist() == [[1]]
    assert cleaned.truth.item_vectors.tolist() == [[2]]
    assert cleaned.truth.item_bias.tolist() == [2]


@given(
    st.lists(
        st.tuples(st.integers(0, 5), st.integers(0, 5), st.integers(0, 3)), min_size=1, max_size=60
    ),
    st.integers(0, 3),
    st.integers(0, 3),
)
def test_cleaned_data_holds_its_promises(rows, user_core, item_core):
    raw = dataset([(u, i) for u, i, _ in rows], time=[float(t) for _, _, t in rows])
    try:
        cleaned = clean(raw, Rules(user_core=user_core, item_core=item_core))
    except DataError:
        return
    pairs = rows_of(cleaned)
    assert len(set(pairs)) == len(pairs)
    assert set(pairs) <= {(f"u{u}", f"i{i}") for u, i, _ in rows}
    assert np.bincount(cleaned.interactions.user).min() >= max(1, user_core)
    assert np.bincount(cleaned.interactions.item).min() >= max(1, item_core)
    assert len(np.unique(cleaned.interactions.user)) == cleaned.num_users
    if not user_core and not item_core:
        assert set(pairs) == {(f"u{u}", f"i{i}") for u, i, _ in rows}
        latest = {(f"u{u}", f"i{i}"): max(t for a, b, t in rows if (a, b) == (u, i))
                  for u, i, _ in rows}  # fmt: skip
        assert dict(zip(pairs, cleaned.interactions.timestamp, strict=True)) == latest


def test_first_of_a_repeated_pair_stands_where_it_came_first_as_it_was():
    pairs = [(0, 0), (0, 0), (0, 1), (0, 0)]
    raw = dataset(pairs, time=[5, 3, 4, 9], event=[2, 0, 1, 2])
    cleaned = clean(raw, Rules(first=True))
    assert cleaned.interactions.timestamp.tolist() == [3, 4]
    assert cleaned.interactions.event.tolist() == [0, 1]  # what came of it later is not known yet
    assert line(cleaned, "repeated").endswith("the first of each kept")


def test_what_comes_later_changes_nothing_before_it_with_first():
    pairs = [(0, 0), (0, 1), (1, 0), (0, 0), (1, 1)]
    rows = clean(dataset(pairs, time=[1, 2, 3, 8, 9]), Rules(first=True)).interactions
    other = clean(dataset(pairs[:3], time=[1, 2, 3]), Rules(first=True)).interactions
    early = rows.timestamp < 8
    assert rows.item[early].tolist() == other.item.tolist()
    assert rows.user[early].tolist() == other.user.tolist()
