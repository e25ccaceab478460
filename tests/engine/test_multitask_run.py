"""Whole runs of models of several tasks: nodes, secure sums, noise, refusals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fedrec.compare import compare
from fedrec.config import Config, from_flat
from fedrec.config_tasks import has_local_heads
from fedrec.errors import ConfigError, DataError
from fedrec.training.node import init_shared, prepare
from tests.engine.test_engines import TOLERANCE, relative_difference
from tests.engine.test_engines import run as run_change
from tests.engine.test_secure_run import PLAIN, SECURE, run, system, within_bound

Make = Callable[..., Config]
KEYS: dict[str, Any] = {"model__name": "mmoe", "model__mlp": "4", "model__experts": 2}


def test_nodes_do_not_matter(small_run: Make) -> None:
    keys = {**KEYS, "train__lr": 0.1, "train__personal_lr": 0.1}
    one = run_change(small_run, "in-process", 1, **keys)
    assert relative_difference(run_change(small_run, "in-process", 7, **keys), one) <= TOLERANCE


@pytest.mark.parametrize("unit", ["user", "merchant"])
def test_a_secure_run_is_the_plain_one(small_run: Make, unit: str) -> None:
    """Merchants keep their heads, which are in no update."""
    keys = {**KEYS, "clients__unit": unit, "data__merchants": 4}
    secure = small_run("secure", **{**SECURE, **keys})
    found = run(secure)
    assert any("head_" in name for name in found) == (unit == "user")
    assert within_bound(secure, found, run(small_run("plain", **{**PLAIN, **keys})))


def test_one_task_may_learn_from_its_own_event_alone(small_run: Make) -> None:
    keys = {**KEYS, "model__task_weights": "0 0 1", "split__train_event": "purchase"}
    setup = prepare(small_run(**keys))
    assert set(setup.population.levels) == {3}
    everything = prepare(small_run(**KEYS, split__event="purchase")).population
    assert np.array_equal(setup.population.test.items, everything.test.items)


@pytest.mark.parametrize("name", ["mmoe", "shared-bottom"])
def test_a_funnel_in_secret_is_the_plain_one(small_run: Make, name: str) -> None:
    keys = {**KEYS, "model__name": name, "model__funnel": True}
    secure = small_run("secure", **{**SECURE, **keys})
    found = run(secure)
    assert within_bound(secure, found, run(small_run("plain", **{**PLAIN, **keys})))
    heads = run(small_run("heads", **{**PLAIN, **keys, "model__funnel": False}))
    assert np.abs(found["table.item"] - heads["table.item"]).max() > 1e-3


def test_threshold_rows_and_central_noise(small_run: Make) -> None:
    few = {"clients__sampling": "fixed", "clients__per_round": 6, "secure__tau": 4}
    rows = small_run("rows", **{**SECURE, **KEYS, **few, "secure__rows": "threshold"})
    moved = run(rows)["table.item"] - init_shared(prepare(rows)).tables["item"]
    assert 0 < np.count_nonzero(moved.any(1)) < len(moved)
    noise = {"privacy__mechanism": "central", "privacy__clip": 1.0, "privacy__epsilon": 8.0}
    private = small_run("noise", **{**PLAIN, **KEYS, **noise})
    run(private)
    assert 0 < system(private)["privacy"]["epsilon"] <= 8.0


def test_a_comparison_with_the_centralised_twin(small_run: Make) -> None:
    keys = {**KEYS, "central__epochs": 1, "compare__seeds": "0", "compare__leak_guard": True,
            "model__funnel": True}  # fmt: skip
    config = small_run("compare", **keys, train__rounds=1)
    result = compare(config, systems=["federated", "centralised", "popularity"]).result
    assert [s.name for s in result.systems] == ["federated-mmoe", "centralised-mmoe", "popularity"]
    assert result.leak_guard is not None
    assert result.leak_guard["passed"]


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"data.feedback": "explicit", "model.loss": "squared"}, "predicts events"),
        ({"model.loss": "bpr"}, "needs model.loss = 'logistic'"),
        ({"split.train_event": "purchase"}, "learns view, cart too"),
        ({"split.train_event": "cart", "model.task_weights": "0 0 1"}, "learns purchase too"),
        ({"model.funnel": True, "model.task_weights": "1 0 1"}, "never trains that of cart"),
        ({"model.name": "mf", "model.funnel": True}, "for models of several tasks"),
        ({"model.task_weights": "1 1"}, "expected 3 numbers"),
        ({"model.task_weights": "1 1 0"}, "never trains the head of model.target"),
        ({"model.task_weights": "1 x 1"}, "expected 3 numbers"),
        ({"model.name": "mf", "model.target": "cart"}, "for models of several tasks"),
        ({"model.name": "ncf", "model.local_heads": True}, "for models of several tasks"),
        ({"data.name": "file", "data.path": "x.csv", "model.local_heads": "yes"}, "local_heads"),
    ],
)
def test_what_does_not_fit_is_refused(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        from_flat({"model.name": "mmoe", **keys})


def test_heads_are_local_where_merchants_are_clients() -> None:
    assert has_local_heads(from_flat({"model.name": "mmoe", "clients.unit": "merchant"}))
    assert not has_local_heads(from_flat({"model.name": "mmoe"}))
    assert has_local_heads(from_flat({"model.name": "mmoe", "model.local_heads": True}))


@pytest.mark.parametrize("name", ["mmoe", "shared-bottom"])
def test_data_without_events_are_refused(small_run: Make, name: str) -> None:
    with pytest.raises(DataError, match="'zipf' has no events .* data.event_column"):
        prepare(small_run(data__name="zipf", model__name=name))
