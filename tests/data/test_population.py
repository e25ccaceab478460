from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedrec.data.partition import Partition
from fedrec.data.population import build_population, csr, expand
from tests.training.cohorts import population_of


def test_rows_of_users_in_the_order_of_time() -> None:
    population = population_of([[3, 1], [], [2, 0, 3]], [[2], [], [1]], [[0], [4], []])
    assert population.num_users == 3
    assert population.num_items == 5
    assert population.num_clients == 3
    assert population.indptr.tolist() == [0, 2, 2, 5]
    assert population.items.tolist() == [3, 1, 2, 0, 3]
    assert population.labels.tolist() == [1.0] * 5
    assert population.samples_of_client.tolist() == [2, 0, 3]


def test_time_decides_the_order_not_the_rows() -> None:
    population = population_of([[3, 1, 2]])
    rows = population.split.dataset.interactions
    rows.timestamp[:] = [30.0, 10.0, 20.0]
    partition = Partition(population.split.dataset, np.zeros(1, np.int64), 1, ("0",))
    again = build_population(partition, population.split, explicit=False)
    assert again.items.tolist() == [1, 2, 3]


def test_held_out_users_are_those_with_an_item() -> None:
    population = population_of([[3, 1], [2], [2, 0]], [[2], [], [1]], [[0], [4], []])
    valid, test = population.held_out("valid"), population.held_out("test")
    assert valid.users.tolist() == [0, 2]
    assert valid.indptr.tolist() == [0, 1, 2]
    assert valid.items.tolist() == [2, 1]
    assert test.users.tolist() == [0, 1]
    assert test.items.tolist() == [0, 4]
    # seen before validation: training; before the test: training and validation
    assert valid.seen_indptr.tolist() == [0, 2, 3, 5]
    assert valid.seen_items.tolist() == [3, 1, 2, 2, 0]
    assert test.seen_indptr.tolist() == [0, 3, 4, 7]
    assert test.seen_items.tolist() == [3, 1, 2, 2, 2, 0, 1]


def test_labels_are_ratings_only_if_feedback_is_explicit() -> None:
    population = population_of([[3, 1]], [[2]], [[0]], ratings=True)
    assert population.labels.tolist() == [2.0, 3.0]  # 1 + (user + 2 item) mod 5
    assert population.valid.labels.tolist() == [5.0]
    assert population.test.labels.tolist() == [1.0]


def test_a_client_of_many_users() -> None:
    population = population_of([[0, 1], [2], [3, 4, 5]], num_items=9, clients=[1, 0, 1])
    assert population.num_clients == 2
    assert population.users_of(np.array([1])).tolist() == [0, 2]
    assert population.users_of(np.array([0, 1])).tolist() == [0, 1, 2]
    assert population.samples_of_client.tolist() == [1, 5]


@pytest.mark.parametrize(
    ("rows", "expected"), [([], []), ([1], []), ([2, 0], [2, 3, 4, 0, 1]), ([1, 2, 1], [2, 3, 4])]
)
def test_expand(rows: list[int], expected: list[int]) -> None:
    indptr = np.array([0, 2, 2, 5])
    assert expand(indptr, np.array(rows, np.int64)).tolist() == expected


@given(st.lists(st.integers(0, 4), max_size=30))
def test_csr_keeps_all_entries_and_their_order(users: list[int]) -> None:
    indptr, (position,) = csr(np.array(users, np.int64), 5, np.arange(len(users)))
    assert indptr[-1] == len(users)
    for user in range(5):
        mine = position[indptr[user] : indptr[user + 1]]
        assert mine.tolist() == [n for n, u in enumerate(users) if u == user]
