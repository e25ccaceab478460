from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from fedrec.data.interactions import Catalogue
from fedrec.models.mf import MatrixFactorisation
from fedrec.models.recommender import RowInput, initial_rows, initial_vectors

ITEMS = Catalogue(np.array(["a", "b", "c"], object))


def test_implicit_feedback_has_one_table_and_one_vector() -> None:
    model = MatrixFactorisation(4)
    shared, personal = model.init_shared(ITEMS, 0), model.init_personal(np.array([3, 5]), 0)
    assert {n: v.shape for n, v in shared.tables.items()} == {"item": (3, 4)}
    assert shared.weights == {}
    assert {n: v.shape for n, v in personal.values.items()} == {"user": (2, 4)}
    assert model.personal_vectors == {"user": 4}
    assert model.row_inputs == (RowInput("item", "item"),)
    values = [*shared.tables.values(), *personal.values.values()]
    assert {v.dtype for v in values} == {np.dtype(np.float32)}


def test_pairs_read_a_second_row_of_the_same_table() -> None:
    model = MatrixFactorisation(4, "bpr")
    assert model.pairwise
    assert model.row_inputs[1] == RowInput("negative", "item", "negative")
    assert model.row_inputs[1].entity == "item"


def test_ratings_have_biases_and_start_in_the_middle_of_their_range() -> None:
    model = MatrixFactorisation(4, "squared", explicit=True, rating_range=(0.0, 10.0))
    shared, personal = model.init_shared(ITEMS, 0), model.init_personal(np.array([3, 5]), 0)
    assert shared.weights["mean"] == 5.0
    assert shared.tables["item_bias"].shape == (3, 1)
    assert personal.values["user_bias"].shape == (2, 1)
    assert model.personal_vectors == {"user": 4, "user_bias": 1}


def score(model: MatrixFactorisation, **personal: list[float]) -> np.ndarray:
    weights = {"mean": tf.constant(3.0)}
    items = {"item": tf.constant([[1.0, 2.0], [0.0, -1.0]]),
             "item_bias": tf.constant([[0.5], [-4.0]])}  # fmt: skip
    own = {name: tf.constant([value]) for name, value in personal.items()}
    return model.score(weights, own, items, tf.zeros((0,), tf.int32)).numpy()


def test_scores_by_hand() -> None:
    assert score(MatrixFactorisation(2), user=[0.5, 0.25]).tolist() == [1.0, -0.25]


def test_ratings_by_hand_are_clipped_to_their_range() -> None:
    """3 + 0.25 + 0.5 + 1 = 4.75; 3 + 0.25 - 4 - 0.25 < 1; and above 5."""
    model = MatrixFactorisation(2, "squared", explicit=True)
    assert score(model, user=[0.5, 0.25], user_bias=[0.25]).tolist() == [4.75, 1.0]
    assert score(model, user=[0.5, 0.25], user_bias=[2.0]).tolist() == [5.0, 1.0]


def test_loss_by_hand() -> None:
    """Rating 3 + 1 + 0.5 - 0.5 = 4 where 5 was given: weight 2 times 1/2."""
    model = MatrixFactorisation(2, "squared", explicit=True)
    loss = model.loss(
        {"mean": tf.constant(3.0)},
        {"user": tf.constant([[1.0, 0.0]]), "user_bias": tf.constant([[0.5]])},
        {"item": tf.constant([[1.0, 7.0]]), "item_bias": tf.constant([[-0.5]])},
        {"label": tf.constant([5.0]), "weight": tf.constant([2.0])},
    )
    assert float(loss) == pytest.approx(1.0)


def test_initial_values_are_addressed() -> None:
    rows = initial_rows(0, 100, 8, 0.5)
    assert (initial_rows(0, 10, 8, 0.5) == rows[:10]).all()
    assert (initial_rows(1, 100, 8, 0.5) != rows).all()
    assert (initial_rows(0, 100, 8, 0.5, table=1) != rows).all()
    assert rows.std() == pytest.approx(0.5, rel=0.1)
    vectors = initial_vectors(0, np.arange(50), 8, 0.5)
    assert (initial_vectors(0, np.array([7, 30]), 8, 0.5) == vectors[[7, 30]]).all()
    assert (initial_vectors(0, np.arange(50), 8, 0.5, position=1) != vectors).all()


def test_models_are_equal_by_value_so_that_compiled_code_is_shared() -> None:
    assert MatrixFactorisation(4, "bpr") == MatrixFactorisation(4, "bpr")
    assert hash(MatrixFactorisation(4)) == hash(MatrixFactorisation(4))
    assert MatrixFactorisation(4) != MatrixFactorisation(5)
