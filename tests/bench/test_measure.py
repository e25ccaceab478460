"""Rounds of a small workload, and the yardsticks beside them."""

import json
from dataclasses import replace

import numpy as np
import pytest

from fedrec.bench import measure as measuring
from fedrec.bench.measure import begin, find_point, keep_samples, measure
from fedrec.bench.stopwatch import PHASES
from fedrec.bench.workloads import Workload
from fedrec.bench.yardsticks import Centralised, Columns, Floor, pooled_columns, work_of
from fedrec.data.batches import draw_samples
from fedrec.errors import ConfigError
from fedrec.params import Shared
from fedrec.training.local import train_cohort
from fedrec.training.methods import Method, Phase
from fedrec.training.node import init_personal, init_shared, prepare
from fedrec.training.pooled import PREFIX, Pooled

KEYS = (
    ("data.name", "zipf"),
    ("data.users", 80),
    ("data.items", 120),
    ("data.events_per_user", 15.0),
    ("model.dim", 4),
    ("model.init", 0.5),
    ("train.batch", 32),
    ("clients.sampling", "fixed"),
    ("clients.per_round", 25),
)
SMALL = Workload("small", "a small one", KEYS)
MLP = (("model.name", "keras"), ("model.source", "fedrec.bench.workloads:build_mlp"))


def test_a_round_is_measured_with_its_phases_and_ratios() -> None:
    figures = measure(SMALL, rounds=3)
    assert (figures["rounds"], figures["clients"]) == (3, 25)
    inside = {n: s for n, s in figures["phases"].items() if n != "evaluate"}
    assert list(figures["phases"]) == list(PHASES)
    assert all(seconds > 0 for seconds in figures["phases"].values())
    assert sum(inside.values()) == pytest.approx(figures["round_s_median"], rel=0.5)
    assert figures["samples"] == pytest.approx(25 * 13 * 5, rel=0.1)
    assert figures["clients_per_s"] == pytest.approx(25 / figures["round_s_median"])
    assert figures["ratio_to_floor"] > 1
    assert figures["ratio_to_centralised"] > 0
    assert figures["compile_s"] > 0.1
    assert figures["round_drawn_s_median"] > 0
    json.dumps(figures)


def test_negatives_drawn_anew_are_part_of_the_round_and_of_its_centralised_twin() -> None:
    figures = measure(replace(SMALL, presampled=False), rounds=2)
    assert "round_drawn_s_median" not in figures
    assert figures["centralised_s_median"] > figures["phases"]["sampling"]


def test_presampled_rounds_see_the_same_samples_and_others_do_not() -> None:
    for presampled in (True, False):
        federation = begin(replace(SMALL, presampled=presampled), 2)
        setup, spec = federation.setup, federation.setup.method.sampling
        assert keep_samples(setup) is presampled
        one, other = (
            draw_samples(setup.population, federation.clients[3:9], 0, n, spec) for n in (1, 2)
        )
        same = np.array_equal(one.fields["item"], other.fields["item"])
        assert same is presampled


@pytest.mark.parametrize("more", [(), MLP], ids=["mf", "mlp"])
def test_the_centralised_yardstick_trains_as_the_engine_would(more: tuple) -> None:
    setup = prepare(replace(SMALL, keys=(*KEYS, *more)).config)
    clients = np.arange(20)
    shared, personal = init_shared(setup), init_personal(setup, clients)
    spec = setup.method.sampling
    samples = draw_samples(setup.population, clients, 0, 1, spec)
    central = Centralised(setup.model, shared, personal, 0.1, 32)
    loss = central.epoch(pooled_columns(samples))
    tables, weights = central.values()

    tables_before = shared.tables | {PREFIX + n: v for n, v in personal.values.items()}
    pooled = replace(
        samples,
        client=np.zeros_like(samples.client),
        fields={**samples.fields, "user": samples.client},
        num_clients=1,
    )
    method = Method("centralised", (Phase(batch=32, lr=0.1, personal_lr=0.1),), spec)
    model = Pooled(setup.model)
    head = model.init_personal(np.array([0]), 0)
    before = Shared(tables_before, shared.weights)
    update = train_cohort(model, before, head, pooled, method, every_row=True)
    for name, start in tables_before.items():
        change = tables[name] - start
        # the yardstick keeps tables, so its change has lost the last digits of float32
        assert np.linalg.norm(change - update.rows[name]) < 1e-4 * np.linalg.norm(change)
    for name, start in shared.weights.items():
        change = weights[name] - start
        assert np.linalg.norm(change - update.weights[name][0]) < 2e-4 * np.linalg.norm(change)
    assert loss == pytest.approx(float(update.loss[0]), rel=0.02)

    central.reset(shared, personal)
    np.testing.assert_array_equal(central.values()[0]["item"], shared.tables["item"])


def test_work_is_counted_by_hand() -> None:
    setup = prepare(SMALL.config)
    clients = np.arange(3)
    samples = draw_samples(setup.population, clients, 0, 1, setup.method.sampling)
    shared, personal = init_shared(setup), init_personal(setup, clients)
    touched = [set(samples.fields["item"][samples.client == c]) for c in clients]
    work = work_of(samples, shared, personal)
    assert work.rows == sum(len(items) for items in touched)
    assert work.bytes == work.rows * 4 * 4
    assert work.flops == 6 * len(samples.label) * 4
    dense = Shared(shared.tables, {"kernel": np.zeros((8, 5), np.float32), "b": np.zeros(5)})
    assert work_of(samples, dense, personal).flops == 6 * len(samples.label) * 40


def test_the_floor_grows_with_the_bytes() -> None:
    small, large = Floor(1 << 20), Floor(1 << 27)
    assert min(small.copy_seconds() for _ in range(3)) * 10 < large.copy_seconds()
    assert 0 < small.flop_seconds() < 1e-8  # above 0.1 GFLOP/s


def test_columns_mix_clients() -> None:
    setup = prepare(SMALL.config)
    samples = draw_samples(setup.population, np.arange(5), 0, 1, setup.method.sampling)
    columns = pooled_columns(samples)
    assert isinstance(columns, Columns)
    assert (np.diff(columns.user) < 0).any()
    assert np.bincount(columns.user).tolist() == np.bincount(samples.client).tolist()


def test_points_of_curves_have_names() -> None:
    assert find_point("w3").name == "W3"
    assert find_point("items=2000").config.data.items == 2000
    assert find_point("clients=300").config.clients.per_round == 300
    with pytest.raises(ConfigError, match="users=3"):
        find_point("users=3")


def test_the_process_prints_one_line_of_json(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(measuring, "find_workload", lambda name: SMALL)
    measuring.main(["W1", "--rounds", "2"])
    assert json.loads(capsys.readouterr().out)["about"] == "a small one"
