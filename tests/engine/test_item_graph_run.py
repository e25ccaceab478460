"""Runs along a graph of items: it changes the result, also masked, and survives a cut."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedrec.config import Config
from fedrec.data.populations import load_population
from fedrec.engine.run_engine import execute
from fedrec.run import run
from fedrec.storage import RunDirectory, read_arrays
from tests.interruption import cut_after

Make = Callable[..., Config]
PULLED: dict[str, Any] = {"server__graph_l2": 0.3}
TABLE = "shared/table.item"


def table_of(config: Config) -> np.ndarray:
    arrays, _ = read_arrays(RunDirectory(Path(config.run.out)).checkpoint)
    return np.array(arrays[TABLE])


def spread(table: np.ndarray, config: Config) -> float:
    """Mean squared distance of items from the mean of their category."""
    groups = load_population(config).split.dataset.items.attributes["category"].values
    means = np.stack([table[groups == g].mean(0) for g in range(groups.max() + 1)])
    return float(np.square(table - means[groups]).mean())


def test_items_of_a_category_come_together_masked_or_not(small_run: Make) -> None:
    found = {}
    mean = {"server__rows": "mean", "train__rounds": 1, "evaluate__every": 1}
    plain, pulled = small_run("plain", **mean), small_run("pulled", **mean, **PULLED)
    secure = small_run("secure", **mean, **PULLED, secure__mode="semi-honest")
    for config in (plain, pulled, secure):
        execute(config)
        found[config.run.out] = table_of(config)
    assert spread(found[pulled.run.out], pulled) < 0.7 * spread(found[plain.run.out], plain)
    assert found[secure.run.out] == pytest.approx(found[pulled.run.out], abs=1e-5)


def test_a_file_of_edges_and_a_resume(
    small_run: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = load_population(small_run()).split.dataset.items.ids
    path = tmp_path / "edges.csv"
    path.write_text("a,b\nnobody,x\n" + "\n".join(f"{i},{ids[0]}" for i in ids[1:]))
    keys = {**PULLED, "server__graph": "file", "data__item_graph": str(path),
            "server__table_optimizer": "adam", "server__table_lr": 0.1}  # fmt: skip
    whole = run(small_run(**keys), out=tmp_path / "whole").result
    assert whole.systems[0].name == "federated-mf-graph"
    assert f"item graph edges.csv: {len(ids) - 1} edges from {len(ids)} lines; left out 1 with " \
           "unknown ids and 0 of an item with itself" in whole.notes  # fmt: skip
    cut_after(monkeypatch, 2)
    with pytest.raises(KeyboardInterrupt):
        run(small_run(**keys), out=tmp_path / "cut")
    monkeypatch.undo()
    assert run(resume=tmp_path / "cut").result.systems[0].metrics == whole.systems[0].metrics
