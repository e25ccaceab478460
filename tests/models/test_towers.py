"""Two towers and DeepFM: formulas by hand, gradients, and attributes that stay where they are."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray

from fedrec.data.attributes import to_category, to_number, to_tags
from fedrec.data.batches import draw_samples
from fedrec.data.interactions import Catalogue
from fedrec.data.population import Population
from fedrec.models.attributed import PROFILE
from fedrec.models.deepfm import DeepFM
from fedrec.models.features import Options
from fedrec.models.recommender import bound
from fedrec.models.two_tower import TwoTower
from fedrec.params import Personal, Shared
from fedrec.training.central import train_central
from fedrec.training.local import train_cohort
from fedrec.training.local_only import train_local_only
from fedrec.training.node import Setup, init_personal, init_shared, train_node
from fedrec.training.scoring import make_scorer
from tests.training.cohorts import SIZES, random_population, setup_of, with_sampling

ITEMS, DIM = 40, 4


def catalogues(users: int = len(SIZES)) -> tuple[Catalogue, Catalogue]:
    draw = np.random.default_rng(0)
    genres = [[g for g in "abc" if draw.random() < 0.5] for _ in range(ITEMS)]
    items = {"price": to_number(draw.random(ITEMS)), "genres": to_tags(genres)}
    ages = {"age": to_number(draw.random(users)), "sex": to_category(list("fm" * users)[:users])}
    names = [np.array([f"{n}" for n in range(count)], object) for count in (ITEMS, users)]
    return Catalogue(names[0], items), Catalogue(names[1], ages)


def with_attributes(population: Population) -> Population:
    items, users = catalogues(population.num_users)
    data = replace(population.split.dataset, items=items, users=users)
    return replace(population, split=replace(population.split, dataset=data))


def prepared(name: str, **keys: Any) -> Setup:
    many = "clients" in keys
    chosen = keys.pop("clients", None)
    population = with_attributes(random_population(SIZES, ITEMS, clients=chosen))
    unit = {"clients__unit": "merchant"} if many else {}
    values = {"model__name": name, "model__dim": DIM, "model__tower": "6", **unit, **keys}
    setup = setup_of(population, **values)
    data = population.split.dataset
    return replace(setup, model=bound(setup.model, data.items, data.users))


def layers(x: NDArray, weights: dict[str, NDArray], name: str) -> NDArray:
    hidden = np.maximum(x @ weights[f"{name}_0"] + weights[f"{name}_0_bias"], 0)
    result: NDArray = hidden @ weights[f"{name}_1"] + weights[f"{name}_1_bias"]
    return result


def two_towers(shared: Shared, x: NDArray, q: NDArray, p: NDArray, z: NDArray) -> NDArray:
    item, user = (
        q + layers(x, shared.weights, "item_tower"),
        p + layers(z, shared.weights, "user_tower"),
    )
    result: NDArray = item @ user
    return result


def deepfm(
    shared: Shared, x: NDArray, q: NDArray, p: NDArray, z: NDArray, bias: NDArray
) -> NDArray:
    w = shared.weights
    cut_items, cut_users = [(0, 1), (1, 4)], [(0, 1), (1, 3)]
    items = [x[:, a:b] @ w["features_embedding"][a:b] for a, b in cut_items]
    users = [np.tile(z[a:b] @ w["profile_embedding"][a:b], (len(x), 1)) for a, b in cut_users]
    fields = [np.tile(p, (len(x), 1)), q, *items, *users]
    pairs = sum((a * b).sum(1) for n, a in enumerate(fields) for b in fields[n + 1 :])
    first = bias[:, 0] + x @ w["features_linear"] + z @ w["profile_linear"]
    result: NDArray = first + pairs + layers(np.concatenate(fields, 1), w, "deep")[:, 0]
    return result


def scrambled(setup: Setup, clients: NDArray[np.int64]) -> tuple[Shared, Personal]:
    """Parameters far from 0, biases too; the profiles stay the users' own."""
    draw = np.random.default_rng(1)
    shared, personal = init_shared(setup), init_personal(setup, clients)

    def some(values: dict[str, Any]) -> dict[str, Any]:
        return {n: draw.normal(0, 0.5, v.shape).astype(np.float32) for n, v in values.items()}

    own = some({n: v for n, v in personal.values.items() if n != PROFILE})
    moved = Shared(some(shared.tables), some(shared.weights))
    return moved, Personal({**own, PROFILE: personal.values[PROFILE]})


