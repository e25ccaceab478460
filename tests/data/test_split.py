from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedrec.data.clean import Rules, clean
from fedrec.data.interactions import Catalogue
from fedrec.data.split import by_time, from_latest, split, split_hash
from fedrec.data.synthetic import make_marketplace
from fedrec.errors import DataError
from tests.data.small_data import config, dataset, rows_of

PROTOCOLS = ("leave-last-out", "time", "cold-users", "cold-items")


def pairs(data, index):
    return [rows_of(data)[row] for row in index]


def test_leave_last_out_by_hand():
    # u0 rates i0..i3 at 4, 2, 3, 1; u1 has two interactions; u2 has three of equal time
    rows = [(0, 0), (1, 0), (0, 1), (2, 0), (0, 2), (1, 1), (0, 3), (2, 1), (2, 2)]
    data = dataset(rows, time=[4, 5, 2, 7, 3, 6, 1, 7, 7])
    done = split(data, config())
    assert pairs(data, done.test) == [("u0", "i0"), ("u2", "i2")]
    assert pairs(data, done.valid) == [("u0", "i2"), ("u2", "i1")]
    assert pairs(data, done.train) == [
        ("u1", "i0"), ("u0", "i1"), ("u2", "i0"), ("u1", "i1"), ("u0", "i3"),
    ]  # fmt: skip
    assert done.notes[0].startswith("1 of 3 users have fewer than 3 interactions")
    assert done.notes[1].startswith("1 of 2 evaluated users have equal times")
    assert done.notes[2].startswith("2 held-out interactions are with items that never occur")


def test_without_times_the_order_of_rows_is_the_time():
    data = dataset([(0, 2), (0, 0), (0, 1)])
    done = split(data, config())
    assert pairs(data, done.test) == [("u0", "i1")]
    assert pairs(data, done.valid) == [("u0", "i0")]


def test_from_latest_counts_backwards():
    place, length = from_latest(dataset([(0, 0), (1, 0), (0, 1)], time=[9, 1, 5]).interactions)
    assert place.tolist() == [0, 0, 1]
    assert length.tolist() == [2, 1, 2]


def test_by_time_cuts_at_quantiles():
    data = dataset([(0, n) for n in range(10)], time=list(range(100, 110)))
    labels, notes = by_time(data.interactions, 0.2)
    assert labels.tolist() == [0] * 6 + [1] * 2 + [2] * 2
    assert notes == ["cut at time 105 (validation) and 107 (test)."]


def test_by_time_leaves_strangers_out_and_says_so():
    train, valid = [(0, 0), (0, 1), (1, 1), (1, 2)], [(0, 2), (2, 0), (1, 5)]
    data = dataset([*train, *valid, (1, 0), (3, 1), (0, 4)], time=list(range(10)))
    done = split(data, config(split__protocol="time", split__fraction=0.3))
    assert pairs(data, done.train) == [(f"u{u}", f"i{i}") for u, i in train]
    assert pairs(data, done.valid) == [("u0", "i2")]
    assert pairs(data, done.test) == [("u1", "i0")]
    assert done.notes[1].startswith("4 held-out interactions of users or items that never occur")


@pytest.mark.parametrize(("protocol", "column"), [("cold-users", "user"), ("cold-items", "item")])
def test_cold_entities_never_occur_in_training(protocol, column):
    data = clean(make_marketplace(60, 40, 2, 20.0), Rules())
    done = split(data, config(split__protocol=protocol, split__fraction=0.2))
    codes = getattr(data.interactions, column)
    train, valid, test = (set(codes[part]) for part in (done.train, done.valid, done.test))
    assert not train & valid
    assert not train & test
    assert not valid & test
    number = data.num_users if column == "user" else data.num_items
    assert len(test) == pytest.approx(0.2 * number, abs=2)
    other = split(data, config(split__protocol=protocol, split__fraction=0.2, split__seed=1))
    assert other.split_hash != done.split_hash


def test_repeated_pairs_are_refused():
    with pytest.raises(DataError, match="1 repeated pairs of user and item"):
        split(dataset([(0, 0), (0, 1), (0, 0)]), config())


def test_too_little_data_is_said():
    with pytest.raises(DataError, match="no interaction is left for validation"):
        split(dataset([(0, 0), (1, 1)]), config())
    with pytest.raises(DataError, match="at least 3 users, the data has 2"):
        split(dataset([(0, 0), (1, 1)]), config(split__protocol="cold-users"))


def test_the_hash_sees_content_not_numbering():
    data = dataset([(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)])
    done = split(data, config())
    swapped = replace(
        data,
        interactions=replace(data.interactions, user=(1 - data.interactions.user).astype(np.int32)),
        users=Catalogue(data.users.ids[::-1].copy()),
    )
    assert split(swapped, config()).split_hash == done.split_hash
    moved = split_hash(data, done.valid, done.train, done.test)
    assert moved != done.split_hash
    renamed = replace(data, users=Catalogue(np.array(["u0", "u9"], dtype=object)))
    assert split(renamed, config()).split_hash != done.split_hash


many_rows = st.sets(st.tuples(st.integers(0, 6), st.integers(0, 9)), min_size=12, max_size=50).map(
    sorted
)


@given(many_rows, st.randoms(use_true_random=False), st.sampled_from(PROTOCOLS))
def test_the_order_of_rows_does_not_matter_with_distinct_times(rows, random, protocol):
    # every user and item occurs, so that both orders number them alike
    rows = [(n, n) for n in range(10)] + [row for row in rows if row[0] != row[1]]
    times = random.sample(range(1000), len(rows))
    order = random.sample(range(len(rows)), len(rows))
    first = dataset(rows, time=times)
    second = dataset([rows[n] for n in order], time=[times[n] for n in order])
    setting = config(split__protocol=protocol)
    try:
        done = split(first, setting)
    except DataError:
        with pytest.raises(DataError):
            split(second, setting)
        return
    assert split(second, setting).split_hash == done.split_hash


@given(many_rows, st.sampled_from(PROTOCOLS))
def test_parts_are_disjoint_and_within_the_data(rows, protocol):
    rows = [(n, n) for n in range(10)] + [row for row in rows if row[0] != row[1]]
    data = dataset(rows)
    try:
        done = split(data, config(split__protocol=protocol))
    except DataError:
        return
    joined = np.concatenate([done.train, done.valid, done.test])
    assert len(np.unique(joined)) == len(joined) <= len(rows)
    if protocol == "leave-last-out":
        assert len(joined) == len(rows)
        counts = np.bincount(data.interactions.user)
        assert len(done.test) == len(done.valid) == (counts >= 3).sum()
        for user in np.unique(data.interactions.user[done.test]):
            latest = np.flatnonzero(data.interactions.user == user)[-2:]
            assert latest[0] in done.valid
            assert latest[1] in done.test
