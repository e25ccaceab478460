"""Runs that begin with an earlier model: in full, frozen, and with low-rank adapters."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fedrec
from fedrec.bench.calibration import _population
from fedrec.bench.counts import count
from fedrec.config import Config
from fedrec.data.interactions import Catalogue
from fedrec.engine.run_engine import execute
from fedrec.errors import ConfigError, ModelError
from fedrec.models.export import ExportedModel, load_model
from fedrec.models.pretrained import begin, overlap_notes
from fedrec.params import Shared
from fedrec.storage import RunDirectory
from fedrec.training.aggregate import ROW_ID_BYTES
from fedrec.training.central import train_central
from fedrec.training.node import init_shared, prepare

Make = Callable[..., Config]


def run(config: Config) -> tuple[ExportedModel, list[dict[str, Any]]]:
    execute(config)
    files = RunDirectory(Path(config.run.out))
    lines = [json.loads(line) for line in files.rounds.read_text().splitlines()]
    return load_model(files.model), lines


def directory(config: Config) -> str:
    return str(RunDirectory(Path(config.run.out)).model)


@pytest.fixture
def earlier(small_run: Make) -> Config:
    config = small_run("earlier", train__rounds=2)
    execute(config)
    return config


def test_a_run_begins_where_the_earlier_one_ended(small_run: Make, earlier: Config) -> None:
    known = load_model(Path(directory(earlier)))
    config = small_run("next", model__pretrained=directory(earlier))
    shared = init_shared(prepare(config))
    assert np.array_equal(shared.tables["item"], known.shared.tables["item"])
    fresh = init_shared(prepare(earlier))
    items = prepare(config).population.split.dataset.items
    renamed = Catalogue(
        np.array(["new", *items.ids[:0:-1]], object)
    )  # a new item, and turned round
    mixed = begin(config, fresh, renamed).tables["item"]
    assert np.array_equal(mixed[0], fresh.tables["item"][0])
    assert np.array_equal(mixed[1:], known.shared.tables["item"][:0:-1])


def test_it_is_told_how_many_items_are_known(small_run: Make, earlier: Config) -> None:
    whole = small_run("next", model__pretrained=directory(earlier))
    items = prepare(whole).population.split.dataset.items
    number = len(items)
    assert overlap_notes(small_run(), items) == ()
    assert overlap_notes(whole, items) == (f"model.pretrained knows {number} of {number} items",)
    other = Catalogue(np.append(items.ids, ["x", "y"]))
    frozen = small_run("next", model__pretrained=directory(earlier), model__freeze=True)
    told = f"knows {number} of {number + 2} items; the other 2 begin with fresh rows"
    assert overlap_notes(whole, other)[0].endswith(told)
    assert overlap_notes(frozen, other)[0].endswith(f"{told}, which model.freeze never trains")
    assert overlap_notes(small_run(model__pretrained=directory(earlier) + "x"), items) == ()
    assert fedrec.run(whole).result.notes[-1] == overlap_notes(whole, items)[0]


def test_adapters_send_less_and_leave_the_table_alone(small_run: Make, earlier: Config) -> None:
    start, whole = load_model(Path(directory(earlier))).shared, directory(earlier)
    full, lines = run(small_run("full", model__pretrained=whole))
    low, told = run(small_run("low", model__pretrained=whole, model__adapter_rank=1))
    clients, items = told[0]["clients"], len(start.tables["item"])
    rows = lines[0]["bytes_up"] / (ROW_ID_BYTES + 4 * 4)
    assert told[0]["bytes_up"] == rows * (ROW_ID_BYTES + 4) + clients * 4 * 4
    assert told[0]["bytes_down"] == clients * 4 * (items * (4 + 1) + 4)
    assert np.array_equal(low.shared.fixed["item"], start.tables["item"])
    assert np.abs(low.shared.tables["item_adapter"]).max() > 1e-3
    assert not np.array_equal(full.shared.tables["item"], start.tables["item"])
    again = small_run("again", model__pretrained=directory(small_run("low")))
    moved = low.shared.tables["item_adapter"] @ low.shared.weights["item_basis"]
    expected = start.tables["item"] + moved
    assert init_shared(prepare(again)).tables["item"] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    "keys",
    [
        {"train__method": "alternating"},
        {"engine__nodes": 3, "compress__download_bits": 8},
        {"clients__unit": "merchant", "train__lr": 0.02, "train__personal_lr": 0.02},
        {"train__method": "fedrecon"},
        {"train__optimizer": "adam"},
    ],
)
def test_it_learns_with_every_kind_of_client(
    small_run: Make, earlier: Config, keys: dict[str, Any]
) -> None:
    low = {"model__pretrained": directory(earlier), "model__adapter_rank": 2} | keys
    found, lines = run(small_run("low", **low))
    assert found.shared.tables["item_adapter"].any()
    assert all(np.isfinite(line["loss"]) for line in lines)


@pytest.mark.parametrize("method", ["fedavg", "alternating"])
def test_frozen_only_personal_vectors_are_trained(
    small_run: Make, earlier: Config, method: str
) -> None:
    keys: dict[str, Any] = {"model__pretrained": directory(earlier), "model__freeze": True}
    found, lines = run(small_run("frozen", **keys, train__method=method, train__personal_lr=0.1))
    assert lines[0]["bytes_up"] == 0
    assert lines[-1]["loss"] < lines[0]["loss"]
    assert found.shared.tables == {}


def test_in_secret_the_sum_is_the_same(small_run: Make, earlier: Config) -> None:
    keys: dict[str, Any] = {
        "model__pretrained": directory(earlier), "model__adapter_rank": 2, "train__rounds": 1,
        "server__rows": "mean", "server__weight_optimizer": "sgd", "server__weight_lr": 1.0,
        "evaluate__bootstrap": 0, "secure__clip": 32.0,
    }  # fmt: skip
    plain, _ = run(small_run("plain", **keys))
    hidden, _ = run(small_run("hidden", **keys, secure__mode="semi-honest"))
    for name, value in plain.shared.tables.items():
        assert hidden.shared.tables[name] == pytest.approx(value, abs=2e-4)
    assert np.abs(plain.shared.tables["item_adapter"]).max() > 1e-2


def test_costs_are_foretold_from_runs_without(small_run: Make, earlier: Config) -> None:
    keys: dict[str, Any] = {"model__pretrained": directory(earlier), "model__adapter_rank": 2}
    config = small_run(**keys, evaluate__item_group="popularity")
    small = config.with_(_population(config, 20, 30, 5.0))
    assert (small.model.pretrained, small.model.adapter_rank, small.evaluate.item_group) == (
        "", 0, ""
    )  # fmt: skip
    items = prepare(config).population.num_items
    assert count(config).elements == items * (4 + 2) + 2 * 4


def test_the_centralised_twin_has_adapters_too(small_run: Make, earlier: Config) -> None:
    keys: dict[str, Any] = {"model__pretrained": directory(earlier), "model__adapter_rank": 2}
    setup = prepare(small_run("low", **keys, central__epochs=2))
    assert train_central(setup).history[-1]["loss"] > 0


def test_what_cannot_be_begun_with_is_refused(small_run: Make, earlier: Config) -> None:
    here = directory(earlier)
    with pytest.raises(ConfigError, match=r"model.adapter_rank freezes item tables as they begin"):
        small_run(model__adapter_rank=2)
    with pytest.raises(ConfigError, match=r"model.freeze freezes item tables"):
        small_run(model__freeze=True)
    with pytest.raises(ConfigError, match=r"adapter_rank = 4 saves nothing with rows of model.dim"):
        small_run(model__pretrained=here, model__adapter_rank=4)
    with pytest.raises(ConfigError, match=r"model.freeze is not for train.method = 'fcf'"):
        small_run(model__pretrained=here, model__freeze=True, train__method="fcf",
                  model__loss="squared", train__negatives=0)  # fmt: skip
    with pytest.raises(ModelError, match=r"Expected the directory 'model' of an earlier run"):
        init_shared(prepare(small_run(model__pretrained=here + "x")))
    with pytest.raises(ModelError, match=r"has 'item' of shape \(4,\) where this run needs \(5,\)"):
        init_shared(prepare(small_run(model__pretrained=here, model__dim=5)))
    with pytest.raises(ModelError, match=r"has no parameter .*, only .*same model.name"):
        init_shared(prepare(small_run(model__pretrained=here, model__name="ncf")))
    with pytest.raises(ModelError, match=r"may have learnt what this run holds out"):
        init_shared(prepare(small_run(model__pretrained=here, split__protocol="time")))
    config = small_run(model__pretrained=here)
    other = Catalogue(np.array(["a", "b"], object))
    with pytest.raises(ModelError, match=r"knows none of the 2 items of 'marketplace'"):
        begin(config, Shared({"item": np.zeros((2, 4), np.float32)}), other)
    fresh = Shared({"item": np.zeros((2, 4), np.float32)})
    assert begin(small_run(), fresh, other) is fresh
