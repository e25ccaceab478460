"""Tables of one's own and rows made for one, in `train_cohort`, against a loop in float64."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from fedrec.data.batches import Samples, draw_samples
from fedrec.data.tiles import lay_out
from fedrec.models.recommender import bound
from fedrec.params import Guides, Personal, Shared
from fedrec.training.cohort import CohortUpdate
from fedrec.training.local import train_cohort
from fedrec.training.node import Setup, init_personal, init_shared, train_block, training_blocks
from tests.training.cohorts import SIZES, random_population, relative, setup_of

ITEMS, EVERYONE = 60, np.arange(len(SIZES))
FULL = {"train__batch": 0, "train__epochs": 3, "train__row_lr": 4.0}
RAP = {"train__method": "fedrap", "model__name": "additive", "train__l1": 0.3,
       "train__apart": 0.2, "train__ramp": 0.0, "train__decay": 1.0, **FULL}  # fmt: skip
GRAPH = {"train__method": "gpfedrec", "model__name": "head", "train__prox_mu": 0.03,
         "server__weighting": "equal", **FULL}  # fmt: skip


def prepared(keys: dict[str, Any]) -> tuple[Setup, Shared, Personal, Samples]:
    setup = setup_of(random_population(SIZES, ITEMS), **keys)
    data = setup.population.split.dataset
    setup = replace(setup, model=bound(setup.model, data.items, data.users))
    samples = draw_samples(setup.population, EVERYONE, 0, 1, setup.method.sampling)
    return setup, init_shared(setup), init_personal(setup, EVERYONE), samples


def rap(setup: Setup, shared: Shared, personal: Personal, samples: Samples, c: int) -> Any:
    """FedRAP's local training of one client, with all its samples in each step."""
    train, mine = setup.config.train, samples.client == c
    items, labels = samples.fields["item"][mine], samples.label[mine].astype(np.float64)
    item = shared.tables["item"].astype(np.float64)
    own, w, b = (personal.values[n][c].astype(np.float64) for n in ("own", "head", "bias"))
    size, d = len(items), item.shape[1]
    for _ in range(train.epochs):
        both = item[items] + own[items]
        g = (1 / (1 + np.exp(-(both @ w + b))) - labels) / size
        of_item, of_own = np.zeros_like(item), np.zeros_like(own)
        push = 2 * train.apart * (own[items] - item[items]) / d / size
        np.add.at(of_item, items, g[:, None] * w + train.l1 * np.sign(item[items]) / d / size)
        np.add.at(of_item, items, push + train.l2 * item[items] / size)
        np.add.at(of_own, items, g[:, None] * w - push + train.l2 * own[items] / size)
        of_w, of_b = g @ both + train.l2 * w, g.sum() + train.l2 * b
        item, own = item - train.row_lr * of_item, own - train.row_lr * of_own
        w, b = w - train.personal_lr * of_w, b - train.personal_lr * of_b
    return item, own, w, b


@pytest.mark.parametrize("keys", [{}, {"train__l2": 0.05}, {"train__l1": 0.0, "train__apart": 0.0}])
def test_own_tables_are_trained_beside_the_shared_one(keys: dict[str, Any]) -> None:
    setup, shared, personal, samples = prepared({**RAP, **keys})
    update = train_cohort(setup.model, shared, personal, samples, setup.method)
    assert list(update.rows) == ["item"]  # what stays with the client is no part of the update
    for c in range(len(SIZES)):
        item, own, w, b = rap(setup, shared, personal, samples, c)
        found, ids = rows_of(update, c)
        assert relative(found, (item - shared.tables["item"])[ids]) < 1e-5
        got = {
            name: value[c] - personal.values[name][c]
            for name, value in update.personal.values.items()
        }
        assert relative(got["own"], own - personal.values["own"][c]) < 1e-5
        assert relative(got["head"], w - personal.values["head"][c]) < 1e-5
        assert relative(got["bias"], b - personal.values["bias"][c]) < 1e-4
        untouched = np.setdiff1d(np.arange(ITEMS), ids)
        assert (got["own"][untouched] == 0).all()


def rows_of(update: CohortUpdate, c: int) -> tuple[np.ndarray, np.ndarray]:
    index = update.index["item"]
    return update.rows["item"][index.client == c], index.ids[index.client == c]


