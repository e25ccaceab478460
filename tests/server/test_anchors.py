"""The server's net of attributes: what it follows, what new items get, what a resume needs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fedrec.config import from_flat
from fedrec.data.attributes import to_category
from fedrec.data.interactions import Catalogue
from fedrec.errors import ModelError
from fedrec.params import Shared, SparseRows
from server.aggregation import MeanUpdate
from server.anchors import AnchoredOptimizer

ITEMS = 9
GROUP = np.arange(ITEMS) % 3


def catalogue(**attributes: Any) -> Catalogue:
    return Catalogue(np.array([f"i{n}" for n in range(ITEMS)], object), attributes)


def begun(**keys: Any) -> tuple[AnchoredOptimizer, Shared]:
    flat = {"model.dim": 2, "model.anchor": 0.1, "server.anchor_lr": 0.05,
            "server.table_optimizer": "sgd", "server.table_lr": 1.0, **keys}  # fmt: skip
    shared = Shared({"item": np.zeros((ITEMS, 2), np.float32)}, {}, {"anchor": np.ones((ITEMS, 2))})
    items = catalogue(kind=to_category([f"g{n}" for n in GROUP]))
    return AnchoredOptimizer(from_flat(flat), shared, items), shared


def update(ids: list[int], rows: Any) -> MeanUpdate:
    return MeanUpdate({"item": SparseRows(np.array(ids), np.array(rows, float))}, {}, 1.0)


def test_new_items_get_the_rows_of_their_kind() -> None:
    optimizer, shared = begun()
    targets = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, -1.0]])
    known = list(range(7))  # 7 and 8 are new, of the groups 1 and 2
    after = optimizer.apply(shared, update([*known, 7], [*targets[GROUP[:7]], [0.0, 0.0]]))
    for _ in range(60):
        after = optimizer.apply(after, update(known, np.zeros((7, 2))))
    assert after.tables["item"][:7] == pytest.approx(targets[GROUP[:7]])
    assert after.fixed["anchor"] == pytest.approx(targets[GROUP], abs=0.05)
    assert np.array_equal(after.tables["item"][7:], after.fixed["anchor"][7:])


def test_before_any_change_nothing_is_said() -> None:
    optimizer, shared = begun()
    after = optimizer.apply(shared, update([0, 1], np.zeros((2, 2))))
    assert np.array_equal(after.tables["item"], shared.tables["item"])
    assert np.array_equal(after.fixed["anchor"], shared.fixed["anchor"])


def test_a_resume_goes_on_bit_by_bit() -> None:
    first, shared = begun(**{"server.table_optimizer": "adam"})
    once = first.apply(shared, update([0, 1, 2], np.eye(3)[:, :2]))
    state = {name: value.copy() for name, value in first.state().items()}
    second, _ = begun(**{"server.table_optimizer": "adam"})
    second.restore(state)
    more = update([1, 4], np.ones((2, 2)))
    ours, theirs = first.apply(once.copy(), more), second.apply(once.copy(), more)
    assert np.array_equal(ours.tables["item"], theirs.tables["item"])
    assert np.array_equal(ours.fixed["anchor"], theirs.fixed["anchor"])


def test_items_without_attributes_have_no_anchor() -> None:
    config = from_flat({"model.anchor": 0.1, "data.name": "zipf"})
    with pytest.raises(ModelError, match="the items of 'zipf' have none"):
        AnchoredOptimizer(config, Shared({"item": np.zeros((ITEMS, 2), np.float32)}), catalogue())
