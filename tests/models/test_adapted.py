"""Low-rank adapters: the model itself at the start, gradients carried on, nothing else moves."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from fedrec.data.interactions import Catalogue
from fedrec.errors import ModelError
from fedrec.models.adapted import FROZEN, Adapted, adapt
from fedrec.models.head import ScoreHead
from fedrec.models.mf import MatrixFactorisation
from fedrec.models.recommender import Outer, Recommender
from fedrec.models.sasrec import SASRec

ITEMS = Catalogue(np.array([str(n) for n in range(7)], object))
MODELS: dict[str, Recommender] = {
    "logistic": MatrixFactorisation(5, scale=0.5),
    "bpr": MatrixFactorisation(5, "bpr", 0.5),
    "ratings": MatrixFactorisation(5, "squared", 0.5, explicit=True),
    "head": ScoreHead(5, 0.5),
}


def tiles(model: Adapted, *, pooled: bool = False) -> tuple[Any, ...]:
    """Return weights [2, ...], personal [2, 1 or 3, ...], rows [2, 3, d] and a batch [2, 3]."""
    draw = np.random.default_rng(3)

    def normal(*shape: int) -> Any:
        return tf.constant(draw.normal(size=shape).astype(np.float32))

    shared = model.init_shared(ITEMS, 1)
    weights = {n: normal(2, *v.shape) for n, v in shared.weights.items()}
    own = model.init_personal(np.arange(2), 1).values
    personal = {n: normal(2, 3 if pooled else 1, *v.shape[1:]) for n, v in own.items()}
    widths = {n: v.shape[1] for n, v in {**shared.tables, **shared.fixed}.items()}
    rows = {r.name: normal(2, 3, widths[r.table]) for r in model.row_inputs}
    batch = {"label": tf.constant([[1.0, 0, 1], [0, 1, 0]]), "weight": tf.ones((2, 3))}
    return weights, personal, rows, batch


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("rank", [1, 3])
def test_gradients_by_hand_are_those_of_the_loss(name: str, rank: int) -> None:
    model = adapt(MODELS[name], rank)
    weights, personal, rows, batch = tiles(model)
    if model.gradients is None:
        assert name == "head"
        return
    found = model.gradients(weights, personal, rows, batch)
    trained = [r.name for r in model.row_inputs if not r.fixed]
    assert set(trained) <= set(found.rows)
    for tile in range(2):
        one = [{n: v[tile] for n, v in group.items()} for group in (weights, personal, rows, batch)]
        with tf.GradientTape() as tape:
            tape.watch(one)
            loss = model.loss(*one)
        grads = tape.gradient(loss, one, unconnected_gradients="zero")
        assert found.losses[tile].numpy() == pytest.approx(loss.numpy(), rel=1e-5)
        for n in weights:
            assert found.weights[n][tile].numpy() == pytest.approx(grads[0][n].numpy(), abs=1e-4)
        for n in trained:
            rows_of = found.rows[n]
            wide = rows_of.coefficient[..., None] * rows_of.vector
            assert isinstance(rows_of, Outer)
            assert wide[tile].numpy() == pytest.approx(grads[2][n].numpy(), abs=1e-4)


def test_users_of_one_client_have_vectors_of_their_own() -> None:
    model = adapt(MODELS["logistic"], 2)
    weights, personal, rows, batch = tiles(model, pooled=True)
    assert model.gradients is not None
    found = model.gradients(weights, personal, rows, batch).weights["item_basis"]
    for tile in range(2):
        one = [{n: v[tile] for n, v in group.items()} for group in (weights, personal, rows, batch)]
        with tf.GradientTape() as tape:
            tape.watch(one[0])
            loss = model.loss(*one)
        grad = tape.gradient(loss, one[0])["item_basis"]
        assert found[tile].numpy() == pytest.approx(grad.numpy(), abs=1e-4)


@pytest.mark.parametrize("name", MODELS)
def test_it_begins_as_the_model(name: str) -> None:
    plain, model = MODELS[name], adapt(MODELS[name], 2)
    before, shared = plain.init_shared(ITEMS, 1), model.init_shared(ITEMS, 1)
    assert shared.tables["item_adapter"].shape == (7, 2)
    assert not shared.tables["item_adapter"].any()
    assert np.array_equal(shared.fixed["item"], before.tables["item"])
    basis = shared.weights["item_basis"].astype(float)
    assert basis @ basis.T == pytest.approx(np.eye(2), abs=1e-6)
    assert "item" not in shared.tables
    assert ("item_bias" in shared.tables) == (name == "ratings")  # too narrow to be adapted
    personal = {n: v[:1] for n, v in plain.init_personal(np.arange(3), 2).values.items()}
    vectors = {
        r.name: {**shared.tables, **shared.fixed}[r.table]
        for r in model.row_inputs
        if r.field == "item"
    }
    plainly = {r.name: before.tables[r.table] for r in plain.row_inputs if r.field == "item"}
    score = model.score(shared.weights, personal, vectors, np.zeros(0))
    expected = plain.score(before.weights, personal, plainly, np.zeros(0))
    assert score.numpy() == pytest.approx(expected.numpy(), abs=1e-6)


@pytest.mark.parametrize("own", [False, True])
def test_scores_of_many_clients(own: bool) -> None:
    model = adapt(SASRec(4, 6, 2, "logistic", 0.5, 1, 1), 2)
    assert model.scores is not None
    assert model.history_length == 6
    shared = model.init_shared(ITEMS, 1)
    draw = np.random.default_rng(0)
    adapter = draw.normal(size=(3, 7, 2)).astype(np.float32)
    history = tf.constant([[-1, -1, -1, 0, 1, 2], [-1, -1, 1, 2, 3, 6], [0, 1, 2, 3, 4, 5]])
    if not own:
        adapter = adapter[:1].repeat(3, 0)
    weights = {
        n: np.stack([v + 0.1 * own * c for c in range(3)]) for n, v in shared.weights.items()
    }
    frozen = shared.fixed["item"]
    together = model.scores(
        {n: tf.constant(v if own else v[:1]) for n, v in weights.items()},
        {},
        {FROZEN + "item": tf.constant(frozen), "item": tf.constant(adapter if own else adapter[0])},
        history,
    )
    plain = SASRec(4, 6, 2, "logistic", 0.5, 1, 1)
    for c in range(3):
        dense = {n: v[c] for n, v in weights.items() if n != "item_basis"}
        rows = frozen + adapter[c] @ weights["item_basis"][c]
        one = plain.score(dense, {}, {"item": tf.constant(rows)}, history[c])
        assert together[c].numpy() == pytest.approx(one.numpy(), abs=1e-4)


def test_without_adapters_all_is_frozen_and_too_wide_a_rank_is_refused() -> None:
    model = adapt(MODELS["logistic"], 0)
    shared = model.init_shared(ITEMS, 1)
    assert (shared.tables, shared.weights, list(shared.fixed)) == ({}, {}, ["item"])
    assert [r.fixed for r in model.row_inputs] == [True]
    with pytest.raises(ModelError, match=r"adapter_rank = 5: no item table of MatrixF.* item 5"):
        adapt(MODELS["logistic"], 5)