def test_mini_batches_and_blocks_change_nothing_that_they_should_not() -> None:
    keys = {**RAP, "train__batch": 8, "engine__block_mib": 8}
    setup, shared, personal, samples = prepared(keys)
    whole = train_cohort(setup.model, shared, personal, samples, setup.method).personal
    for c in (1, 4):
        alone, new = train_block(setup, shared, personal.take(np.array([c])), np.array([c]), 1)
        assert new.values["own"][0] == pytest.approx(whole.values["own"][c], abs=1e-6)
        assert alone.personal is new
    assert whole.values["own"].shape == (len(SIZES), ITEMS, 5)
    assert sorted(np.concatenate(list(training_blocks(setup, EVERYONE)))) == EVERYONE.tolist()


def test_weights_of_penalties_grow_and_rates_fall() -> None:
    setup, *_ = prepared({**RAP, "train__ramp": 10.0, "train__decay": 0.5})
    first, third = (setup.method.at(n).phases[0] for n in (1, 3))
    assert (first.l1, first.apart, first.row_lr, first.personal_lr) == (0.0, 0.0, 4.0, 0.3)
    assert third.l1 == pytest.approx(0.3 * np.tanh(0.2))
    assert third.apart == pytest.approx(0.2 * np.tanh(0.2))
    assert (third.row_lr, third.lr, third.personal_lr) == (1.0, 0.125, pytest.approx(0.075))
    still, *_ = prepared(RAP)
    assert still.method.at(7) is still.method


def guided(shared: Shared, seed: int) -> Shared:
    """Every client but the first is sent some rows."""
    draw = np.random.default_rng(seed)
    ids = [np.sort(draw.permutation(ITEMS)[:40]) for _ in EVERYONE[1:]]
    owner = np.repeat(np.arange(len(ids)), 40)
    rows = draw.normal(size=(len(owner), 5)).astype(np.float32)
    return replace(shared, guides=Guides(EVERYONE[1:], owner, np.concatenate(ids), {"item": rows}))


def batches_of(samples: Samples, batch: int, epochs: int, c: int) -> list[np.ndarray]:
    """The samples of each step of a client, in the order in which they are taken."""
    tiles = lay_out(samples, batch, epochs if batch else 1, 1 << 30)
    found = [
        source[weight > 0]
        for source, weight, place in zip(tiles.source, tiles.weight, tiles.batch, strict=True)
        if tiles.client[place] == c
    ]
    return found if batch else found * epochs


@pytest.mark.parametrize("keys", [{}, {"train__batch": 8, "train__epochs": 2}])
def test_clients_are_pulled_to_the_rows_that_were_made_for_them(keys: dict[str, Any]) -> None:
    setup, shared, personal, samples = prepared({**GRAPH, **keys})
    shared = guided(shared, 3)
    update, _ = train_block(setup, shared, personal, EVERYONE, 1, samples=samples)
    train = setup.config.train
    for c in range(len(SIZES)):
        items, labels = samples.fields["item"], samples.label.astype(np.float64)
        item = shared.tables["item"].astype(np.float64)
        w, b = (personal.values[n][c].astype(np.float64) for n in ("head", "bias"))
        target, touched = item.copy(), np.unique(items[samples.client == c])
        own = shared.guides.take(np.array([c]))
        target[own.ids] = own.rows["item"]
        for batch in batches_of(samples, train.batch, train.epochs, c):
            some, wanted = items[batch], labels[batch]
            g = (1 / (1 + np.exp(-(item[some] @ w + b))) - wanted) / len(some)
            w, b = w - train.personal_lr * (g @ item[some]), b - train.personal_lr * g.sum()
            g = (1 / (1 + np.exp(-(item[some] @ w + b))) - wanted) / len(some)
            grad = np.zeros_like(item)
            np.add.at(grad, some, g[:, None] * w)
            # All its rows are pulled in every step, also those that the step does not visit.
            grad[touched] += train.prox_mu * (item - target)[touched]
            item = item - train.row_lr * grad
        found, ids = rows_of(update, c)
        assert ids.tolist() == touched.tolist()
        assert relative(found, (item - shared.tables["item"])[ids]) < 1e-5


def test_guides_follow_their_clients_into_blocks() -> None:
    setup, shared, personal, _ = prepared(GRAPH)
    shared = guided(shared, 4)
    whole, _ = train_block(setup, shared, personal, EVERYONE, 1)
    some = np.array([2, 5])
    part, _ = train_block(setup, shared, personal.take(some), some, 1)
    for place, c in enumerate(some):
        assert rows_of(part, place)[0] == pytest.approx(rows_of(whole, c)[0], abs=1e-6)
    plain, _ = train_block(setup, replace(shared, guides=None), personal, EVERYONE, 1)
    assert relative(rows_of(whole, 1)[0], rows_of(plain, 1)[0]) > 0.01
    assert rows_of(whole, 0)[0] == pytest.approx(rows_of(plain, 0)[0], abs=1e-6)
