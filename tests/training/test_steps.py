"""Gradients by hand and factored row changes against the generic path."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from fedrec.models.mf import MatrixFactorisation
from fedrec.models.recommender import Outer
from fedrec.training import local
from fedrec.training.aggregate import partial_sum
from fedrec.training.cohort import CohortUpdate
from fedrec.training.node import Setup, init_personal, init_shared, train_block
from fedrec.training.pooled import PREFIX, Pooled
from fedrec.training.rows import FactoredRows
from tests.training.cohorts import SIZES, random_population, relative, setup_of

EXPLICIT = {"data__feedback": "explicit", "model__loss": "squared"}


@dataclass(frozen=True)
class Generic(MatrixFactorisation):
    """The same model without gradients by hand: it is differentiated."""

    gradients = None  # type: ignore[assignment]
    rank_one = False


def generic(setup: Setup) -> Setup:
    model = setup.model
    assert isinstance(model, MatrixFactorisation)
    twin = Generic(model.dim, model.kind, model.scale, model.explicit, model.rating_range)
    return replace(setup, model=twin)


def updates(setup: Setup) -> CohortUpdate:
    clients = np.arange(setup.population.num_clients)
    return train_block(setup, init_shared(setup), init_personal(setup, clients), clients, 1)[0]


CASES: dict[str, dict[str, Any]] = {
    "logistic": {"train__epochs": 2},
    "one step": {"train__batch": 0},
    "sum": {"train__reduction": "sum", "train__lr": 0.05},
    "bpr": {"model__loss": "bpr"},
    "ratings": EXPLICIT,
    "l2": {"train__l2": 0.1, "model__loss": "bpr"},
    "adam": {"train__optimizer": "adam", **EXPLICIT},
    "fedprox": {"train__method": "fedprox", "train__prox_mu": 0.4, "train__epochs": 2},
    "alternating": {"train__method": "alternating", "model__loss": "bpr"},
    "repeated full batch": {"train__batch": 0, "train__epochs": 3},
}
FACTORED = ("logistic", "one step", "sum", "bpr", "ratings", "alternating", "l2")
RANK_ONE = FACTORED[:-1]  # with l2 a row also moves along itself


@pytest.mark.parametrize("distinct", [True, False])
@pytest.mark.parametrize("name", CASES)
def test_by_hand_equals_the_generic_path(
    name: str, distinct: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether the generic path leaves a vector for each sample or for each row."""
    setup = setup_of(random_population(SIZES, 60, ratings=name in ("ratings", "adam")),
                     **CASES[name])  # fmt: skip
    monkeypatch.setattr(local, "_mostly_distinct", lambda *_: distinct)
    ours, theirs = updates(setup), updates(generic(setup))
    of_samples = distinct and name in FACTORED
    assert isinstance(ours.rows, FactoredRows) == (of_samples or name in RANK_ONE)
    assert isinstance(theirs.rows, FactoredRows) == of_samples
    if isinstance(ours.rows, FactoredRows) and isinstance(theirs.rows, FactoredRows):
        mine, generic_one = (r.factors["item"][0].vector for r in (ours.rows, theirs.rows))
        assert (len(mine) < len(generic_one)) == (name in RANK_ONE)
    assert ours.rows.keys() == theirs.rows.keys()
    for table in theirs.rows:
        assert relative(ours.rows[table], theirs.rows[table]) <= 3e-6
    for weight, value in theirs.weights.items():
        assert relative(ours.weights[weight], value) <= 3e-6
    for vector, value in theirs.personal.values.items():
        assert relative(ours.personal.values[vector], value) <= 1e-6
    assert ours.loss == pytest.approx(theirs.loss, rel=1e-5)
    for exponent in (1.0, 0.0):
        first, second = (partial_sum([u], init_shared(setup), exponent) for u in (ours, theirs))
        for table, rows in second.tables.items():
            assert first.tables[table].ids.tolist() == rows.ids.tolist()
            assert relative(first.tables[table].rows, rows.rows) <= 3e-6
            assert first.row_weight[table] == pytest.approx(second.row_weight[table])
        assert first.metrics == pytest.approx(second.metrics, rel=1e-5)


