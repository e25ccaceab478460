"""One gradient for all clients: the sum is that of the clients' updates, and each is there to ask."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from fedrec.config import Config
from fedrec.params import PartialSum
from fedrec.privacy.stages import client_norms
from fedrec.training.aggregate import client_weights, partial_sum
from fedrec.training.node import Setup, block_samples, prepare, train_node
from fedrec.training.pulled import Pulled
from fedrec.training.table_sum import Summed
from tests.training.test_still import CASES, STEPS, start, trained, without_form

Make = Callable[..., Config]
ONE = {name: keys for name, keys in CASES.items() if "fedrecon" not in name}


def prepared(small_run: Make, name: str, **more: str | float) -> tuple[Setup, Setup]:
    """A method of one gradient, and the same of a model without a form."""
    setup = prepare(small_run("run", **{**STEPS, **CASES[name], **more}))
    return setup, replace(setup, model=without_form(setup.model))


def summed(setup: Setup, exponent: float = 0.0) -> PartialSum:
    shared, personal = start(setup)
    clients = np.arange(setup.population.num_clients)
    return partial_sum([trained(setup, shared, personal, clients)], shared, exponent)


def assert_same(found: PartialSum, wanted: PartialSum) -> None:
    for table, rows in wanted.tables.items():
        size = max(1e-6, float(np.abs(rows.rows).max()))
        assert np.array_equal(found.tables[table].ids, rows.ids), table
        assert found.tables[table].rows == pytest.approx(rows.rows, abs=2e-3 * size), table
        assert found.row_weight[table] == pytest.approx(wanted.row_weight[table])
    for weight, change in wanted.weights.items():
        size = max(1e-6, float(np.abs(change).max()))
        assert found.weights[weight] == pytest.approx(change, abs=2e-3 * size), weight
    assert found.weight == pytest.approx(wanted.weight)
    assert found.metrics == pytest.approx(wanted.metrics, rel=1e-4)


@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize("name", sorted(ONE))
def test_the_sum_is_that_of_the_clients(small_run: Make, name: str, reduction: str) -> None:
    setup, plain = prepared(small_run, name, train__reduction=reduction)
    shared, personal = start(setup)
    update = trained(setup, shared, personal, np.arange(setup.population.num_clients))
    assert isinstance(update.rows, Pulled)
    assert isinstance(update.weights, Summed)
    assert_same(partial_sum([update], shared, 0.5), summed(plain, 0.5))


def test_penalties_of_rows_are_counted_for_each_sample(small_run: Make) -> None:
    """What l2 adds to the sum is minus l2 times the row, once for each sample that names it."""
    strong, weak = (
        prepared(small_run, "deepfm", train__l2=l2, train__personal_lr=1e-9)[0] for l2 in (0.5, 0.0)
    )
    shared, personal = start(strong)
    clients = np.arange(strong.population.num_clients)
    update = trained(strong, shared, personal, clients)
    more = partial_sum([update], shared, 0.0).tables["item"]
    less = summed(weak).tables["item"]
    index = update.index["item"]
    visits = np.zeros(index.num_rows)
    np.add.at(visits, block_samples(strong, clients, 1).fields["item"], 1.0)
    expected = -0.5 * visits[more.ids, None] * shared.tables["item"][more.ids]
    assert more.rows - less.rows == pytest.approx(expected, abs=2e-4 * np.abs(expected).max())


def test_a_plain_run_asks_no_client_for_its_own(
    small_run: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    setup, plain = prepared(small_run, "deepfm")
    shared, personal = start(setup)
    clients = np.arange(setup.population.num_clients)
    monkeypatch.setattr(Pulled, "__getitem__", pytest.fail)
    found, _ = train_node(setup, shared, personal, clients, 1)
    wanted, _ = train_node(plain, shared, personal, clients, 1)
    assert_same(found, wanted)


@pytest.mark.parametrize(
    "keys",
    [
        {
            "privacy__mechanism": "central",
            "privacy__clip": 0.05,
            "privacy__noise_multiplier": 0.5,
            "server__rows": "sum",
        },
        {"compress__rows": 5},
    ],
    ids=["clipped", "largest rows"],
)
def test_who_bounds_a_client_has_its_own_update(small_run: Make, keys: dict[str, Any]) -> None:
    setup, plain = prepared(small_run, "deepfm", **keys)
    shared, personal = start(setup)
    clients = np.arange(setup.population.num_clients)
    found, wanted = (train_node(one, shared, personal, clients, 1)[0] for one in (setup, plain))
    assert_same(found, wanted)


def test_sums_do_not_depend_on_how_clients_are_spread(small_run: Make) -> None:
    setup, _ = prepared(small_run, "deepfm")
    shared, personal = start(setup)
    every = np.arange(setup.population.num_clients)
    whole = partial_sum([trained(setup, shared, personal, every)], shared, 0.0)
    half = len(every) // 2
    parts = [
        trained(setup, shared, personal.take(part), part) for part in (every[:half], every[half:])
    ]
    assert all(isinstance(part.rows, Pulled) for part in parts)
    assert_same(partial_sum(parts, shared, 0.0), whole)


def test_changes_say_their_size_and_are_asked_once(small_run: Make) -> None:
    setup, plain = prepared(small_run, "deepfm")
    shared, personal = start(setup)
    clients = np.arange(setup.population.num_clients)
    found, wanted = (trained(one, shared, personal, clients) for one in (setup, plain))
    for mine, theirs in ((found.rows, wanted.rows), (found.weights, wanted.weights)):
        assert isinstance(mine, Pulled)
        assert set(mine) == set(theirs)
        assert len(mine) == len(theirs)
        for name in mine:
            assert mine.num_bytes(name) == np.asarray(theirs[name]).nbytes
            assert mine[name] is mine[name]
    assert client_norms(found) == pytest.approx(client_norms(wanted), rel=1e-3)
    weight = client_weights(found, 0.0)
    assert isinstance(found.weights, Summed)
    first = found.weights.summed("deep_0", weight)
    assert found.weights.summed("deep_0", weight.copy()) is first  # the same weights
    assert found.weights.summed("deep_0", 2.0 * weight) == pytest.approx(2.0 * first)


def test_more_than_one_step_trains_as_ever(small_run: Make) -> None:
    """Minibatches move what later steps read, so there is no single gradient."""
    setup, _ = prepared(small_run, "deepfm", train__method="fedavg", train__batch=16)
    shared, personal = start(setup)
    update = trained(setup, shared, personal, np.arange(setup.population.num_clients))
    assert not isinstance(update.rows, Summed)
