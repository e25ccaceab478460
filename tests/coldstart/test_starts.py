"""Strangers who begin at a start that Reptile or FOMAML has learned."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fedrec.coldstart.strangers import strangers
from fedrec.coldstart.users import Warm, build
from fedrec.config import from_flat
from fedrec.errors import ConfigError
from fedrec.params import Shared
from fedrec.training.node import init_shared, prepare


def warm_by(method: str, **more: str | int | float) -> Warm:
    keys: dict[str, str | int | float] = {
        "data.name": "marketplace",
        "data.users": 60,
        "data.items": 40,
        "data.merchants": 2,
        "split.protocol": "cold-users",
        "split.fraction": 0.2,
        "model.dim": 4,
        "model.init": 0.3,
        "train.method": method,
        "coldstart.test_items": 2,
        **{name.replace("__", "."): value for name, value in more.items()},
    }
    setup = prepare(from_flat(keys))
    return Warm(setup, init_shared(setup))


@pytest.mark.parametrize("method", ["reptile", "fomaml"])
def test_a_stranger_begins_at_the_start_and_leaves_it_with_its_history(method: str) -> None:
    warm = warm_by(method)
    strategy = build(warm, [method])[method]
    assert strategy.name == method
    assert strategy.bytes_down == warm.shared.num_bytes
    start = warm.shared.tables["item"] @ warm.shared.weights["start/user"]
    nobody = strangers(warm.setup, "test", 0)
    users = nobody.test.users[:5]
    scores = strategy.scorer(nobody)(users)
    assert scores == pytest.approx(np.tile(start, (len(users), 1)), rel=1e-5, abs=1e-6)
    known = strangers(warm.setup, "test", 5)
    adapted = strategy.scorer(known)(users)
    shown = np.diff(known.indptr)[users] > 0
    assert shown.any()
    assert (np.abs(adapted - start).max(axis=1)[shown] > 1e-3).all()
    moved = {"start/user": warm.shared.weights["start/user"] + 1}
    other = Warm(warm.setup, Shared(warm.shared.tables, moved))
    assert np.abs(build(other, [method])[method].scorer(nobody)(users) - scores).max() > 0.1


@pytest.mark.parametrize("method", ["reptile", "fomaml"])
def test_a_step_from_the_start_by_hand(method: str) -> None:
    """theta = start + rate * sum over what is revealed of (1 - sigmoid(start q)) q."""
    one = {"train__batch": 0, "train__personal_steps": 1, "train__personal_lr": 0.5}
    warm = warm_by(method, **one, train__optimizer="sgd")
    rows, start = warm.shared.tables["item"], np.array([0.2, -0.1, 0.4, 0.0], np.float32)
    own = warm.setup.method
    alone = replace(own, sampling=replace(own.sampling, negatives=0))
    setup = replace(warm.setup, method=alone)
    warm = Warm(setup, Shared({"item": rows}, {"start/user": start}))
    known = strangers(warm.setup, "test", 3)
    user = int(known.test.users[0])
    met = rows[known.items[known.indptr[user] : known.indptr[user + 1]]]
    missed = 1.0 - 1.0 / (1.0 + np.exp(-met @ start))
    theta = start + 0.5 * (missed[:, None] * met).sum(0)
    scores = build(warm, [method])[method].scorer(known)(np.array([user]))[0]
    assert scores == pytest.approx(rows @ theta, abs=1e-5)


def test_another_method_has_learned_no_start() -> None:
    with pytest.raises(ConfigError, match="'reptile' begins where train.method = 'reptile' has"):
        build(warm_by("fedrecon"), ["reptile"])
