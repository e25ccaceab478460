from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from fedrec.models.mf import MatrixFactorisation
from fedrec.training.node import init_personal, init_shared
from fedrec.training.scoring import compile_score, histories, make_scorer
from tests.training.cohorts import population_of, random_population, setup_of


@dataclass(frozen=True)
class Remembering(MatrixFactorisation):
    """Reads the last three items of the user."""

    history_length: int = 3


def test_histories_are_padded_in_front() -> None:
    population = population_of([[4, 2, 0, 1], [], [3]], num_items=5)
    users = np.array([2, 0, 1])
    ours = histories(population, users, Remembering(2))
    assert ours.tolist() == [[-1, -1, 3], [2, 0, 1], [-1, -1, -1]]
    assert histories(population, users, MatrixFactorisation(2)).shape == (3, 0)


def test_scores_by_plain_numpy_in_any_order() -> None:
    setup = setup_of(random_population((3, 5, 4, 2), 9))
    users = np.array([0, 2, 3])
    shared, personal = init_shared(setup), init_personal(setup, users)
    score = make_scorer(setup.model, shared, personal, users, setup.population)
    expected = personal.values["user"] @ shared.tables["item"].T
    assert score(np.array([3, 0])) == pytest.approx(expected[[2, 0]], rel=1e-5, abs=1e-6)


def test_scores_with_tables_of_ones_own() -> None:
    generator = np.random.default_rng(0)
    tables = generator.normal(size=(3, 9, 4)).astype(np.float32)
    vectors = generator.normal(size=(3, 4)).astype(np.float32)
    run = compile_score(MatrixFactorisation(4), own_rows=True)
    ours = run({}, {"user": vectors}, {"item": tables}, {}, np.zeros((3, 0), np.int32)).numpy()
    assert ours == pytest.approx(np.einsum("cid,cd->ci", tables, vectors), rel=1e-4, abs=1e-5)
