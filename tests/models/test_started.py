"""A shared start of personal parameters: scores, gradients, and models without any."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fedrec.data.interactions import Catalogue
from fedrec.errors import ModelError
from fedrec.models.build import build_model
from fedrec.models.mf import MatrixFactorisation
from fedrec.models.sasrec import SASRec
from fedrec.models.started import Started, with_start
from tests.training.cohorts import configuration

ITEMS = Catalogue(np.array([f"i{n}" for n in range(7)], object))
CLIENTS = np.arange(4)


def started(**keys: Any) -> Started:
    model = build_model(configuration(train__method="fomaml", **keys))
    assert isinstance(model, Started)
    return model


def test_all_clients_begin_where_the_models_first_one_would() -> None:
    model, plain = started(), MatrixFactorisation(5, scale=0.3)
    shared = model.init_shared(ITEMS, 3)
    assert (shared.tables["item"] == plain.init_shared(ITEMS, 3).tables["item"]).all()
    first = plain.init_personal(np.zeros(1, np.int64), 3).values["user"][0]
    assert (shared.weights["start/user"] == first).all()
    assert (model.init_personal(CLIENTS, 3).values["user"] == np.zeros((4, 5))).all()


@pytest.mark.parametrize("name", ["mf", "ncf", "head"])
def test_the_score_is_that_of_the_sum(name: str) -> None:
    import tensorflow as tf

    model = started(model__name=name, model__mlp="8 4")
    shared = model.init_shared(ITEMS, 0)
    generator = np.random.default_rng(0)
    own = {
        n: generator.normal(size=(1, *v.shape[1:])).astype(np.float32)
        for n, v in model.init_personal(CLIENTS, 0).values.items()
    }
    theta = {n: v + shared.weights["start/" + n] for n, v in own.items()}
    rest = {n: v for n, v in shared.weights.items() if not n.startswith("start/")}
    rows = {r.name: tf.constant(shared.tables[r.table]) for r in model.row_inputs}
    history = tf.zeros((0,), tf.int32)
    ours = model.score(shared.weights, own, rows, history)
    assert ours.numpy() == pytest.approx(model.model.score(rest, theta, rows, history).numpy())


@pytest.mark.parametrize("by_gradient", [True, False])
def test_gradients_by_hand_are_those_of_the_loss(by_gradient: bool) -> None:
    import tensorflow as tf

    model = with_start(MatrixFactorisation(3), by_gradient=by_gradient)
    generator = np.random.default_rng(1)

    def of(*shape: int) -> tf.Tensor:
        return tf.constant(generator.normal(size=shape), tf.float32)

    weights, personal, rows = {"start/user": of(3)}, {"user": of(1, 3)}, {"item": of(6, 3)}
    batch = {"label": tf.constant([1.0, 0, 1, 0, 0, 1]), "weight": tf.ones(6)}
    with tf.GradientTape() as tape:
        tape.watch((weights, personal))
        loss = model.loss(weights, personal, rows, batch)
    own, start = tape.gradient(loss, (personal["user"], weights["start/user"]),
                               unconnected_gradients="zero")  # fmt: skip
    tiles = [{n: v[None] for n, v in part.items()} for part in (weights, personal, rows, batch)]
    assert model.gradients is not None
    found = model.gradients(*tiles)
    assert found.losses[0].numpy() == pytest.approx(loss.numpy(), rel=1e-5)
    assert found.personal["user"][0].numpy() == pytest.approx(own.numpy(), rel=1e-5)
    assert found.weights["start/user"][0].numpy() == pytest.approx(start.numpy(), rel=1e-5)
    assert (np.abs(start.numpy()).max() > 0.1) == by_gradient


def test_a_model_without_personal_parameters_has_nothing_to_start() -> None:
    with pytest.raises(ModelError, match="learn where personal parameters start, and SASRec has"):
        with_start(SASRec(4, 5, 1), by_gradient=True)
