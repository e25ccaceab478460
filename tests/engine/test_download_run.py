"""Runs whose clients receive rounded tables: in clear, in secret, over nodes and after a stop."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedrec.config import Config
from fedrec.engine.run_engine import execute
from fedrec.evaluation.sums import means
from fedrec.storage import RunDirectory, read_arrays
from fedrec.training.download import as_downloaded
from fedrec.training.node import evaluate_node, init_personal, init_shared, prepare, train_node

Make = Callable[..., Config]
MEAN: dict[str, Any] = {"server__rows": "mean", "compress__download_bits": 4}


def run(config: Config) -> tuple[np.ndarray, list[dict[str, Any]]]:
    execute(config)
    files = RunDirectory(Path(config.run.out))
    lines = [json.loads(line) for line in files.rounds.read_text().splitlines()]
    arrays = read_arrays(files.checkpoint)[0]
    tables = sorted(name for name in arrays if name.startswith("shared/table."))
    return np.concatenate([arrays[name] for name in tables]), lines


@pytest.mark.parametrize("bits", [8, 4])
def test_a_round_starts_from_rounded_rows_and_changes_exact_ones(
    small_run: Make, bits: int
) -> None:
    keys = MEAN | {"compress__download_bits": bits, "train__rounds": 1, "evaluate__every": 1}
    config = small_run(**keys)
    table, lines = run(config)
    setup = prepare(config)
    start, clients = init_shared(setup), np.arange(setup.population.num_clients)
    personal, read = init_personal(setup, clients), as_downloaded(start, bits)
    total, after = train_node(setup, read, personal, clients, 1)
    expected = start.tables["item"] + total.tables["item"].dense(len(table)) / len(clients)
    assert table == pytest.approx(expected, abs=1e-6)
    assert np.abs(read.tables["item"] - start.tables["item"]).max() > 1e-4
    received = as_downloaded(type(start)({"item": table}, start.weights), bits)
    sums = evaluate_node(setup, received, after, clients, "valid", bootstrap=0)
    assert lines[0]["valid"] == pytest.approx(means(sums))
    row = {8: 4 + 8, 4: 2 + 8}[bits]
    assert lines[0]["bytes_down"] == len(clients) * len(table) * row


@pytest.mark.parametrize(
    "keys", [{}, {"model__name": "ncf", "model__mlp": "8 4"}, {"clients__unit": "merchant"}]
)
def test_nodes_do_not_matter(small_run: Make, keys: dict[str, Any]) -> None:
    one, _ = run(small_run("one", **MEAN, **keys))
    some, _ = run(small_run("some", **MEAN, **keys, engine__nodes=7 if "clients__unit" not in keys
                            else 2))  # fmt: skip
    plain, _ = run(small_run("plain", **MEAN | {"compress__download_bits": 32}, **keys))
    assert some == pytest.approx(one, abs=1e-5)
    assert np.abs(plain - one).max() > 1e-3


def test_a_secure_run_sends_the_same(small_run: Make) -> None:
    keys = MEAN | {"train__rounds": 1, "evaluate__every": 1, "evaluate__bootstrap": 0,
                   "model__init": 1.0}  # fmt: skip
    plain, _ = run(small_run("plain", **keys))
    secure: dict[str, Any] = keys | {"secure__mode": "semi-honest", "secure__clip": 32.0}
    hidden, lines = run(small_run("hidden", **secure))
    whole, wide = run(small_run("whole", **secure | {"compress__download_bits": 32}))
    assert hidden == pytest.approx(plain, abs=2e-4)
    assert np.abs(whole - hidden).max() > 1e-3
    assert wide[0]["bytes_down"] - lines[0]["bytes_down"] == 50 * len(hidden) * (16 - 10)
