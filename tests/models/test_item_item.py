"""Scores of item-item models by hand."""

from __future__ import annotations

import numpy as np
import pytest

from fedrec.config import from_flat
from fedrec.data.interactions import Catalogue
from fedrec.errors import ModelError
from fedrec.models.build import build_model
from fedrec.models.item_item import ItemItem
from fedrec.params import Personal, Shared
from fedrec.training.scoring import histories, make_scorer
from tests.training.cohorts import population_of

USERS = population_of([[0, 2], [1], [], [2, 1, 0]], num_items=3)
EVERYONE = np.arange(4)


def scores(model: ItemItem, table: list[list[float]]) -> np.ndarray:
    shared = Shared({"item": np.array(table, np.float32)})
    return make_scorer(model, shared, Personal({}), EVERYONE, USERS)(EVERYONE)


def test_weights_of_the_items_that_a_user_met_add_up() -> None:
    found = scores(ItemItem(), [[0, 1, 2], [3, 0, 4], [5, 6, 0]])
    assert found.tolist() == [[5, 7, 2], [3, 0, 4], [0, 0, 0], [8, 7, 6]]


def test_neighbours_count_if_the_user_met_them() -> None:
    # item 0 is like 1 (.5) and 2 (.25), item 1 like 0 alone, item 2 like 1
    table = [[1, 2, 0.5, 0.25], [0, 0, 0.5, 0], [1, 0, 0.125, 0]]
    found = scores(ItemItem(neighbours=2), table)
    assert found[0].tolist() == [0.25, 0.5, 0]
    assert found[1].tolist() == [0.5, 0, 0.125]
    assert found[2].tolist() == [0, 0, 0]


def test_recent_items_alone_can_be_scored_with() -> None:
    found = scores(ItemItem(recent=1), [[0, 1, 2], [3, 0, 4], [5, 6, 0]])
    assert found.tolist() == [[5, 6, 0], [3, 0, 4], [0, 0, 0], [0, 1, 2]]


def test_what_was_met_of_late_counts_more() -> None:
    """With decay 1 / ln 2 an item counts half for each interaction since."""
    found = scores(ItemItem(decay=1 / np.log(2)), [[0, 1, 2], [3, 0, 4], [5, 6, 0]])
    # user 0 met 0, then 2; user 3 met 2, 1 and 0, which count 1/4, 1/2 and 1
    assert found[0] == pytest.approx([5, 6.5, 1])
    assert found[1] == pytest.approx([3, 0, 4])
    assert found[3] == pytest.approx([0.25 * 5 + 0.5 * 3, 0.25 * 6 + 1, 0.5 * 4 + 2])


def test_the_whole_history_is_read() -> None:
    assert histories(USERS, EVERYONE, ItemItem()).tolist() == [
        [-1, 0, 2], [-1, -1, 1], [-1, -1, -1], [2, 1, 0],
    ]  # fmt: skip


def test_nothing_is_received_before_it_is_solved() -> None:
    model = ItemItem()
    shared = model.init_shared(Catalogue(np.array(list("abc"), object)), 0)
    assert shared.tables["item"].shape == (3, 0)
    assert shared.num_bytes == 0
    assert model.init_personal(EVERYONE, 0).values == {}
    with pytest.raises(ModelError, match="is solved, not trained"):
        model.loss({}, {}, {}, {})


def test_it_is_built_from_the_configuration() -> None:
    keys = {"model.name": "item-item", "train.rounds": 1, "model.recent": 3, "baseline.knn_k": 9}
    assert build_model(from_flat({**keys, "train.method": "ease"})) == ItemItem(0, 3)
    recent = {**keys, "train.method": "ease", "baseline.ease_decay": 2.5}
    assert build_model(from_flat(recent)) == ItemItem(0, 3, 2.5)
    assert build_model(from_flat({**keys, "train.method": "item-knn"})) == ItemItem(9, 3)
