"""Starts that are learned: one step of Reptile and of FOMAML by hand, and new clients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fedrec.data.batches import Samples
from fedrec.models.mf import MatrixFactorisation
from fedrec.models.started import with_start
from fedrec.params import Personal, Shared
from fedrec.training.cohort import CohortUpdate
from fedrec.training.local import train_cohort
from fedrec.training.methods import build_method
from fedrec.training.node import Setup, init_personal, init_shared, train_block
from fedrec.training.tuning import client_scorer, reconstruct
from tests.training.cohorts import configuration, population_of, setup_of

ONE_STEP: dict[str, Any] = {
    "train__batch": 0,
    "train__personal_steps": 1,
    "train__personal_lr": 0.5,
    "train__lr": 0.1,
}
FIRST, SECOND = 0.37754067, 0.5  # 1 - sigmoid(1 / 2), and where the step of the support leads


def by_hand(method: str, start: float = 0.0, **keys: Any) -> CohortUpdate:
    """One client that has met item 0 (its row is 2: support) and item 1 (1: query)."""
    config = configuration(train__method=method, **{**ONE_STEP, **keys})
    model = with_start(MatrixFactorisation(1), by_gradient=method == "fomaml")
    table = np.array([[2.0], [1.0]], np.float32)
    shared = Shared({"item": table}, {"start/user": np.array([start], np.float32)})
    samples = Samples(
        client=np.zeros(2, np.int64),
        fields={"item": np.arange(2)},
        label=np.ones(2, np.float32),
        weight=np.ones(2, np.float32),
        order=np.arange(2, dtype=np.uint64),
        num_clients=1,
        query=np.array([False, True]),
    )
    fresh = Personal({"user": np.zeros((1, 1), np.float32)})
    return train_cohort(model, shared, fresh, samples, build_method(config))


def test_a_step_of_fomaml_by_hand() -> None:
    """theta = 0 + 0.5 * (1 - sigmoid(0)) * 2 = 0.5; there the query has the gradient -0.378."""
    update = by_hand("fomaml")
    assert update.personal.values["user"][0] == pytest.approx([SECOND])
    assert update.weights["start/user"][0] == pytest.approx([0.1 * FIRST])
    assert update.index["item"].ids.tolist() == [1]
    assert update.rows["item"] == pytest.approx(np.array([[0.1 * FIRST * SECOND]]))


def test_fomaml_leaves_out_how_the_start_led_there() -> None:
    """Two steps of the support from 0 lead to 0.5 and 0.5 + (1 - sigmoid(1)) = 0.769.

    There the query's gradient is -(1 - sigmoid(0.769)) = -0.317, and the start takes it as it
    is.  The gradient through both steps would be this times their slopes (1 - 2 s (1 - s)),
    s = sigmoid(0) and sigmoid(1): 0.5 * 0.607.
    """
    update = by_hand("fomaml", train__personal_steps=2)
    led = 0.5 + 1.0 - 1.0 / (1.0 + np.exp(-1.0))
    gradient = 1.0 - 1.0 / (1.0 + np.exp(-led))
    assert update.personal.values["user"][0] == pytest.approx([led])
    assert update.weights["start/user"][0] == pytest.approx([0.1 * gradient])
    assert update.rows["item"] == pytest.approx(np.array([[0.1 * gradient * led]]))


def test_a_step_of_reptile_by_hand() -> None:
    """The start is sent as far as the support has led, whatever the query says."""
    update = by_hand("reptile")
    assert update.weights["start/user"][0] == pytest.approx([SECOND])
    assert update.rows["item"] == pytest.approx(np.array([[0.1 * FIRST * SECOND]]))
    again = by_hand("reptile", train__epochs=5)
    assert again.weights["start/user"][0] == pytest.approx([SECOND])
    assert again.rows["item"][0] > update.rows["item"][0]


@pytest.mark.parametrize("method", ["reptile", "fomaml"])
def test_a_penalty_pulls_to_the_start(method: str) -> None:
    """From theta = 0 + 1 the step is 0.5 * 2 * (1 - sigmoid(2)); l2 is nothing at the start."""
    plain, pulled = by_hand(method, 1.0), by_hand(method, 1.0, train__l2=0.1)
    step = 2 * 0.5 * (1 - 1 / (1 + np.exp(-2.0)))
    assert plain.personal.values["user"][0] == pytest.approx([step])
    assert pulled.personal.values["user"][0] == pytest.approx([step])
    two = {"train__personal_steps": 2}
    plain, pulled = by_hand(method, 1.0, **two), by_hand(method, 1.0, **two, train__l2=0.1)
    away = plain.personal.values["user"][0] - pulled.personal.values["user"][0]
    assert away == pytest.approx([0.5 * 0.1 * step], rel=1e-4)


def trained(method: str, rounds: int = 3) -> tuple[Setup, Shared]:
    """A few rounds of plain averages over clients that like the first items of a catalogue."""
    liked = [range(n % 3, 12 + n % 3) for n in range(9)]
    population = population_of([*liked, []], num_items=40)
    setup = setup_of(population, train__method=method, train__lr=1.0, train__support=0.5)
    clients = np.arange(9)
    shared = init_shared(setup)
    for number in range(1, rounds + 1):
        update, _ = train_block(setup, shared, init_personal(setup, clients), clients, number)
        table = shared.tables["item"].copy()
        np.add.at(table, update.index["item"].ids, update.rows["item"])
        weights = {n: v + update.weights[n].mean(0) for n, v in shared.weights.items()}
        shared = Shared({"item": table}, weights)
    return setup, shared


@pytest.mark.parametrize("method", ["reptile", "fomaml"])
def test_a_client_without_interactions_stands_at_the_start(method: str) -> None:
    setup, shared = trained(method)
    clients = np.arange(10)
    own = reconstruct(setup, shared, clients, 4)
    assert (own.values["user"][9] == 0).all()
    assert (own.values["user"][:9] != 0).all()
    scores = client_scorer(setup, shared, init_personal(setup, clients), clients, 3)(clients)
    start = shared.weights["start/user"]
    assert scores[9] == pytest.approx(shared.tables["item"] @ start, rel=1e-5, abs=1e-5)
    theta = start + own.values["user"]
    assert scores == pytest.approx(theta @ shared.tables["item"].T, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("method", ["reptile", "fomaml"])
def test_the_start_learns_what_all_clients_like(method: str) -> None:
    """Nobody has told the new client anything, and it ranks the common items above the rest."""
    setup, shared = trained(method, 8)
    scores = shared.tables["item"] @ shared.weights["start/user"]
    assert scores[2:12].min() > np.quantile(scores[14:], 0.75)