@pytest.mark.parametrize("name", ["two-tower", "deepfm"])
def test_scores_by_hand(name: str) -> None:
    setup = prepared(name)
    users = np.arange(len(SIZES))
    shared, personal = scrambled(setup, users)
    scores = make_scorer(setup.model, shared, personal, users, setup.population)(users)
    x, q = setup.model.constants["features"], shared.tables["item"]
    assert x.shape == (ITEMS, 4)
    assert personal.values[PROFILE].shape == (len(SIZES), 3)
    for user in users:
        p, z = personal.values["user"][user], personal.values[PROFILE][user]
        if name == "two-tower":
            expected = two_towers(shared, x, q, p, z)
        else:
            expected = deepfm(shared, x, q, p, z, shared.tables["item_bias"])
        assert scores[user] == pytest.approx(expected, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize(
    ("name", "kind"),
    [("two-tower", k) for k in ("logistic", "bpr", "hinge")] + [("deepfm", "logistic")],
)
def test_gradients_of_tiles_are_those_of_the_loss(name: str, kind: str) -> None:
    setup = prepared(name, model__loss=kind)
    model, draw = setup.model, np.random.default_rng(3)
    shared, personal = scrambled(setup, np.arange(2))
    known = {**model.constants, **shared.tables}
    ids = draw.integers(ITEMS, size=(2, 5))
    rows = {r.name: tf.constant(known[r.table][(ids + 7 * (r.field != "item")) % ITEMS])
            for r in model.row_inputs}  # fmt: skip
    batch = {"label": tf.constant(draw.integers(2, size=(2, 5)).astype(np.float32)),
             "weight": tf.constant(draw.random((2, 5)).astype(np.float32))}  # fmt: skip
    weights = {n: tf.constant(np.stack([v, 2 * v])) for n, v in shared.weights.items()}
    own = {n: tf.constant(v)[:, None] for n, v in personal.values.items()}
    found = model.gradients(weights, own, rows, batch)
    for n in range(2):
        wanted = ({k: v[n] for k, v in weights.items()}, {k: v[n] for k, v in own.items()},
                  {k: v[n] for k, v in rows.items()})  # fmt: skip
        with tf.GradientTape() as tape:
            tape.watch(wanted)
            loss = model.loss(*wanted, {k: v[n] for k, v in batch.items()})
        expected = tape.gradient(loss, wanted)
        assert float(found.losses[n]) == pytest.approx(float(loss), rel=1e-5)
        for ours, theirs in zip((found.weights, found.personal, found.rows), expected, strict=True):
            for key, value in ours.items():
                if key == PROFILE:
                    assert not np.any(value)
                else:
                    assert value[n].numpy() == pytest.approx(
                        theirs[key].numpy(), rel=1e-3, abs=1e-5
                    )


def test_the_hinge_loss_by_hand() -> None:
    model = TwoTower(1, kind="hinge", spread=0.5, options=Options(items="", users=""))
    model = model.bound(*catalogues())
    one = {"user": tf.constant([[1.0]])}
    rows = {"item": tf.constant([[0.25], [3.0], [2.0]])}
    batch = {"label": tf.constant([1.0, 1.0, 0.0]), "weight": tf.constant([2.0, 1.0, 1.0])}
    assert float(model.loss({}, one, rows, batch)) == pytest.approx(2 * 0.75 + 0 + 0.5 * 4)


@pytest.mark.parametrize("id_rows", [True, False])
@pytest.mark.parametrize("l2", [0.0, 0.1])
def test_profiles_never_move(id_rows: bool, l2: float) -> None:
    setup = prepared("two-tower", model__id_rows=id_rows, train__l2=l2, train__optimizer="adam")
    clients = np.arange(len(SIZES))
    shared, personal = scrambled(setup, clients)
    samples = draw_samples(setup.population, clients, 0, 1, setup.method.sampling)
    update = train_cohort(setup.model, shared, personal, samples, setup.method)
    assert set(update.rows) == ({"item"} if id_rows else set())
    assert np.array_equal(update.personal.values[PROFILE], personal.values[PROFILE])
    assert not np.array_equal(update.personal.values["user"], personal.values["user"])
    assert all(np.any(v) for v in update.weights.values())


@pytest.mark.parametrize("name", ["two-tower", "deepfm"])
def test_merchants_hold_the_profiles_of_their_users(name: str) -> None:
    setup = prepared(name, clients=[0, 0, 1, 1, 1, 2, 2, 0], train__negatives=2)
    setup = with_sampling(setup, pooled=True)
    clients = np.arange(3)
    shared, personal = init_shared(setup), init_personal(setup, clients)
    total, now = train_node(setup, shared, personal, clients, 1)
    assert np.array_equal(now.values[PROFILE], personal.values[PROFILE])
    assert not np.array_equal(now.values["user"], personal.values["user"])
    assert set(total.tables) == set(shared.tables)


@pytest.mark.parametrize("name", ["two-tower", "deepfm"])
def test_the_centralised_twin_and_clients_alone_learn(name: str) -> None:
    keys = {"central__epochs": 4, "central__lr": 0.02, "central__batch": 64, "local__epochs": 6,
            "local__every": 2, "local__lr": 0.02}  # fmt: skip
    setup = prepared(name, **keys)
    for trained in (train_central(setup), train_local_only(setup)):
        assert trained.history[-1]["loss"] < trained.history[0]["loss"]


def test_attributes_alone_and_no_attributes_at_all() -> None:
    items, users = catalogues()
    bare = TwoTower(DIM).bound(Catalogue(items.ids), Catalogue(users.ids))
    assert bare.constants == {}
    assert bare.personal_vectors == {"user": DIM}
    assert bare.init_shared(items, 0).weights == {}
    alone = TwoTower(DIM, id_rows=False).bound(items, users)
    assert alone.init_shared(items, 0).tables == {}
    assert [r.fixed for r in alone.row_inputs] == [True]
    deep = DeepFM(DIM, (3,)).bound(Catalogue(items.ids), Catalogue(users.ids))
    assert {n: v.shape for n, v in deep.init_shared(items, 0).weights.items()} == {
        "deep_0": (8, 3), "deep_0_bias": (3,), "deep_1": (3, 1), "deep_1_bias": (1,)}  # fmt: skip
