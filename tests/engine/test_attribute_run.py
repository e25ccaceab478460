"""Runs of models that read attributes, of anchors, and of new items, in clear and masked."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedrec.config import Config
from fedrec.data.batches import Sampling, draw_negatives
from fedrec.data.populations import load_population
from fedrec.engine.run_engine import execute
from fedrec.evaluation.leak_guard import guard
from fedrec.run import run
from fedrec.storage import RunDirectory, read_arrays
from fedrec.training.scorer import among
from tests.engine.test_engines import TOLERANCE, relative_difference
from tests.engine.test_engines import run as run_change

Make = Callable[..., Config]
Keys = dict[str, Any]

TOWERS: Keys = {"model__name": "two-tower", "model__tower": "6", "model__text_width": 4,
                "train__lr": 0.1, "train__personal_lr": 0.1, "server__rows": "mean",
                "server__weight_optimizer": "sgd", "server__weight_lr": 1.0,
                "evaluate__sampled": 0}  # fmt: skip
COLD: Keys = {"split__protocol": "cold-items", "evaluate__candidates": "new",
              "evaluate__sampled": 0, "train__negatives_from": "known"}  # fmt: skip


def shared_after(config: Config) -> Keys:
    execute(config)
    arrays, _ = read_arrays(RunDirectory(Path(config.run.out)).checkpoint)
    return {n: v for n, v in arrays.items() if n.startswith("shared/")}


@pytest.mark.parametrize(
    "model",
    [{}, {"model__id_rows": False}, {"model__name": "deepfm"}, {"model__contrast": 0.5}],
)
def test_masked_sums_teach_the_same(small_run: Make, model: Keys) -> None:
    keys = {**TOWERS, "train__rounds": 1, "evaluate__every": 1, **model}
    plain = shared_after(small_run("plain", **keys))
    secure = shared_after(small_run("secure", **keys, secure__mode="semi-honest"))
    assert set(plain) == set(secure)
    assert any("tower_0" in n or "deep_0" in n for n in plain)
    assert not any("profile" in n and "embedding" not in n and "linear" not in n for n in plain)
    for name, value in plain.items():
        assert secure[name] == pytest.approx(value, abs=2e-3), name


def test_a_contrast_of_attributes_knows_no_nodes(small_run: Make) -> None:
    keys = {**TOWERS, "model__contrast": 0.5}
    one = run_change(small_run, "in-process", 1, **keys)
    assert relative_difference(run_change(small_run, "in-process", 7, **keys), one) <= TOLERANCE
    without = run_change(small_run, "in-process", 2, **TOWERS)
    assert relative_difference(without, one) > 1e-3


def test_anchors_of_a_masked_run(small_run: Make) -> None:
    keys = {"model__anchor": 0.1, "train__method": "alternating", "server__rows": "sum", **COLD}
    config = small_run("anchored", **keys, secure__mode="semi-honest")
    found = shared_after(config)
    new = load_population(config).new_items
    table, anchors = found["shared/table.item"], found["shared/fixed.anchor"]
    assert len(new) > 5
    assert np.array_equal(table[new], anchors[new])
    rest = np.setdiff1d(np.arange(len(table)), new)
    assert not np.any(np.all(table[rest] == anchors[rest], axis=1))


def test_new_items_are_ranked_among_themselves(small_run: Make) -> None:
    config = small_run("new", **{**TOWERS, **COLD, "model__id_rows": False})
    result = run(config).result
    assert result.systems[0].name == "federated-two-tower"
    relevant = load_population(config).test
    assert len(np.unique(relevant.items)) <= 6  # so that a list of 10 holds every new item
    assert result.systems[0].metrics["test"]["full"]["recall@10"] == 1.0


def test_the_leak_guard_knows_of_new_items(small_run: Make) -> None:
    verdict = guard(small_run("guard", **COLD, data__users=300))
    assert verdict.passed, verdict.statement


def test_unknown_items_are_never_drawn(small_run: Make) -> None:
    population = load_population(small_run("draw", **COLD))
    users = np.arange(population.num_users)
    for known in (True, False):
        drawn, possible = draw_negatives(population, users, 0, 1, Sampling(20, known=known))
        found = np.isin(drawn[possible], population.new_items)
        assert bool(found.any()) != known


def test_others_stand_behind() -> None:
    scores = np.array([[1.0, 5.0, 3.0, 2.0]], np.float32)
    only = among(lambda users: scores[users], np.array([0, 3]))
    assert only(np.array([0])).tolist() == [[1.0, 0.0, 0.0, 2.0]]
