from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from fedrec.data.interactions import Catalogue
from fedrec.models.mf import MatrixFactorisation
from fedrec.models.ncf import build_ncf
from fedrec.models.recommender import RowInput
from fedrec.training.pooled import PREFIX, Pooled


def test_personal_vectors_become_rows() -> None:
    model = Pooled(MatrixFactorisation(3, "squared", explicit=True))
    assert model.personal_vectors == {}
    assert model.row_inputs == (
        RowInput("item", "item"),
        RowInput("item_bias", "item_bias"),
        RowInput("personal/user", "personal/user", "user"),
        RowInput("personal/user_bias", "personal/user_bias", "user"),
    )
    assert {r.entity for r in model.row_inputs[2:]} == {"user"}
    assert not model.pairwise
    assert model.init_personal(np.arange(2), 0).values == {}
    assert Pooled(model.model) == model  # compiled functions are kept by equality
    assert hash(Pooled(model.model)) == hash(model)


@pytest.mark.parametrize("kind", ["logistic", "bpr"])
def test_the_loss_is_the_sum_of_the_users_losses(kind: str) -> None:
    generator = np.random.default_rng(0)

    def normal(*shape: int) -> tf.Tensor:
        return tf.constant(generator.normal(size=shape), tf.float32)

    model = MatrixFactorisation(3, kind)
    rows = {name: normal(5, 3) for name in ("item", "negative")}
    users = normal(5, 3)
    batch = {"label": tf.constant([1.0, 0, 1, 0, 1]), "weight": tf.constant([1.0, 2, 1, 0, 3])}
    pooled = Pooled(model).loss({}, {}, {**rows, PREFIX + "user": users}, batch)
    single = [
        model.loss({}, {"user": users[n : n + 1]}, {k: v[n : n + 1] for k, v in rows.items()},
                   {k: v[n : n + 1] for k, v in batch.items()})
        for n in range(5)
    ]  # fmt: skip
    assert float(pooled) == pytest.approx(float(sum(single)), rel=1e-5)


def test_a_keras_model_pools_without_a_word(recwarn: pytest.WarningsRecorder) -> None:
    """Keras warns of inputs that it does not know."""
    model = Pooled(build_ncf(3, (4,)))
    rows = {r.name: tf.ones((2, 3)) for r in model.row_inputs}
    shared = model.init_shared(Catalogue(np.array(["i0"], object)), 0)
    weights = {name: tf.constant(value) for name, value in shared.weights.items()}
    batch = {"label": tf.ones(2), "weight": tf.ones(2)}
    model.loss(weights, {}, rows, batch)
    assert not [w for w in recwarn if "structure" in str(w.message)]
