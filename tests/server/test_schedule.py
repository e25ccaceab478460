"""Steps that fade: by hand, against Keras's schedule, after an interruption, in every place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest

from fedrec.config import Config
from fedrec.config_sections import ServerSection
from fedrec.errors import CheckpointError
from fedrec.params import Shared, SparseRows
from fedrec.training.node import prepare
from server.aggregation import MeanUpdate
from server.anchors import optimizer_of
from server.control import ControlledOptimizer, first_parameters
from server.graph import GraphOptimizer
from server.optimizers import ServerOptimizer
from server.schedule import FadingOptimizer, make_optimizer

ROUNDS = 4


def section(name: str, rate: float = 1.0, **keys: Any) -> ServerSection:
    told = {"table_optimizer": name, "table_lr": rate, "weight_optimizer": name}
    return ServerSection.model_validate(
        {**told, "weight_lr": rate, "schedule": "cosine", **keys},
    )


def start() -> Shared:
    return Shared({"item": np.ones((2, 2), np.float32)}, {"bias": np.ones(2, np.float32)})


def update(number: int) -> MeanUpdate:
    change = np.array([[0.5, -0.25], [0.1, 0.3 * number]])
    return MeanUpdate({"item": SparseRows(np.arange(2), change)}, {"bias": change[1]})


def test_steps_of_fedavg_are_made_in_part() -> None:
    optimizer, shared = make_optimizer(section("sgd"), start(), ROUNDS), start()
    for _ in range(ROUNDS):
        shared = optimizer.apply(shared, update(1))
    assert shared.tables["item"][0] == pytest.approx([1 + 2.5 * 0.5, 1 - 2.5 * 0.25])
    assert shared.weights["bias"] == pytest.approx([1 + 2.5 * 0.1, 1 + 2.5 * 0.3])
    settled = optimizer.apply(shared, update(1))  # a step more than there are rounds
    assert settled.tables["item"].tolist() == shared.tables["item"].tolist()


@pytest.mark.parametrize("name", ["sgd", "adam", "adagrad", "rmsprop", "adamw", "lion"])
def test_it_is_the_schedule_of_keras(name: str) -> None:
    makers = {"sgd": "SGD", "adam": "Adam", "adagrad": "Adagrad", "rmsprop": "RMSprop",
              "adamw": "AdamW", "lion": "Lion"}  # fmt: skip
    rates = keras.optimizers.schedules.CosineDecay(0.1, ROUNDS)
    theirs, variable = getattr(keras.optimizers, makers[name])(rates), keras.Variable(np.ones(2))
    optimizer, shared = make_optimizer(section(name, 0.1), start(), ROUNDS), start()
    for number in range(ROUNDS):
        shared = optimizer.apply(shared, update(number))
        gradient = -update(number).weights["bias"].astype(np.float32)
        theirs.apply_gradients([(keras.ops.convert_to_tensor(gradient), variable)])
        expected = keras.ops.convert_to_numpy(variable)
        assert shared.weights["bias"] == pytest.approx(expected, rel=1e-5)
        assert shared.tables["item"][1] == pytest.approx(expected, rel=1e-5)


def test_what_is_given_stays_as_it_is_and_types_too() -> None:
    optimizer, given = make_optimizer(section("sgd"), start(), ROUNDS), start()
    optimizer.apply(given, update(1))
    after = optimizer.apply(given, update(1), in_place=True)
    assert (given.tables["item"] == 1).all()
    assert (given.weights["bias"] == 1).all()
    assert after.tables["item"].dtype == after.weights["bias"].dtype == np.float32


def test_a_restored_one_goes_on_alike() -> None:
    whole, shared = make_optimizer(section("adam"), start(), ROUNDS), start()
    cut, other = make_optimizer(section("adam"), start(), ROUNDS), start()
    for number in range(ROUNDS):
        shared = whole.apply(shared, update(number))
        fresh = make_optimizer(section("adam"), start(), ROUNDS)
        if number:
            fresh.restore(cut.state())
        cut, other = fresh, fresh.apply(other, update(number))
    assert other.tables["item"].tobytes() == shared.tables["item"].tobytes()
    assert other.weights["bias"].tobytes() == shared.weights["bias"].tobytes()
    plain = ServerOptimizer(section("adam"), start())
    with pytest.raises(CheckpointError, match="without a schedule"):
        whole.restore(plain.state())


def test_without_a_schedule_it_is_the_optimiser_itself() -> None:
    optimizer = make_optimizer(section("adam", schedule="constant"), start(), ROUNDS)
    assert isinstance(optimizer, ServerOptimizer)


@pytest.mark.parametrize(
    ("keys", "outer", "rounds"),
    [
        ({}, None, 3),
        ({"train__method": "scaffold", "clients__unit": "merchant"}, ControlledOptimizer, 3),
        ({"model__name": "lightgcn", "model__loss": "bpr", "train__method": "lightgcn",
          "server__rows": "sum", "train__rounds": 4}, GraphOptimizer, 3),
    ],
    ids=["plain", "control", "graph"],
)  # fmt: skip
def test_every_place_of_an_optimiser_has_it(
    small_run: Callable[..., Config], keys: dict[str, Any], outer: type | None, rounds: int
) -> None:
    setup = prepare(small_run(server__schedule="cosine", **keys))
    found: Any = optimizer_of(setup, first_parameters(setup))
    if outer is not None:
        assert isinstance(found, outer)
        found = found._inner
    assert isinstance(found, FadingOptimizer)
    assert found._rounds == rounds  # a graph takes a round to add up