@pytest.mark.parametrize("kind", ["logistic", "bpr", "squared", "ratings"])
def test_gradients_by_hand_are_those_of_the_loss(kind: str) -> None:
    """Three tiles of two samples, one weighing nothing; by the tape, tile by tile."""
    explicit = kind == "ratings"
    model = MatrixFactorisation(4, "squared" if explicit else kind, 0.3, explicit)
    generator = np.random.default_rng(0)

    def normal(*shape: int) -> Any:
        return tf.constant(generator.normal(size=shape), tf.float32)

    widths = {r.name: 1 if r.name == "item_bias" else 4 for r in model.row_inputs}
    rows = {name: normal(3, 2, width) for name, width in widths.items()}
    personal = {name: normal(3, 1, width) for name, width in model.personal_vectors.items()}
    weights = {"mean": normal(3)} if explicit else {}
    batch = {
        "label": tf.constant([[0.0, 1.0], [1.0, 1.0], [0.0, 0.0]]),
        "weight": tf.constant([[0.5, 2.0], [1.0, 0.0], [0.25, 1.0]]),
    }
    ours = model.gradients(weights, personal, rows, batch)
    for n in range(3):
        one = [{k: v[n] for k, v in part.items()} for part in (weights, personal, rows, batch)]
        with tf.GradientTape() as tape:
            tape.watch(one[:3])
            loss = model.loss(*one)
        exact = tape.gradient(loss, one[:3])
        assert ours.losses[n].numpy() == pytest.approx(loss.numpy(), rel=1e-5)
        for name, grad in exact[2].items():
            outer = ours.rows[name]
            assert isinstance(outer, Outer)
            mine = outer.coefficient[n][:, None] * outer.vector[n]
            assert relative(mine, grad) <= 1e-5
        for name, grad in exact[1].items():
            assert relative(ours.personal[name][n], grad) <= 1e-5
        for name, grad in exact[0].items():
            assert relative(ours.weights[name][n], grad) <= 1e-5


@pytest.mark.parametrize("kind", ["logistic", "bpr", "ratings"])
def test_pooled_gradients_are_those_of_the_pooled_loss(kind: str) -> None:
    explicit = kind == "ratings"
    inner = MatrixFactorisation(4, "squared" if explicit else kind, 0.3, explicit)
    model = Pooled(inner)
    generator = np.random.default_rng(1)
    rows = {}
    for r in model.row_inputs:
        width = 1 if r.name.endswith("bias") else 4
        rows[r.name] = tf.constant(generator.normal(size=(1, 3, width)), tf.float32)
    weights = {"mean": tf.constant([0.3])} if explicit else {}
    batch = {"label": tf.constant([[0.0, 1.0, 1.0]]), "weight": tf.constant([[0.5, 2.0, 0.0]])}
    assert model.gradients is not None
    ours = model.gradients(weights, {}, rows, batch)
    one = [{k: v[0] for k, v in part.items()} for part in (weights, rows, batch)]
    with tf.GradientTape() as tape:
        tape.watch(one[1])
        loss = model.loss(one[0], {}, one[1], one[2])
    exact = tape.gradient(loss, one[1])
    assert ours.losses[0].numpy() == pytest.approx(loss.numpy(), rel=1e-5)
    assert PREFIX + "user" in exact
    for name, grad in exact.items():
        mine = ours.rows[name]
        if isinstance(mine, Outer):
            mine = mine.coefficient[..., None] * mine.vector
        assert relative(mine[0], grad) <= 1e-5
    assert Pooled(generic(setup_of(random_population((2,), 5))).model).gradients is None


def test_factors_of_many_cohorts_are_multiplied_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    from fedrec.training import table_sum

    setup = setup_of(random_population(SIZES, 60))
    shared = init_shared(setup)
    update = updates(setup)
    whole = partial_sum([update, update], shared, 1.0)
    monkeypatch.setattr(table_sum, "_HELD", 1)
    parts = partial_sum([update, update], shared, 1.0)
    assert parts.tables["item"].ids.tolist() == whole.tables["item"].ids.tolist()
    assert parts.tables["item"].rows == pytest.approx(whole.tables["item"].rows, rel=1e-12)
    mixed = partial_sum([update, replace(update, rows=dict(update.rows))], shared, 1.0)
    assert relative(mixed.tables["item"].rows, whole.tables["item"].rows) <= 1e-6
