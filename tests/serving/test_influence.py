"""Shares to first order: by hand, and against what is lost by training without an item."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.stats import spearmanr

from fedrec.config import Config
from fedrec.data.batches import Samples, Sampling
from fedrec.models.export import export_model
from fedrec.models.mf import MatrixFactorisation
from fedrec.models.ncf import build_ncf
from fedrec.models.two_tower import TwoTower
from fedrec.serving.influence import DAMPING, has_influence, influence
from fedrec.serving.load import load_recommender
from fedrec.training.methods import Method, Phase
from fedrec.training.node import init_shared, prepare

Floats = NDArray[np.float64]
METHOD = Method("steps", (Phase(shared=False, l2=0.1),), Sampling())


def scored(table: Floats) -> Callable[..., NDArray[np.float32]]:
    """The scores of matrix factorisation over an item table."""

    def score(values: Mapping[str, NDArray], items: NDArray[np.int64]) -> NDArray[np.float32]:
        found: NDArray[np.float32] = (values["user"] @ table[items].T).astype(np.float32)
        return found

    return score


def of_one(items: list[int], label: list[float], negative: list[int] | None = None) -> Samples:
    size = len(items)
    fields = {"item": np.array(items, np.int64)}
    if negative is not None:
        fields["negative"] = np.array(negative, np.int64)
    ones = np.ones(size, np.float32)
    return Samples(
        np.zeros(size, np.int64), fields, np.array(label, np.float32), ones,
        np.arange(size, dtype=np.float64), 1,
    )  # fmt: skip


def test_by_hand() -> None:
    # u = .5; items q = 1 and 2 were met, each with one negative, q = -1; item 3 (q = 4) is asked.
    # Squared loss, l2 = .1: g_1 = (.5 - 1) 1 + (-.5 - 0) (-1) = 0, g_2 = (1 - 1) 2 + .5 = .5;
    # H = 1 + 1 + 4 + 1 + .4 = 7.4, damped 1.1 times.
    table = np.array([[1.0], [2.0], [-1.0], [4.0]])
    samples = of_one([0, 2, 1, 2], [1, 0, 1, 0])
    model = MatrixFactorisation(1, "squared")
    values = {"user": np.full((1, 1), 0.5, np.float32)}
    asked = np.array([3])
    found = influence(model, scored(table), values, samples, METHOD.phases[0], asked, 2)
    assert DAMPING == 0.1
    assert found == pytest.approx(-4.0 * np.array([[0.0, 0.5]]) / (1.1 * 7.4), rel=1e-3, abs=1e-5)


def loss_of(kind: str, table: Floats, samples: Samples, l2: float, spread: float) -> Callable:
    """The user's loss, written out anew."""

    def loss(user: Floats, weight: Floats) -> float:
        at = table[samples.fields["item"]] @ user
        if kind == "bpr":
            each = np.logaddexp(0, table[samples.fields["negative"]] @ user - at)
        elif kind == "logistic":
            each = np.logaddexp(0, at) - samples.label * at
        elif kind == "hinge":
            missed = np.maximum(1 - at, 0)
            each = np.where(samples.label > 0, missed, spread * at**2)
        else:
            each = 0.5 * (at - samples.label) ** 2
        return float(weight @ each + 0.5 * l2 * len(each) * user @ user)

    return loss


@pytest.mark.parametrize("kind", ["logistic", "squared", "bpr", "hinge"])
def test_it_ranks_what_is_lost_at_the_optimum(kind: str) -> None:
    drawn = np.random.default_rng(3)
    table = drawn.normal(0, 1, (60, 4))
    met, width = 12, 3
    items = drawn.permutation(60)[: met * width]
    if kind == "bpr":
        samples = of_one(list(np.repeat(items[:met], 2)), [1] * 24, list(items[met:]))
        width = 2
    else:
        samples = of_one(list(items), [1, 0, 0] * met)
    l2, spread = 0.3, 0.5
    loss = loss_of(kind, table, samples, l2, spread)
    size = len(samples.client)

    def best(weight: Floats) -> Floats:
        found: Floats = minimize(loss, np.zeros(4), (weight,), tol=1e-10).x
        return found

    user, asked = best(np.ones(size)), np.arange(60)[~np.isin(np.arange(60), items)]
    exact = np.zeros((len(asked), met))
    for at in range(met):
        weight = np.ones(size)
        weight[at * width : (at + 1) * width] = 0
        exact[:, at] = table[asked] @ (user - best(weight))
    model = MatrixFactorisation(4, kind) if kind != "hinge" else TwoTower(4, (), kind, 0.1)
    if isinstance(model, TwoTower):
        model = TwoTower(4, (), kind, 0.1, spread=spread)
    values, phase = {"user": user[None].astype(np.float32)}, Phase(shared=False, l2=l2)
    found = influence(model, scored(table), values, samples, phase, asked, met)
    agreed = [spearmanr(a, b).statistic for a, b in zip(exact, found, strict=True)]
    assert np.mean(agreed) > 0.95
    size_of = np.linalg.norm(found) / np.linalg.norm(exact)
    assert 0.6 < size_of < 1.2  # damping, and H of all samples, tell less than is lost


def test_only_small_vectors_and_plain_scores() -> None:
    plain = MatrixFactorisation(8)
    assert has_influence(plain, METHOD)
    assert has_influence(build_ncf(4, (8,)), METHOD)
    assert not has_influence(MatrixFactorisation(8, "squared", explicit=True), METHOD)
    assert not has_influence(MatrixFactorisation(300), METHOD)
    assert not has_influence(plain, Method("read", (), Sampling()))
    solved = Method("solved", (Phase(solver="closed-form"),), Sampling())
    assert not has_influence(plain, solved)


def test_every_item_of_a_long_history_has_a_share(small_run: Callable[..., Config]) -> None:
    config = small_run("run", model__name="ncf", model__mlp="8 4")
    setup = prepare(config)
    data = setup.population.split.dataset
    shared = init_shared(setup)
    drawn = np.random.default_rng(0)
    for group in (shared.tables, shared.weights):
        for name, value in group.items():
            group[name] = drawn.normal(0, 0.4, value.shape).astype(np.float32)
    directory = Path(config.run.out)
    export_model(directory / "model", config, data, shared, {}, None, setup.model)
    recommender = load_recommender(directory)
    session = recommender.session(history=recommender.items.ids[:14])
    found = session.recommend(3, explain=True, reasons=0)
    for one in found:
        assert one.shares == "influence"
        assert {r.name for r in one.reasons} == set(recommender.items.ids[:14])
