"""Layers that stay with clients: the model is the same, only who holds its weights changes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fedrec.config import from_flat
from fedrec.data.interactions import Catalogue
from fedrec.errors import ConfigError, ModelError
from fedrec.models.build import build_model
from fedrec.models.localised import Localised
from fedrec.training.node import init_personal, init_shared, train_block
from tests.training.cohorts import population_of, relative, setup_of

ITEMS = Catalogue(np.array(["a", "b", "c"], object))
TWO = population_of([[0, 1], [2, 3, 0], [4, 5, 1, 2], [5]], num_items=7, clients=[0, 0, 1, 1])
BOTH = np.arange(2)
KEYS: dict[str, Any] = {
    "clients__unit": "merchant",
    "model__name": "ncf",
    "model__mlp": "4 3",
    "train__personal_lr": 0.5,  # as the shared rate
}


def localised(layers: str, name: str = "ncf", **keys: Any) -> Localised:
    model = build_model(
        from_flat({"model.name": name, "model.local_layers": layers, "clients.unit": "merchant",
                   "model.dim": 4, "model.mlp": "4 3", "train.method": "fedavg",
                   "data.name": "marketplace", **keys})
    )  # fmt: skip
    assert isinstance(model, Localised)
    return model


@pytest.mark.parametrize(
    ("layers", "own"),
    [
        ("head", ["head/kernel", "head/bias"]),
        ("head/bias", ["head/bias"]),
        ("mlp_*", ["mlp_0/kernel", "mlp_0/bias", "mlp_1/kernel", "mlp_1/bias"]),
        ("head, mlp_1", ["head/kernel", "head/bias", "mlp_1/kernel", "mlp_1/bias"]),
    ],
)
def test_who_holds_what(layers: str, own: list[str]) -> None:
    model = localised(layers)
    shared, whole = model.init_shared(ITEMS, 0), model.model.init_shared(ITEMS, 0)
    personal = model.init_personal(np.arange(3), 0).values
    assert set(whole.weights) - set(shared.weights) == set(own)
    assert set(personal) == {"user_gmf", "user_mlp", *own}
    for name in own:
        assert all(np.array_equal(value, whole.weights[name]) for value in personal[name])


def test_layers_of_the_towers() -> None:
    plain = build_model(from_flat({"model.name": "deepfm", "train.method": "fedavg"}))
    assert Localised(plain, ("deep_0",))._own(["deep_0", "deep_0_bias", "deep_01"]) == [
        "deep_0",
        "deep_0_bias",
    ]


def test_one_merchant_trains_what_it_would_share() -> None:
    """With one rate the losses, rows and layers are those of the model with shared layers."""
    plain, ours = setup_of(TWO, **KEYS), setup_of(TWO, model__local_layers="head mlp_1", **KEYS)
    one = np.array([1])
    expected, other = train_block(plain, init_shared(plain), init_personal(plain, one), one, 1)
    update, personal = train_block(ours, init_shared(ours), init_personal(ours, one), one, 1)
    assert np.allclose(update.loss, expected.loss, rtol=1e-5)
    for table, rows in expected.rows.items():
        assert relative(update.rows[table], rows) < 1e-4
    whole = init_shared(plain).weights
    for name, moved in expected.weights.items():
        if name in update.weights:
            assert relative(update.weights[name], moved) < 1e-4
        else:
            held = personal.values[name]
            assert np.array_equal(held[0], held[1]), "the users of a merchant share its layers"
            assert relative(held[0] - whole[name], moved[0]) < 1e-4
    for name, value in other.values.items():
        assert relative(personal.values[name], value) < 1e-5


def test_merchants_differ_and_send_no_layer() -> None:
    setup = setup_of(TWO, model__local_layers="head", **KEYS)
    update, personal = train_block(setup, init_shared(setup), init_personal(setup, BOTH), BOTH, 1)
    assert not any("head" in name for name in update.weights)
    head = personal.values["head/kernel"]
    assert np.array_equal(head[0], head[1])
    assert np.array_equal(head[2], head[3])
    assert not np.array_equal(head[0], head[2])


@pytest.mark.parametrize("name", ["ncf", "gru4rec", "nextitnet"])
def test_scores_are_those_of_the_model(name: str) -> None:
    layer = {"ncf": "head", "gru4rec": "*kernel*", "nextitnet": "*"}[name]
    loss = {"model.loss": "softmax"} if name != "ncf" else {}
    plain = build_model(from_flat({"model.name": name, "model.dim": 4, "model.mlp": "4 3",
                                   "model.history": 3, "train.method": "fedavg", **loss}))  # fmt: skip
    weights = plain.init_shared(ITEMS, 0).weights
    layer = layer if layer == "head" else next(iter(weights))
    model = Localised(plain, (layer,))
    shared, own = model.init_shared(ITEMS, 0), model.init_personal(np.arange(1), 0).values
    tables = {r.name: shared.tables[r.table] for r in plain.row_inputs if r.field == "item"}
    history = np.array([-1, 0, 2], np.int32)
    values = plain.init_personal(np.arange(1), 0).values
    expected = plain.score(weights, values, tables, history)
    assert np.allclose(model.score(shared.weights, own, tables, history), expected, atol=1e-6)


def test_unknown_layers_and_users_are_refused() -> None:
    with pytest.raises(ModelError, match="names 'hed', and KerasRecommender .* Did you mean"):
        localised("hed").bound(ITEMS, ITEMS)
    with pytest.raises(ModelError, match="MatrixFactorisation has none: leave it out"):
        localised("head", "mf").bound(ITEMS, ITEMS)
    with pytest.raises(ConfigError, match="clients that host many users"):
        from_flat({"model.name": "ncf", "model.local_layers": "head", "train.method": "fedavg"})
