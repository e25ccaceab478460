"""Implicit ALS by sums: by hand, against its definition, and against the package implicit."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.typing import NDArray

from fedrec.params import Personal, Shared
from fedrec.training.node import train_node
from fedrec.training.normal import NormalSums, triangle
from fedrec.training.tuning import derive_personal
from tests.training.cohorts import SIZES, random_population, setup_of
from tests.training.test_gram import samples_of

KEYS = {"train__method": "ials", "model__loss": "squared", "server__weighting": "equal",
        "train__alpha": 3.0, "train__ridge": 2.0}  # fmt: skip


def sweep(x: NDArray, items: NDArray, alpha: float, ridge: float) -> tuple[NDArray, NDArray]:
    """One sweep of implicit ALS as its authors define it, in float64: users, then items."""

    def solve(rows: NDArray, other: NDArray) -> NDArray:
        out = np.zeros((len(rows), other.shape[1]))
        for n, row in enumerate(rows):
            weighted = other * (1.0 + alpha * row)[:, None]
            left = other.T @ weighted + ridge * np.eye(other.shape[1])
            out[n] = np.linalg.solve(left, weighted.T @ row)
        return out

    users = solve(x, items)
    return users, solve(x.T, users)


def test_one_factor_by_hand() -> None:
    """Users with vectors 1 and 2; the first met both items, the second the second one.

    alpha = 1, ridge = 1, P'P = 5.  Item 0: (5 + 1 + 1) q = 2 * 1, q = 2 / 7.
    Item 1: (5 + 1 + 4 + 1) q = 2 * 3, q = 6 / 11.
    """
    sums, start = NormalSums(1, 1.0, 1.0), Shared({"item": np.zeros((2, 1), np.float32)})
    personal = Personal({"user": np.array([[1.0], [2.0]], np.float32)})
    told = sums.contribute(start, personal, samples_of(np.array([[1, 1], [0, 1]])))
    assert told.index.ids.tolist() == [0, 1, 1]
    assert told.rows["item"].tolist() == [[1, 2], [1, 2], [4, 4]]
    assert told.weights["gram"].tolist() == [[1], [4]]
    total = Shared({"item": np.array([[1.0, 2.0], [5.0, 6.0]])}, {"gram": np.array([5.0])})
    solved = sums.solve(start, total).tables["item"]
    assert solved.ravel() == pytest.approx([2 / 7, 6 / 11])


def test_sweeps_are_those_of_the_definition() -> None:
    population = random_population(SIZES, 60)
    setup = setup_of(population, **KEYS)
    statistics, clients = setup.method.statistics, np.arange(len(SIZES))
    assert statistics is not None
    shared = setup.model.init_shared(population.split.dataset.items, 0)
    personal = setup.model.init_personal(clients, 0)
    shape = (len(SIZES), 60)
    x = sp.csr_matrix((population.labels, population.items, population.indptr), shape).toarray()
    items = shared.tables["item"].astype(np.float64)
    for number in range(1, 5):
        total, personal = train_node(setup, shared, personal, clients, number)
        assert total.metrics["bytes_up"] == sum(SIZES) * (4 + 4 * 20) + len(SIZES) * 4 * 15
        sums = Shared({"item": total.tables["item"].dense(60)}, total.weights)
        shared = statistics.solve(shared, sums)
        users, items = sweep(x, items, 3.0, 2.0)
        np.testing.assert_allclose(personal.values["user"], users, atol=2e-6)
        np.testing.assert_allclose(shared.tables["item"], items, atol=2e-6)
    assert np.abs(items).max() > 0.1
    derived = derive_personal(setup, shared, personal, clients).values["user"]
    np.testing.assert_allclose(derived, sweep(x, items, 3.0, 2.0)[0], atol=2e-6)


def test_sweeps_are_those_of_the_package_implicit() -> None:
    als = pytest.importorskip("implicit.cpu.als")
    population = random_population(SIZES, 60)
    setup = setup_of(population, **KEYS)
    clients = np.arange(len(SIZES))
    shared = setup.model.init_shared(population.split.dataset.items, 0)
    shape = (len(SIZES), 60)
    train = sp.csr_matrix((population.labels, population.items, population.indptr), shape)
    model = als.AlternatingLeastSquares(
        factors=5, regularization=2.0, iterations=3, alpha=1.0, use_cg=False, num_threads=1
    )
    model.item_factors = shared.tables["item"].copy()
    model.user_factors = setup.model.init_personal(clients, 0).values["user"]
    model.fit(train.astype(np.float32) * np.float32(4.0), show_progress=False)
    personal = setup.model.init_personal(clients, 0)
    for number in range(1, 4):
        total, personal = train_node(setup, shared, personal, clients, number)
        sums = Shared({"item": total.tables["item"].dense(60)}, total.weights)
        shared = setup.method.statistics.solve(shared, sums)  # type: ignore[union-attr]
    np.testing.assert_allclose(shared.tables["item"], model.item_factors, atol=1e-5)


def test_shapes_and_costs() -> None:
    population = random_population(SIZES, 60)
    sums = NormalSums(5, 1.0, 1.0)
    empty = sums.zeros(Shared({"item": np.zeros((60, 5), np.float32)}))
    assert triangle(5) == 15
    assert empty.tables["item"].shape == (60, 20)
    assert empty.weights["gram"].shape == (15,)
    assert sums.costs(population).tolist() == [20 * size for size in SIZES]
    assert sums.at(7) is sums
    assert sums.rows(60) is None
