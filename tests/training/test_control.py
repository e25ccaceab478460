"""SCAFFOLD against its algorithm, written out in numpy for two merchants and two steps."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedrec.errors import ConfigError
from fedrec.params import Personal
from fedrec.training.control import (
    TABLE,
    WEIGHT,
    drift_of,
    settled,
    unsettled,
    with_controls,
    with_own_controls,
    without_controls,
    zero_controls,
)
from fedrec.training.node import Setup, block_samples, init_personal, init_shared, train_block
from tests.training.cohorts import population_of, random_population, relative, setup_of

MERCHANTS: dict[str, Any] = {
    "clients__unit": "merchant",
    "server__weighting": "equal",
    "train__batch": 0,
    "train__epochs": 2,
    "train__lr": 0.4,
    "train__personal_lr": 0.3,
}
TWO = population_of([[0, 1], [2, 3, 0], [4, 5, 1, 2], [5]], num_items=7, clients=[0, 0, 1, 1])
BOTH = np.arange(2)


def begun(setup: Setup, count: int) -> tuple[Any, Personal]:
    """What server and clients hold before the first round."""
    shared = init_shared(setup)
    personal = init_personal(setup, np.arange(count))
    return with_controls(shared), with_own_controls(personal, shared, count)


def scaffold(setup: Setup, rounds: int, count: int = 2) -> tuple[Any, Personal]:
    """All clients in every round; the server takes the mean of both sums."""
    shared, personal = begun(setup, count)
    for number in range(1, rounds + 1):
        update, personal = train_block(setup, shared, personal, np.arange(count), number)
        shared = averaged(shared, update, count)
    return shared, personal


def averaged(shared: Any, update: Any, count: int) -> Any:
    """The parameters after the mean of `count` updates."""
    tables = {}
    for name, table in shared.tables.items():
        moved, index = np.zeros(table.shape), update.index[name]
        np.add.at(moved, index.ids, update.rows[name])
        tables[name] = (table + moved / count).astype(np.float32)
    weights = {n: v + update.weights[n].mean(0) for n, v in shared.weights.items()}
    return replace(shared, tables=tables, weights=weights)


def gradients(samples: Any, client: int, items: np.ndarray, users: np.ndarray) -> Any:
    """The mean logistic gradient of a merchant's samples: of all items and of all users."""
    of_items, of_users = np.zeros_like(items), np.zeros_like(users)
    mine = np.flatnonzero(samples.client == client)
    for n in mine:
        user, item = samples.fields["user"][n], samples.fields["item"][n]
        error = 1 / (1 + np.exp(-users[user] @ items[item])) - samples.label[n]
        of_items[item] += error * users[user] / len(mine)
        of_users[user] += error * items[item] / len(mine)
    return of_items, of_users


def algorithm_1(setup: Setup, rounds: int, steps: int) -> tuple[np.ndarray, ...]:
    """Karimireddy et al., option II, in float64: x, c, c_i and users' vectors in the end."""
    x = init_shared(setup).tables["item"].astype(np.float64)
    users = init_personal(setup, BOTH).values["user"].astype(np.float64)
    c, own = np.zeros_like(x), np.zeros((2, *x.shape))
    rate, slow = setup.config.train.lr, setup.config.train.personal_lr
    for number in range(1, rounds + 1):
        samples = block_samples(setup, BOTH, number)
        moved, changed = np.zeros_like(x), np.zeros_like(x)
        for i in BOTH:
            y = x.copy()
            for _ in range(steps):
                of_items, of_users = gradients(samples, i, y, users)
                y = y - rate * (of_items - own[i] + c)
                users = users - slow * of_users
            new = own[i] - c + (x - y) / (steps * rate)
            moved, changed = moved + (y - x) / 2, changed + (new - own[i]) / 2
            own[i] = new
        x, c = x + moved, c + changed
    return x, c, own, users


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_two_merchants_are_algorithm_1(steps: int) -> None:
    keys = {**MERCHANTS, "train__epochs": steps}
    setup = setup_of(TWO, train__method="scaffold", **keys)
    shared, personal = scaffold(setup, 3)
    x, c, own, users = algorithm_1(setup, 3, steps)
    start = init_shared(setup).tables["item"]
    assert relative(shared.tables["item"] - start, x - start) < 1e-5
    assert relative(shared.weights[TABLE + "item"], c) < 1e-5
    assert relative(personal.own[TABLE + "item"], own) < 1e-5
    assert relative(personal.values["user"], users) < 1e-5


def test_numbers_by_hand() -> None:
    """One row of one element: x = 0, c_1 = 1, c_2 = -1, c = 0 go along g - c_i."""
    control = {TABLE + "item": np.zeros((1, 1), np.float32)}
    own = {TABLE + "item": np.array([[[1.0]], [[-1.0]]], np.float32)}
    drift = drift_of(control, own)
    assert drift.tables["item"].ravel().tolist() == [-1.0, 1.0]
    assert drift.weights == {}


def test_rows_without_samples_move_by_c_alone() -> None:
    setup = setup_of(TWO, train__method="scaffold", **MERCHANTS)
    shared, personal = begun(setup, 2)
    c = shared.weights[TABLE + "item"]
    c[6] = 1.0
    update, new = train_block(setup, shared, personal, BOTH, 1)
    rows, met = update.rows["item"].reshape(2, 7, -1), block_samples(setup, BOTH, 1)
    for client in BOTH[[6 not in met.fields["item"][met.client == i] for i in BOTH]]:
        assert np.allclose(rows[client, 6], -2 * 0.4 * 1.0)  # two steps of the rate
        assert np.allclose(new.own[TABLE + "item"][client, 6], 0.0, atol=1e-6)


