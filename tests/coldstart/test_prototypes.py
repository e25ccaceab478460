"""Strangers begin at the nearest prototype, and leave it with what they reveal."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fedrec.coldstart.prototypes import find, made_up
from fedrec.coldstart.strangers import strangers
from fedrec.coldstart.users import Warm, build
from fedrec.coldstart.vectors import rebuilt, started
from fedrec.config import from_flat
from fedrec.errors import ConfigError
from fedrec.training.node import init_shared, prepare

KEYS = {
    "data.name": "marketplace",
    "data.users": 80,
    "data.items": 40,
    "data.merchants": 2,
    "split.protocol": "cold-users",
    "split.fraction": 0.2,
    "model.dim": 4,
    "model.loss": "squared",
    "model.init": 0.3,
    "train.method": "ials",
    "coldstart.test_items": 2,
    "coldstart.prototypes": 3,
    "coldstart.prototype_rounds": 2,
    "coldstart.prototype_users": 3,
    "coldstart.prototype_prior": 2.0,
}


def warm_by(**keys) -> Warm:
    setup = prepare(from_flat({**KEYS, **{k.replace("__", "."): v for k, v in keys.items()}}))
    return Warm(setup, init_shared(setup))


@pytest.fixture(scope="module")
def warm() -> Warm:
    return warm_by()


def test_starts_are_of_users_who_are_made_up(warm):
    starts = made_up(warm, ["user"])
    assert starts.shape == (3, 4)
    nobody = replace(warm, setup=warm_by(run__seed=1).setup)
    assert not np.allclose(made_up(nobody, ["user"]), starts)  # other items are drawn
    own = rebuilt(warm, warm.setup.population, started(warm, {})).values["user"]
    assert not any(np.allclose(start, row) for start in starts for row in own[warm.users])


def test_every_client_is_asked_once(warm):
    found = find(warm)
    assert len(found.rounds) == 2
    assert sum(int(told.counts.sum()) for told in found.rounds) == len(warm.users)
    assert all((told.members >= 3).all() for told in found.rounds)


def test_scores_move_from_the_mean_through_the_prototype_to_the_own_vector(monkeypatch, warm):
    made = find(warm)
    monkeypatch.setattr("fedrec.coldstart.prototypes.find", lambda _: made)
    strategy = build(warm, ["prototypes"])["prototypes"]
    items = warm.shared.tables["item"]
    nobody = strangers(warm.setup, "test", 0)
    users = nobody.test.users
    mean = np.average(made.vectors, axis=0, weights=made.counts)
    assert strategy.scorer(nobody)(users) == pytest.approx(
        np.tile(mean @ items.T, (len(users), 1)), rel=1e-4, abs=1e-5
    )
    known = strangers(warm.setup, "test", 3)
    counts = np.diff(known.indptr)[users][:, None]
    own = rebuilt(warm, known, started(warm, {})).values["user"][users]
    unit = made.vectors / np.linalg.norm(made.vectors, axis=1, keepdims=True)
    near = made.vectors[(own @ unit.T).argmax(1)]
    served = np.where(counts > 0, (counts * own + 2 * near) / (counts + 2), mean)
    assert strategy.scorer(known)(users) == pytest.approx(served @ items.T, rel=1e-4, abs=1e-5)
    assert strategy.bytes_down == warm.shared.num_bytes + 4 * made.vectors.size
    assert "secure sums" in strategy.privacy


def test_gradient_methods_have_prototypes_too():
    warm = warm_by(train__method="alternating", model__loss="logistic", coldstart__steps=3)
    shown = strangers(warm.setup, "test", 2)
    scores = build(warm, ["prototypes"])["prototypes"].scorer(shown)(shown.test.users)
    assert np.isfinite(scores).all()
    assert scores.std(0).max() > 0


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"coldstart__prototypes": 50}, "coldstart.prototypes = 50 begin with as many users"),
        ({"coldstart__prototype_users": 40}, "fewer than 40 a round"),
    ],
)
def test_refusals(keys, told):
    with pytest.raises(ConfigError, match=told):
        build(warm_by(**keys), ["prototypes"])
