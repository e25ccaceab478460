"""Models with their item side computed once: they train, score and explain as the model does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from fedrec.config import Config
from fedrec.models.export import export_model
from fedrec.params import Shared
from fedrec.serving.frozen import freeze
from fedrec.serving.load import load_recommender
from fedrec.serving.past import Past
from fedrec.serving.trained import Trained
from fedrec.training.local import train_cohort
from fedrec.training.node import init_shared, prepare

Make = Callable[..., Config]
CASES: dict[str, dict[str, str | int | float]] = {
    "two-tower": {"model__name": "two-tower", "model__tower": "8"},
    "two-tower-bpr": {"model__name": "two-tower", "model__loss": "bpr"},
    "two-tower-hinge": {
        "model__name": "two-tower",
        "model__loss": "hinge",
        "model__spread": 0.3,
        "model__id_rows": "false",
    },
    "deepfm-deeper": {"model__name": "deepfm", "model__tower": "8 5 3"},
    "deepfm-without-users": {"model__name": "deepfm", "model__user_attributes": ""},
    "ncf": {"model__name": "ncf", "model__mlp": "8 4"},
    "ncf-one-layer": {"model__name": "ncf", "model__mlp": "6"},
}


def both(make: Make, name: str) -> tuple[Trained, Trained]:
    """A session's model with the item side computed once, and the model as it was trained."""
    config = make("run", **{"train__optimizer": "adam", **CASES[name]})
    setup, directory = prepare(config), Path(config.run.out) / "model"
    start, drawn = init_shared(setup), np.random.default_rng(1)
    groups = (
        {n: drawn.normal(0.0, 0.4, v.shape).astype(np.float32) for n, v in group.items()}
        for group in (start.tables, start.weights)
    )
    data = setup.population.split.dataset
    export_model(directory, config, data, Shared(*groups), {}, None, setup.model)
    fast = cast("Trained", load_recommender(directory.parent)._learnt.own)
    assert fast.frozen is not None
    return fast, replace(fast, frozen=None)


def past(*items: int) -> Past:
    size = len(items)
    return Past(np.array(items, np.int64), np.ones(size, np.float32), np.full(size, -1, np.int8))


@pytest.mark.parametrize("name", sorted(CASES))
def test_as_the_model_itself(small_run: Make, name: str) -> None:
    fast, plain = both(small_run, name)
    users = [{}]
    if fast.rules is not None and "age" in fast.attributes:
        users.append({"age": 33.0})
    for attributes in users:
        one, other = fast.of_user(attributes), plain.of_user(attributes)
        for met in (past(), past(5, 2, 31)):
            mine, theirs = one.start(met), other.start(met)
            for vector in mine.values:
                assert mine.values[vector] == pytest.approx(theirs.values[vector], abs=2e-4)
            wanted = other.scores(theirs, met)
            assert one.scores(mine, met) == pytest.approx(wanted, abs=1e-3, rel=1e-3)
            # with the same vectors nothing but the order of adding differs
            same = {n: v for n, v in theirs.values.items() if n in mine.values}
            exact = one.scores(type(theirs)(same), met)
            assert exact == pytest.approx(wanted, abs=2e-5, rel=2e-5)
        items = np.array([7, 1, 40])
        shares = one.shares(type(theirs)(same), met, items)
        told = other.shares(theirs, met, items)
        assert shares.history == pytest.approx(told.history, abs=2e-3)
        assert set(shares.other) == set(told.other)
        for key in told.other:
            assert shares.other[key] == pytest.approx(told.other[key], abs=1e-3)


@pytest.mark.parametrize("name", ["two-tower", "deepfm-deeper", "ncf"])
def test_shares_are_what_training_without_the_item_loses(small_run: Make, name: str) -> None:
    fast, _ = both(small_run, name)
    met, items = past(5, 2, 31), np.array([7, 1, 40])
    state = fast.start(met)
    told = fast.left_out(state, met, items)
    samples, all_scores = fast._samples(met), fast.scores(state, met)[items]
    width = len(samples.client) // 3
    for at in range(3):
        weight = samples.weight.copy()
        weight[at * width : (at + 1) * width] = 0.0
        own = fast._train(fast._fresh(1), replace(samples, weight=weight))
        lost = all_scores - fast.scores(own, met)[items]
        assert told[:, at] == pytest.approx(lost, abs=2e-4)


def test_weights_that_stand_still_need_no_copies(small_run: Make) -> None:
    fast, _ = both(small_run, "deepfm-deeper")

    class Copied(type(fast.frozen.model)):  # type: ignore[misc, union-attr]
        one_for_all = False

    model, shared = fast._served
    copied = Copied(**{f.name: getattr(model, f.name) for f in fields(cast("Any", model))})
    samples = fast._samples(past(5, 2, 31))
    found = [train_cohort(m, shared, fast._fresh(1), samples, fast.method) for m in (model, copied)]
    for vector, value in found[0].personal.values.items():
        assert value == pytest.approx(found[1].personal.values[vector], abs=1e-6)
    for weight, change in found[0].weights.items():
        assert np.array_equal(change, np.zeros_like(found[1].weights[weight]))
        assert np.array_equal(found[1].weights[weight], change)


def test_models_that_have_no_such_form_stay_as_they_are(small_run: Make) -> None:
    setup = prepare(small_run("run", model__name="two-tower", model__contrast=0.1))
    assert freeze(setup.model, init_shared(setup)) is None
    setup = prepare(small_run("run", model__name="mf"))
    assert freeze(setup.model, init_shared(setup)) is None