@pytest.mark.parametrize("model", ["mf", "ncf", "sasrec"])
def test_the_first_round_is_that_of_fedavg(model: str) -> None:
    keys = {**MERCHANTS, "train__batch": 8, "model__name": model, "model__mlp": "4",
            "model__loss": "softmax" if model == "sasrec" else "logistic",
            "model__dim": 4, "model__heads": 1, "model__layers": 1}  # fmt: skip
    plain = setup_of(TWO, train__method="fedavg", **keys)
    ours = setup_of(TWO, train__method="scaffold", **keys)
    expected, _ = train_block(plain, init_shared(plain), init_personal(plain, BOTH), BOTH, 1)
    update, _ = train_block(ours, *begun(ours, 2), BOTH, 1)
    for table, index in expected.index.items():
        whole = np.array(update.rows[table]).reshape(2, 7, -1)
        assert relative(whole[index.client, index.ids], expected.rows[table]) < 1e-5
        whole[index.client, index.ids] = 0.0
        assert not whole.any()
    for name, value in expected.weights.items():
        assert relative(update.weights[name], value) < 1e-4
    assert np.allclose(update.loss, expected.loss, rtol=1e-5)


@pytest.mark.parametrize("model", ["mf", "ncf"])
def test_with_one_local_step_it_is_fedavg(model: str) -> None:
    """The corrections add up to nothing: the mean of c_i is c."""
    keys = {**MERCHANTS, "train__epochs": 1, "model__name": model, "model__mlp": "4"}
    ours = setup_of(TWO, train__method="scaffold", **keys)
    plain = setup_of(TWO, train__method="fedavg", **keys)
    shared, personal = scaffold(ours, 4)
    expected, own = init_shared(plain), init_personal(plain, BOTH)
    for number in range(1, 5):
        update, own = train_block(plain, expected, own, BOTH, number)
        expected = averaged(expected, update, 2)
    start = init_shared(plain)
    for name, value in expected.tables.items():
        moved = value - start.tables[name]
        assert relative(shared.tables[name] - start.tables[name], moved) < 1e-4
    for name, value in expected.weights.items():
        moved = value - start.weights[name]
        assert relative(shared.weights[name] - start.weights[name], moved) < 1e-4
    for name, value in own.values.items():
        assert relative(personal.values[name], value) < 1e-5


def test_c_is_the_mean_and_each_c_i_the_mean_gradient() -> None:
    sizes = (9, 3, 5, 1, 7, 2)
    population = random_population(sizes, 20, clients=[0, 0, 1, 2, 2, 2])
    keys = {**MERCHANTS, "train__batch": 5, "model__name": "ncf", "model__mlp": "4"}
    setup = setup_of(population, train__method="scaffold", **keys)
    shared, personal = scaffold(setup, 3, 3)
    for name, control in without_controls(shared)[1].items():
        own = personal.own[name]
        assert np.allclose(own.mean(0), control, atol=1e-5)
        assert relative(own[0], own[1]) > 1e-3, "unlike merchants have unlike gradients"
    assert {n.startswith((TABLE, WEIGHT)) for n in personal.own} == {True}


@given(scale=st.floats(0.1, 10), client=st.integers(0, 1))
def test_who_is_at_the_mean_is_not_corrected(scale: float, client: int) -> None:
    control = {TABLE + "item": np.full((2, 1), scale, np.float32)}
    own = {TABLE + "item": np.zeros((2, 2, 1), np.float32)}
    own[TABLE + "item"][client] = scale
    drift = drift_of(control, own).tables["item"]
    assert not drift[client].any()
    assert (drift[1 - client] == np.float32(scale)).all()


def test_names_and_shapes() -> None:
    setup = setup_of(TWO, train__method="scaffold", model__name="ncf", **MERCHANTS)
    shared, personal = begun(setup, 2)
    plain, control = without_controls(shared)
    assert zero_controls(plain).keys() == control.keys() == personal.own.keys()
    assert plain.weights.keys() == init_shared(setup).weights.keys()
    assert without_controls(plain)[1] == {}
    assert Personal.from_arrays(personal.arrays()).own.keys() == personal.own.keys()


def test_commands_without_control_variates_are_refused() -> None:
    setup = setup_of(TWO, train__method="scaffold", **MERCHANTS)
    with pytest.raises(ConfigError, match="this command trains without: use train.method"):
        train_block(setup, init_shared(setup), init_personal(setup, BOTH), BOTH, 1)
    with pytest.raises(ConfigError, match="which this command does not do"):
        begun(setup, 2)[1].take(np.arange(2))


@given(st.lists(st.lists(st.booleans(), min_size=3, max_size=3), min_size=1, max_size=6))
def test_c_is_the_mean_whatever_is_lost(counts: list[list[bool]]) -> None:
    """Three clients train in every round; who is not counted goes back to what it was."""
    own = {TABLE + "item": np.zeros((3, 1), np.float32)}
    personal = unsettled(Personal({}, own), own, 0)
    told, c = np.zeros(3, np.int64), 0.0
    for number, counted in enumerate(counts, 1):
        held = settled(personal, told)
        before = held.own[TABLE + "item"]
        after = before + np.array([[1.0], [2.0], [4.0]], np.float32) * number
        c += float((after - before)[counted].sum()) / 3
        new = Personal({}, {TABLE + "item": after})
        personal = unsettled(new, held.own, number)
        told[counted] = number
    assert settled(personal, told).own[TABLE + "item"].mean() == pytest.approx(c)
    assert set(settled(personal, None).own) == set(own)
