"""A contrast of two masked views of attributes: by hand, in training, and where it is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray

from fedrec.config import from_flat
from fedrec.data.batches import draw_samples
from fedrec.data.interactions import Catalogue
from fedrec.data.views import MASKS
from fedrec.errors import ConfigError, ModelError
from fedrec.models import losses
from fedrec.models.build import build_model
from fedrec.models.recommender import bound
from fedrec.models.two_tower import TwoTower
from fedrec.params import Personal
from fedrec.training.local import train_cohort
from fedrec.training.node import init_personal, init_shared, train_node
from tests.models.test_towers import layers, prepared, scrambled
from tests.training.cohorts import relative

KEYS: dict[str, Any] = {"model__contrast": 0.7, "model__contrast_temperature": 0.4,
                        "model__contrast_mask": 0.4}  # fmt: skip


def contrast_by_hand(first: NDArray, second: NDArray, heat: float) -> NDArray:
    """InfoNCE of items, vectors [L, d] of two views."""
    unit = [s / np.linalg.norm(s, axis=1, keepdims=True) for s in (first, second)]
    near = np.exp(unit[0] @ unit[1].T / heat)
    same = np.diag(near)
    found: NDArray = -0.5 * (np.log(same / near.sum(1)) + np.log(same / near.sum(0)))
    return found


def test_a_contrast_by_hand() -> None:
    """Two items with orthogonal views, one pair of views alike: T = 1.

    The first item's views are alike (cosine 1) and the second's opposite (-1), all others 0:
    log(1 + 1/e) for the first in both directions, log(1 + e) for the second.
    """
    first = tf.constant([[[2.0, 0.0], [0.0, 3.0], [5.0, 5.0]]])
    second = tf.constant([[[1.0, 0.0], [0.0, -1.0], [5.0, 1.0]]])
    found = losses.info_nce(first, second, tf.constant([[1.0, 1.0, 0.0]]), 1.0)[0].numpy()
    assert found == pytest.approx([0.313262, 1.313262, 0.0], abs=1e-5)


@pytest.mark.parametrize("kind", ["logistic", "bpr", "hinge"])
def test_what_is_added_to_a_loss(kind: str) -> None:
    setup = prepared("two-tower", model__loss=kind, **KEYS)
    model = setup.model
    assert isinstance(model, TwoTower)
    shared, personal = scrambled(setup, np.arange(1))
    known = {**model.constants, **shared.tables}
    ids = np.array([3, 8, 1, 3, 8])
    rows = {r.name: tf.constant(known[r.table][ids]) for r in model.row_inputs}
    weights = {n: tf.constant(v) for n, v in shared.weights.items()}
    own = {n: tf.constant(v) for n, v in personal.values.items()}
    masks, takes = np.array([[5, 9], [0, 255], [7, 7]]), [0, 1, 2]
    label = np.array([1.0, 0, 1, 0, 1], np.float32)
    told = label.copy()
    told[takes] += 2 * (1 + masks[:, 0] + MASKS * masks[:, 1])
    weight = np.array([1.0, 2, 1, 1, 0], np.float32)
    found = model.loss(weights, own, rows, {"label": tf.constant(told), "weight": weight})
    without = replace(model, contrast=0.0)
    plain = without.loss(weights, own, rows, {"label": tf.constant(label), "weight": weight})
    features = model.constants["features"][ids[takes]]
    views = [layers(features * model._kept[m], shared.weights, "item_tower") for m in masks.T]
    expected = 0.7 * (weight[takes] @ contrast_by_hand(views[0], views[1], 0.4))
    assert expected > 0.1
    assert float(found - plain) == pytest.approx(expected, rel=1e-4)
    assert model.activations > without.activations


def test_a_step_of_a_cohort_is_the_gradient_of_all_groups() -> None:
    setup = prepared("two-tower", train__batch=0, train__reduction="sum", **KEYS)
    model, chosen = setup.model, np.arange(setup.population.num_clients)
    assert isinstance(model, TwoTower)
    shared, personal = scrambled(setup, chosen)
    samples = draw_samples(setup.population, chosen, 0, 1, setup.method.sampling)
    update = train_cohort(model, shared, personal, samples, setup.method)
    known = {**model.constants, **shared.tables}
    weights = {n: tf.constant(v) for n, v in shared.weights.items()}
    for client in (0, 1, 4):
        own = {n: tf.constant(v[client : client + 1]) for n, v in personal.values.items()}
        with tf.GradientTape() as tape:
            tape.watch(weights)
            total = 0.0
            for at in np.flatnonzero(samples.client == client).reshape(-1, samples.window):
                rows = {r.name: tf.constant(known[r.table][samples.fields[r.field][at]])
                        for r in model.row_inputs}  # fmt: skip
                part = {"label": samples.label[at], "weight": samples.weight[at]}
                total += model.loss(
                    weights, own, rows, {n: tf.constant(v) for n, v in part.items()}
                )
        for name, grad in tape.gradient(total, weights).items():
            step = -setup.config.train.lr * grad.numpy()
            assert relative(update.weights[name][client], step) <= 1e-4, name


def test_other_clients_of_a_cohort_do_not_matter() -> None:
    setup = prepared("two-tower", train__epochs=2, **KEYS)
    chosen = np.arange(setup.population.num_clients)
    shared, personal = scrambled(setup, chosen)
    changes = []
    for clients in (chosen, np.array([1])):
        samples = draw_samples(setup.population, clients, 0, 1, setup.method.sampling)
        own = Personal({n: v[clients] for n, v in personal.values.items()})
        changes.append(train_cohort(setup.model, shared, own, samples, setup.method).weights)
    for name, alone in changes[1].items():
        assert relative(alone[0], changes[0][name][1]) <= 1e-5, name


def test_groups_of_a_merchant_hold_one_users_items() -> None:
    setup = prepared("two-tower", clients=[0, 0, 0, 1, 1, 2, 2, 2], **KEYS)
    samples = draw_samples(setup.population, np.arange(3), 0, 1, setup.method.sampling)
    users = samples.fields["user"].reshape(-1, samples.window)
    assert (users == users[:, :1]).all()
    clients = np.arange(3)
    personal = init_personal(setup, clients)
    total, _ = train_node(setup, init_shared(setup), personal, clients, 1)
    assert all(np.isfinite(v).all() and v.any() for v in total.weights.values())


def test_the_configuration_reaches_the_model() -> None:
    built = build_model(from_flat({"model.name": "two-tower", "model.contrast": 0.2,
                                   "model.contrast_mask": 0.5, "run.seed": 3}))  # fmt: skip
    assert isinstance(built, TwoTower)
    assert (built.contrast, built.temperature, built.mask, built.seed) == (0.2, 0.5, 0.5, 3)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"model.name": "mf"}, "or of an item's attributes: .* two-tower, not for"),
        ({"model.name": "deepfm"}, "two-tower, not for model.name = 'deepfm'"),
        ({"model.item_attributes": ""}, "model.item_attributes = '' names none"),
        ({"train.method": "fedrecon"}, "'fedrecon' cuts in two: set train.method = 'fedavg' or"),
    ],
)
def test_what_has_no_views_is_refused(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        from_flat({"model.name": "two-tower", "model.contrast": 0.1, **keys})


def test_data_without_attributes_have_no_views() -> None:
    model = TwoTower(4, contrast=0.1)
    bare = Catalogue(np.array(["a", "b"], object))
    with pytest.raises(ModelError, match="these data have none: set model.contrast = 0, or name"):
        bound(model, bare, bare)
