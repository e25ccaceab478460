"""New items in a run: every strategy, other models, masked sums, and nothing leaks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedrec.coldstart.items import ITEM_STRATEGIES, fill_rows, item_strategy, with_new_items
from fedrec.config import Config, from_flat
from fedrec.data.batches import Sampling, draw_samples
from fedrec.data.interactions import Dataset
from fedrec.data.load import load_dataset
from fedrec.data.partition import partition
from fedrec.data.population import Population, build_population
from fedrec.data.split import split
from fedrec.engine.run_engine import execute
from fedrec.errors import ConfigError, ModelError
from fedrec.evaluation.leak_guard import guard
from fedrec.models.export import load_model
from fedrec.models.features import Options, item_features
from fedrec.params import Shared
from fedrec.run import run
from fedrec.storage import RunDirectory, read_arrays
from fedrec.systems import check_systems
from fedrec.training.node import init_shared, prepare

Make = Callable[..., Config]
COLD: dict[str, Any] = {"split__protocol": "cold-items", "evaluate__sampled": 0,
                        "train__negatives_from": "known", "coldstart__net_steps": 5}  # fmt: skip
TOWER: dict[str, Any] = {"model__name": "two-tower", "model__id_rows": False, "train__lr": 0.1,
                         "model__tower": "6", "server__rows": "mean",
                         "server__weight_lr": 0.1}  # fmt: skip
SUM: dict[str, Any] = {"server__rows": "sum", "evaluate__every": 3, "server__weighting": "equal",
                       "model__name": "item-item"}  # fmt: skip
SPECIAL = ("content-tower", "ifedrec")
MARKET = {"data.name": "marketplace", "data.users": 40, "data.items": 60,
          "data.events_per_user": 12.0, **{k.replace("__", "."): v for k, v in COLD.items()},
          "coldstart.items": "mean"}  # fmt: skip


def tables(config: Config) -> tuple[Shared, Shared]:
    """Return what a run has trained, and what it leaves as its model."""
    files = RunDirectory(Path(config.run.out))
    arrays, _ = read_arrays(files.checkpoint)
    best = {n.removeprefix("best/table."): v for n, v in arrays.items() if n.startswith("best/tab")}
    return Shared(best), load_model(files.model).shared


@pytest.mark.parametrize("name", [n for n in ITEM_STRATEGIES if n not in SPECIAL])
def test_a_run_fills_new_rows_and_no_others(small_run: Make, name: str) -> None:
    config = small_run(name, **COLD, coldstart__items=name, train__rounds=2)
    result = run(config).result
    assert result.systems[0].name == f"federated-mf-{name}"
    trained, left = tables(config)
    new = prepare(config).population.new_items
    old = np.setdiff1d(np.arange(len(trained.tables["item"])), new)
    assert np.array_equal(trained.tables["item"][old], left.tables["item"][old])
    expected = with_new_items(prepare(config), trained)
    assert np.array_equal(left.tables["item"], expected.tables["item"])
    assert not np.any(np.all(left.tables["item"][new] == trained.tables["item"][new], axis=1))


def test_masked_sums_fill_the_same_rows(small_run: Make) -> None:
    keys = {**COLD, "coldstart__items": "ridge", "train__rounds": 1, "evaluate__every": 1,
            "server__rows": "sum", "server__table_lr": 0.1}  # fmt: skip
    plain, secure = (small_run(mode, **keys, secure__mode=mode) for mode in ("off", "semi-honest"))
    for config in (plain, secure):
        execute(config)
    (_, one), (_, other) = tables(plain), tables(secure)
    assert other.tables["item"] == pytest.approx(one.tables["item"], abs=2e-3)


def test_new_items_of_ease_get_columns_of_weights(small_run: Make) -> None:
    ease = {**SUM, "train__method": "ease"}
    config = small_run("ease", **COLD, **ease, coldstart__items="category-mean")
    found = run(config).result.systems[0]
    trained, left = tables(config)
    new = prepare(config).population.new_items
    assert found.name == "federated-ease-category-mean"
    assert not trained.tables["item"][:, new].any()
    assert np.abs(left.tables["item"][:, new]).sum(0).min() > 0


def test_a_tower_has_no_rows_to_fill_and_ifedrec_its_own(small_run: Make) -> None:
    for keys in (
        {**TOWER, "coldstart__items": "content-tower"},
        {"model__anchor": 0.1, "coldstart__items": "ifedrec"},
    ):
        setup = prepare(small_run("own", **COLD, **keys))
        shared = init_shared(setup)
        assert with_new_items(setup, shared) is shared
    towers = prepare(small_run("id", **COLD, **{**TOWER, "model__id_rows": True},
                               coldstart__items="content-tower"))  # fmt: skip
    start = init_shared(towers)
    filled, new = with_new_items(towers, start).tables["item"], towers.population.new_items
    old = np.setdiff1d(np.arange(towers.population.num_items), new)
    mean = start.tables["item"][old].mean(0)
    assert filled[new] == pytest.approx(np.tile(mean, (len(new), 1)), abs=1e-6)


def test_what_a_device_is_sent(small_run: Make) -> None:
    rows = prepare(small_run("rows", **COLD, coldstart__items="nearest"))
    assert item_strategy("nearest").bytes_per_item(rows.model, init_shared(rows)) == 4 * 4
    towers = prepare(small_run("towers", **COLD, **TOWER, coldstart__items="content-tower"))
    width = item_features(towers.population.catalogue, Options()).width
    found = item_strategy("content-tower").bytes_per_item(towers.model, init_shared(towers))
    assert found == 4 * width


def test_ranked_among_all_items_and_guarded(small_run: Make) -> None:
    config = small_run("all", **COLD, coldstart__items="nearest", data__users=300)
    assert config.evaluate.candidates == "all"
    verdict = guard(config)
    assert verdict.passed, verdict.statement


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"split__protocol": "time", "train__negatives_from": "train"}, "needs split.protocol = 'cold-items', not 'time'"),
        ({"train__negatives_from": "train"}, "draws them as negatives: set it to 'known'"),
        ({"coldstart__items": "content-tower"}, "'two-tower' or 'deepfm', not 'mf'"),
        ({"coldstart__items": "ifedrec"}, "set model.anchor above 0"),
        ({**TOWER}, "model.id_rows = false leaves none"),
        ({**SUM, "model__name": "lightgcn", "train__method": "lightgcn",
          "model__loss": "bpr"}, "have no edges"),
        ({**SUM, "train__method": "item-knn"}, "needs item vectors"),
        ({**SUM, "train__method": "ease", "coldstart__items": "attribute-net"}, "= 'ridge'"),
    ],
)  # fmt: skip
def test_what_cannot_work_is_refused(small_run: Make, keys: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        small_run("refused", **{**COLD, "coldstart__items": "nearest", **keys})


def test_other_refusals(small_run: Make) -> None:
    with pytest.raises(ConfigError, match="Did you mean 'nearest'"):
        item_strategy("nearst")
    config = small_run("systems", **COLD, coldstart__items="mean")
    with pytest.raises(ConfigError, match="leave centralised out of compare.systems"):
        check_systems(["federated", "centralised"], config)
    setup = prepare(config)
    nobody = replace(setup.population.catalogue, known=np.zeros(setup.population.num_items, bool))
    with pytest.raises(ModelError, match="and 0 items are trained"):
        fill_rows(item_strategy("mean"), setup, init_shared(setup), nobody)


@given(st.integers(0, 2**31), st.floats(0.1, 0.9))
@settings(max_examples=15)
def test_held_out_items_touch_nothing_of_training(seed: int, share: float) -> None:
    config = from_flat(MARKET)
    whole = load_dataset(config)
    draws = np.random.default_rng(seed)
    first = population_of(whole, config)
    held = np.concatenate([first.split.valid, first.split.test])
    gone = held[1:-1][draws.random(len(held) - 2) < share]
    rest = whole.interactions.take(np.setdiff1d(np.arange(len(whole.interactions)), gone))
    items = changed(whole, first.new_items, draws)
    second = population_of(replace(whole, interactions=rest, items=items), config)
    assert np.array_equal(first.items, second.items)
    assert np.array_equal(first.indptr, second.indptr)
    assert np.array_equal(first.item_counts, second.item_counts)
    assert not first.item_counts[first.new_items].any()
    assert np.array_equal(first.new_items, second.new_items)
    users = np.arange(first.num_users)
    samples = [draw_samples(p, users, 0, 1, Sampling(4, known=True)) for p in (first, second)]
    assert np.array_equal(samples[0].fields["item"], samples[1].fields["item"])
    assert not np.isin(samples[0].fields["item"], first.new_items).any()
    old = np.setdiff1d(np.arange(first.num_items), first.new_items)
    features = [item_features(p.catalogue, Options()).values[old] for p in (first, second)]
    assert np.array_equal(features[0], features[1])


def population_of(dataset: Dataset, config: Config) -> Population:
    return build_population(partition(dataset, config), split(dataset, config), explicit=False)


def changed(dataset: Dataset, new: Any, draws: np.random.Generator) -> Any:
    """Return the catalogue with other numbers and values of the items that are held out."""
    attributes = {}
    for name, attribute in dataset.items.attributes.items():
        values = attribute.values.copy()
        if attribute.kind == "number":
            values[new] = draws.normal(1e6, 1.0, len(new))
        else:
            values[new] = values[draws.permutation(new)]
        attributes[name] = replace(attribute, values=values)
    return replace(dataset.items, attributes=attributes)
