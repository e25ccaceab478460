"""What a run is made of, counted before it starts."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fedrec.bench.counts import count, features, is_long
from fedrec.config import Config, load_config
from fedrec.data.batches import draw_samples
from fedrec.training.node import prepare

KEYS = {
    "data.name": "zipf",
    "data.users": 200,
    "data.items": 150,
    "data.events_per_user": 20.0,
    "model.dim": 4,
}


def config(**changes: str | int | float) -> Config:
    return load_config(None, {**KEYS, **{k.replace("__", "."): v for k, v in changes.items()}})


def test_counts_of_a_run_of_all_clients() -> None:
    counts = count(config(train__rounds=12, evaluate__every=5, server__checkpoint_every=4))
    population = prepare(config()).population
    assert counts.clients == counts.users == 200
    assert counts.samples == 5 * len(population.items)
    assert counts.elements == 150 * 4
    assert counts.personal == 200 * 4
    assert counts.block_cells == 200 * 150  # all at once
    assert (counts.rounds, counts.evaluations, counts.checkpoints) == (12, 3, 3)
    assert (counts.nodes, counts.neighbours) == (1, 0)
    assert counts.block_samples <= counts.samples <= counts.blocks * counts.block_samples


@pytest.mark.parametrize("negatives", [1, 4])
def test_touched_rows_are_expected_right(negatives: int) -> None:
    setup = prepare(config(train__negatives=negatives))
    drawn = draw_samples(setup.population, np.arange(200), 0, 1, setup.method.sampling)
    real = len(np.unique(drawn.client * 150 + drawn.fields["item"]))
    assert count(setup.config).rows == pytest.approx(real, rel=0.02)


def test_fcf_touches_everything() -> None:
    counts = count(config(train__method="fcf", model__loss="squared"))
    assert counts.rows == counts.samples == 200 * 150


def test_sampling_availability_and_dropout_thin_the_clients_out() -> None:
    some = count(config(clients__sampling="fixed", clients__per_round=50, clients__dropout=0.2))
    assert some.clients == pytest.approx(40)
    assert count(config(clients__availability=0.5)).clients == pytest.approx(100)
    few = count(config(evaluate__clients=30))
    assert (few.users, few.tested) == (30, 200)


def test_steps_are_those_of_the_longest_client_of_each_block() -> None:
    setup = prepare(config())
    most = 5 * int(setup.population.samples_of_client.max())
    # all local samples are one batch: 4 personal steps and one of the shared part
    full = config(train__method="alternating", train__personal_steps=4)
    assert count(full).steps == 5 * count(full).blocks
    small = config(train__method="fedavg", train__batch=10, train__epochs=2, train__optimizer="sgd")
    assert (count(small).blocks, count(small).steps) == (1, 2 * -(-most // 10))
    two = count(small.with_({"engine.nodes": 2}))
    assert two.blocks == 2
    assert count(small).steps < two.steps <= 2 * count(small).steps


def test_a_network_has_weights_and_secure_aggregation_has_neighbours() -> None:
    plain = count(config())
    ncf = count(config(model__name="ncf", model__mlp="8"))
    # two tables of width 4; an MLP of 8 -> 8 with bias, a head of 12 -> 1 with bias
    assert ncf.elements == 2 * plain.elements + (8 * 8 + 8) + (12 + 1)
    secure = count(
        config(secure__mode="semi-honest", clients__sampling="fixed", clients__per_round=10)
    )
    assert secure.neighbours == 9  # so few clients are all neighbours
    assert 9 < secure.valid_neighbours == secure.test_neighbours < 199
    fewer = count(config(secure__mode="semi-honest", evaluate__clients=12))
    assert (fewer.valid_neighbours, fewer.test_neighbours) == (11, secure.test_neighbours)


def test_every_term_is_a_sum_of_counts() -> None:
    counts = count(config(engine__nodes=3))
    work = [200, counts.samples, counts.blocks, counts.steps, 2 * 600]
    assert features(counts, "round") == [1.0, *work, 0, 0, 0]
    assert features(counts, "evaluate") == [1.0, 200, 200 * 150, 0]
    assert features(counts, "test") == [1.0, 200, 200 * 150, 0]
    assert features(counts, "end") == [1.0, 200, 600 + 800, 0]
    assert features(counts, "checkpoint") == [1.0, 600 + 800]
    assert features(counts, "bytes")[:3] == [200, counts.rows, 200 * 600]
    secure = replace(counts, neighbours=10, valid_neighbours=20, test_neighbours=30)
    assert features(secure, "round")[6:] == [2_000, 200 * 600, 2_000 * 600]
    assert features(secure, "evaluate")[3] == 4_000
    assert features(secure, "test")[3] == 6_000
    assert features(secure, "end")[3] == 6_000 * 150


def test_short_runs_are_not_worth_an_estimate() -> None:
    assert not is_long(config(train__rounds=0))
    assert not is_long(config(train__rounds=50))
    assert is_long(config(train__rounds=2000))
    sampled = config(train__rounds=2000, clients__sampling="fixed", clients__per_round=20)
    assert not is_long(sampled)


def test_mapped_interactions_are_no_memory(tmp_path: Path) -> None:
    cache = str(tmp_path)
    memory = count(config(data__store="memory", data__cache=cache))
    disk = count(config(data__store="disk", data__cache=cache))
    assert disk == replace(memory, interactions=0, mapped=memory.interactions)
    assert (memory.interactions > 3_000, memory.mapped) == (True, 0)
