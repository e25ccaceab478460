"""Clients that train alone share nothing, not even rounding."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fedrec.config import Config
from fedrec.data.population import Population
from fedrec.params import Personal, Shared
from fedrec.training import device, local_only
from fedrec.training.local_only import by_itself, train_local_only
from fedrec.training.node import Setup, init_shared, prepare, train_block
from tests.training.cohorts import population_of, random_population, relative, setup_of

NCF = {"model__name": "ncf", "model__mlp": "6 4"}
EXPLICIT = {"data__feedback": "explicit", "model__loss": "squared"}


def alone_of(population: Population, **keys: Any) -> Setup:
    setup = setup_of(population, **{"local__every": 2, "local__batch": 8, **keys})
    return by_itself(setup)


def start(setup: Setup) -> tuple[Shared, Personal]:
    """The same tables for each client, one copy after the other."""
    clients = np.arange(setup.population.num_clients)
    tables = {t: np.tile(v, (len(clients), 1)) for t, v in init_shared(setup).tables.items()}
    return Shared(tables), setup.model.init_personal(clients, 0)


def train(setup: Setup, rounds: int = 1) -> tuple[dict[str, np.ndarray], Personal]:
    """Tables [C, I, d] and personal parameters after some rounds on one's own."""
    shared, personal = start(setup)
    clients = np.arange(setup.population.num_clients)
    for number in range(1, rounds + 1):
        update, personal = train_block(setup, shared, personal, clients, number, copies=clients)
        for table, delta in update.rows.items():
            shared.tables[table][update.index[table].ids] += delta
    shape = (len(clients), setup.population.num_items)
    return {t: v.reshape(*shape, -1) for t, v in shared.tables.items()}, personal


TRAIN = [[0, 3, 5, 7], [2, 3, 8, 9], [1, 4, 5, 6]]
OTHER = [[0, 3, 5, 7], [11, 10, 4, 1], [1, 4, 5, 6]]


@pytest.mark.parametrize("keys", [{}, NCF, {"model__loss": "bpr"}])
def test_the_data_of_one_client_does_not_move_another(keys: dict[str, Any]) -> None:
    ours, own = train(alone_of(population_of(TRAIN, num_items=12), **keys), rounds=2)
    theirs, other = train(alone_of(population_of(OTHER, num_items=12), **keys), rounds=2)
    for table in ours:
        assert (ours[table][[0, 2]] == theirs[table][[0, 2]]).all()
        assert (ours[table][1] != theirs[table][1]).any()
    for name in own.values:
        assert (own.values[name][[0, 2]] == other.values[name][[0, 2]]).all()
        assert (own.values[name][1] != other.values[name][1]).any()


@pytest.mark.parametrize("keys", [{}, NCF, EXPLICIT])
def test_it_is_the_training_of_a_client_with_a_server_of_its_own(keys: dict[str, Any]) -> None:
    population = random_population((4, 9, 2), 20, ratings="data__feedback" in keys)
    setup = alone_of(population, **keys)
    tables, personal = train(setup, rounds=2)
    for c in range(3):
        shared, mine = init_shared(setup), setup.model.init_personal(np.array([c]), 0)
        first = {t: v.copy() for t, v in shared.tables.items()}
        for number in (1, 2):
            update, mine = train_block(setup, shared, mine, np.array([c]), number)
            for table, delta in update.rows.items():
                shared.tables[table][update.index[table].ids] += delta
        for table, before in first.items():
            assert relative(tables[table][c] - before, shared.tables[table] - before) <= 1e-5
        for name, value in mine.values.items():
            assert personal.values[name][c] == pytest.approx(value[0], rel=1e-4, abs=1e-5)


def test_dense_weights_are_each_clients_own() -> None:
    setup = alone_of(random_population((4, 9, 2), 20), **NCF)
    shared, personal = start(setup)
    assert not shared.weights
    kernel = personal.values["head/kernel"]
    assert (kernel == kernel[:1]).all()
    _, after = train(setup)
    assert len({k.tobytes() for k in after.values["head/kernel"]}) == 3


@pytest.mark.parametrize(
    "keys", [{}, NCF, {"clients.unit": "merchant"}, {"split.protocol": "time"}]
)
def test_trains_selects_and_tells(small_run: Callable[..., Config], keys: dict[str, Any]) -> None:
    setup = prepare(small_run(local__epochs=4, local__every=2, **keys))
    events: list[dict[str, object]] = []
    trained = train_local_only(setup, events.append)
    assert [line["round"] for line in trained.history] == [2, 4]
    assert events == [{"event": "round", **line} for line in trained.history]
    losses = [float(str(line["loss"])) for line in trained.history]
    assert losses[1] < losses[0]
    curve = [line["valid"]["full.ndcg@10"] for line in trained.history]  # type: ignore[index]
    assert trained.selected == (2 if curve[0] >= curve[1] else 4)
    assert trained.test.counts["full"] == len(setup.population.test.users)


@pytest.mark.parametrize("protocol", ["cold-users", "cold-items"])
def test_users_without_training_items_are_evaluated_too(
    small_run: Callable[..., Config], protocol: str
) -> None:
    setup = prepare(small_run(split__protocol=protocol, local__epochs=2, local__every=2))
    if protocol == "cold-users":
        assert (setup.population.samples_of_client == 0).any()
    trained = train_local_only(setup)
    assert trained.test.counts["full"] == len(setup.population.test.users)


def test_the_result_does_not_depend_on_the_size_of_blocks(small_run: Callable[..., Config]) -> None:
    """Blocks hold copies of the tables; a block of one client gives the same figures."""
    keys = {"local__epochs": 4, "local__every": 2}
    one = train_local_only(prepare(small_run(**keys)))
    many = train_local_only(prepare(small_run(**keys, engine__block_mib=8)))
    assert one.test.values == pytest.approx(many.test.values)


def test_little_memory_makes_more_blocks(
    small_run: Callable[..., Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    setup = prepare(small_run(model__dim=64))
    before = local_only._blocks(setup)
    monkeypatch.setattr(device, "available_bytes", lambda: 1 << 20)
    after = local_only._blocks(setup)
    assert len(after) > len(before)
    assert np.array_equal(np.sort(np.concatenate(after)), np.sort(np.concatenate(before)))
