"""Exposure of groups of items: by hand, in proportion, and in secret as in clear."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedrec.config import Config
from fedrec.engine.run_engine import execute
from fedrec.errors import ConfigError
from fedrec.evaluation.providers import disparity, exposure_shares, item_groups, names
from fedrec.storage import RunDirectory
from fedrec.training.node import load_population

Make = Callable[..., Config]


def test_shares_by_hand() -> None:
    user = np.array([0, 0, 0, 2])
    scores = np.array([1.0, 3.0, 2.0, 5.0])
    groups = np.array([[1, 0], [0, 1], [0.5, 0.5], [1, 0]])
    shares = exposure_shares(user, scores, groups, 3)
    one, two, three = 1.0, 1 / np.log2(3), 1 / 2
    total = one + two + three
    assert shares[0] == pytest.approx([(three + two / 2) / total, (one + two / 2) / total])
    assert shares[1].tolist() == [0, 0]
    assert shares[2] == pytest.approx([1, 0])


def test_items_are_cut_by_popularity_into_thirds_of_all_interactions(small_run: Make) -> None:
    config = small_run(evaluate__item_group="popularity")
    population = load_population(config)
    groups, counts = item_groups(config, population), population.item_counts
    assert list(groups) == ["popularity=head", "popularity=middle", "popularity=tail"]
    assert np.array_equal(sum(groups.values()), np.ones(len(counts)))
    head, middle, tail = (counts[part > 0] for part in groups.values())
    assert head.min() >= middle.max() >= middle.min() >= tail.max()
    assert counts.sum() / 3 <= head.sum() < counts.sum() / 3 + head.min() + 1
    assert names(config, population, "valid") == ()


def test_in_proportion_there_is_no_disparity(small_run: Make) -> None:
    config = small_run(evaluate__item_group="popularity")
    population = load_population(config)
    groups, counts = item_groups(config, population), population.item_counts
    total = counts.sum()
    fair = {f"exposure.{n}@10": float(counts @ part / total) for n, part in groups.items()}
    assert disparity(config, population, fair) == pytest.approx(
        {"popularity-disparity@10": 0.0, "popularity-exposure@10": 1.0}
    )
    head = {f"exposure.{n}@10": float(n.endswith("head")) for n in groups}
    share = fair["exposure.popularity=head@10"]
    found = disparity(config, population, head)
    assert found["popularity-disparity@10"] == pytest.approx(1 - share)
    assert found["popularity-exposure@10"] == 0
    assert disparity(config, population, {}) == {}


def outcome(config: Config) -> dict[str, Any]:
    execute(config)
    system = json.loads(RunDirectory(Path(config.run.out)).system.read_text())
    assert all(key in system["ci95"] for key in ("test.full.ndcg@10",))
    return system


def test_a_secure_run_measures_what_a_plain_one_does(small_run: Make) -> None:
    attribute = next(
        name
        for name, value in load_population(small_run()).split.dataset.items.attributes.items()
        if value.kind != "text"
    )
    keys: dict[str, Any] = {"evaluate__item_group": attribute, "train__rounds": 1, "run__seed": 3,
                            "train__lr": 0.01, "evaluate__every": 1, "server__rows": "mean"}  # fmt: skip
    plain = outcome(small_run("plain", **keys, engine__nodes=3))
    hidden = outcome(small_run("hidden", **keys, secure__mode="semi-honest"))
    shown = plain["metrics"]["test"]["exposure"]
    assert sum(shown.values()) == pytest.approx(1)
    assert hidden["metrics"]["test"]["exposure"] == pytest.approx(shown, abs=0.02)
    beyond = plain["metrics"]["test"]["beyond"]
    assert 0 < beyond[f"{attribute}-disparity@10"] < 1
    assert 0 <= beyond[f"{attribute}-exposure@10"] < 1
    name = next(iter(shown))
    low, high = plain["ci95"][f"test.exposure.{name}"]
    assert low <= shown[name] <= high


def test_unknown_groups_are_refused(small_run: Make) -> None:
    config = small_run(evaluate__item_group="populerity")
    with pytest.raises(ConfigError, match=r"no such attribute.*popularity"):
        item_groups(config, load_population(config))
    with pytest.raises(ConfigError, match=r"item_group = 'x' measures lists, and data.feedback"):
        small_run(evaluate__item_group="x", data__feedback="explicit", model__loss="squared")
