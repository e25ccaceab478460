"""Scores on a device are those of the models, and fall apart into the history."""

import numpy as np
import pytest
import tensorflow as tf

from fedrec.models.item_item import ItemItem
from fedrec.models.lightgcn import LightGCN
from fedrec.serving.past import Past
from fedrec.serving.session import Adaptation
from fedrec.serving.sums import GraphSums, ItemItemSums
from fedrec.training.gram import as_table
from fedrec.training.neighbours import similar_items

DRAWN = np.random.default_rng(5)
MET = (np.random.default_rng(1).random((60, 12)) < 0.3).astype(np.float64)
WEIGHTS = DRAWN.normal(size=(12, 12)).astype(np.float32)
NEIGHBOURS = as_table(similar_items(MET.T @ MET, 4, 1.0), 4)
VECTORS = DRAWN.normal(size=(12, 3)).astype(np.float32)


def past(*items: int) -> Past:
    size = len(items)
    return Past(np.array(items, np.int64), np.ones(size, np.float32), np.full(size, -1, np.int8))


CASES = [
    (ItemItem(0, 0, 0.0), WEIGHTS),
    (ItemItem(0, 0, 2.0), WEIGHTS),
    (ItemItem(0, 2, 3.0), WEIGHTS),
    (ItemItem(4, 0, 0.0), NEIGHBOURS),
    (ItemItem(4, 2, 0.0), NEIGHBOURS),
    (LightGCN(3), VECTORS),
]


@pytest.mark.parametrize(("model", "table"), CASES)
def test_as_the_model_scores(model: ItemItem | LightGCN, table: np.ndarray) -> None:
    on_device: Adaptation
    on_device = GraphSums(table) if isinstance(model, LightGCN) else ItemItemSums(model, table)
    met = past(7, 2, 9)
    history = met.items[-2:] if getattr(model, "recent", 0) else met.items
    wanted = model.score({}, {}, {"item": tf.constant(table)}, tf.constant(history, tf.int32))
    found = on_device.scores(None, met)
    assert found == pytest.approx(wanted.numpy(), abs=1e-5)
    shares = on_device.shares(None, met, np.array([0, 5, 11]))
    assert shares.history.sum(1) == pytest.approx(found[[0, 5, 11]], abs=1e-5)
    assert (shares.kind, shares.other) == ("exact", {})
    nothing = on_device.scores(None, past())
    assert nothing.tolist() == [0.0] * 12
