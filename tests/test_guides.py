"""Rows for single clients: who gets which, and what becomes of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedrec.params import Guides, Shared
from fedrec.wire import Moment, TrainRequest


def guides(rows: dict[int, list[int]], value: float) -> Guides:
    """Row i of client c is [value, c, i]."""
    clients = sorted(rows)
    told = [(n, c, i) for n, c in enumerate(clients) for i in sorted(rows[c])]
    table = np.array([[value, c, i] for _, c, i in told], np.float32).reshape(-1, 3)
    owner, ids = np.array([n for n, *_ in told], int), np.array([i for *_, i in told], int)
    return Guides(np.array(clients, np.int64), owner, ids, {"item": table})


def listed(found: Guides) -> dict[int, list[list[float]]]:
    rows = {int(c): [] for c in found.clients}
    for client, row, i in zip(found.client, found.rows["item"], found.ids, strict=True):
        assert row[2] == i
        rows[int(found.clients[client])].append(row.tolist())
    return rows


def test_a_client_gets_its_own_rows() -> None:
    some = guides({2: [0, 5], 3: [], 7: [1]}, 1.0).take(np.array([1, 2, 7, 9]))
    assert listed(some) == {1: [], 2: [[1, 2, 0], [1, 2, 5]], 7: [[1, 7, 1]], 9: []}
    assert some.num_bytes == 3 * (3 * 4 + 4)


def test_who_did_not_train_keeps_its_rows() -> None:
    after = guides({2: [0, 5], 7: [1]}, 1.0).updated(guides({1: [3], 7: [2, 4]}, 2.0))
    assert listed(after) == {1: [[2, 1, 3]], 2: [[1, 2, 0], [1, 2, 5]], 7: [[2, 7, 2], [2, 7, 4]]}


some_rows = st.dictionaries(st.integers(0, 9), st.lists(st.integers(0, 6), unique=True), max_size=6)


@given(some_rows, st.lists(st.integers(0, 9), unique=True))
def test_arrays_and_nodes_lose_nothing(rows: dict[int, list[int]], chosen: list[int]) -> None:
    whole = guides(rows, 1.0)
    assert listed(Guides.from_arrays(whole.arrays())) == listed(whole)
    mine = np.array(sorted(chosen), np.int64)
    rest = np.array([c for c in sorted(rows) if c not in chosen], np.int64)
    both = whole.take(mine).updated(whole.take(rest))
    assert {c: r for c, r in listed(both).items() if c in rows} == listed(whole)


def test_a_message_carries_the_rows_of_its_clients_alone() -> None:
    shared = Shared({"item": np.zeros((6, 3), np.float32)}, guides=guides({1: [3], 2: [0]}, 1.0))
    request = TrainRequest(shared, 1, np.array([2, 4]), Moment("s", 0))
    back = TrainRequest.unpack(request.pack()).shared.guides
    assert back is not None
    assert listed(back) == {2: [[1, 2, 0]], 4: []}
    plain = TrainRequest(Shared(shared.tables), 1, np.array([2]), Moment("s", 0))
    assert TrainRequest.unpack(plain.pack()).shared.guides is None
    assert shared.copy().guides is shared.guides
    assert shared.num_bytes == 6 * 3 * 4


def test_nobody_has_no_rows() -> None:
    none = guides({}, 1.0)
    assert listed(none.take(np.array([3]))) == {3: []}
    assert none.num_bytes == 0
    with pytest.raises(KeyError):
        Guides.from_arrays({})
