"""Whole runs of the graph model: nodes, masks, blocks, resume, and its centralised twin."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from fedrec import compare
from fedrec.config import Config
from fedrec.engine.run_engine import execute
from fedrec.storage import RunDirectory, read_arrays
from fedrec.training.central_graph import pooled_graph
from fedrec.training.node import prepare
from tests.engine.test_resume import run_until_killed

Make = Callable[..., Config]
Keys = dict[str, Any]

GRAPH: Keys = {
    "model__name": "lightgcn",
    "model__loss": "bpr",
    "model__layers": 2,
    "train__method": "lightgcn",
    "train__rounds": 4,
    "server__rows": "sum",
    "server__table_optimizer": "adam",
    "server__table_lr": 0.05,
    "evaluate__sampled": 0,
    "evaluate__bootstrap": 0,
}


def arrays(config: Config) -> dict[str, NDArray]:
    return read_arrays(RunDirectory(Path(config.run.out)).checkpoint)[0]


def run(config: Config) -> dict[str, NDArray]:
    execute(config, engine="in-process")
    return arrays(config)


def lines(config: Config) -> list[Keys]:
    text = RunDirectory(Path(config.run.out)).rounds.read_text()
    return [json.loads(line) for line in text.splitlines()]


def graph(found: dict[str, NDArray]) -> NDArray:
    if "optimizer/graph.dense" in found:
        return found["optimizer/graph.dense"]
    parts = [found[f"optimizer/graph.{name}"] for name in ("data", "indices", "indptr")]
    return csr_matrix(tuple(parts)).toarray()


def direct(config: Config) -> NDArray:
    """P by its definition, of all training interactions and no others."""
    population = prepare(config).population
    count = np.diff(population.indptr)
    ones = np.ones(len(population.items))
    x = csr_matrix((ones, population.items, population.indptr), (len(count), population.num_items))
    shares = csr_matrix((ones / np.repeat(count, count), x.indices, x.indptr), x.shape)
    met = np.maximum(x.sum(0).A1, 1.0)
    return (x.T @ shares).toarray() / np.sqrt(met[:, None] * met)


@pytest.fixture(scope="module")
def one_node(tmp_path_factory: pytest.TempPathFactory) -> tuple[Callable[..., Config], Any]:
    from fedrec.config import from_flat

    place = tmp_path_factory.mktemp("graph")

    def make(name: str, **overrides: Any) -> Config:
        values = {"data__name": "marketplace", "data__users": 40, "data__items": 30,
                  "data__merchants": 2, "data__events_per_user": 10.0, "model__dim": 4,
                  "model__init": 0.3, "evaluate__every": 2, "evaluate__k": "5 10",
                  "run__out": str(place / name), **GRAPH, **overrides}  # fmt: skip
        return from_flat({k.replace("__", "."): v for k, v in values.items()})

    config = make("one")
    return make, (config, run(config))


def test_the_graph_is_the_direct_product_and_training_moves_the_table(one_node: Any) -> None:
    _, (config, found) = one_node
    wanted = direct(config)
    np.testing.assert_allclose(graph(found), wanted, rtol=1e-6, atol=1e-9)
    base, p = found["optimizer/base"].astype(np.float64), wanted
    sent = (base + p @ base + p @ (p @ base)) / 3
    np.testing.assert_allclose(found["shared/table.item"], sent, rtol=1e-4, atol=1e-6)
    told = lines(config)
    assert told[0]["loss"] is None
    assert all(line["loss"] > 0 for line in told[1:])
    assert told[-1]["loss"] < told[1]["loss"]


@pytest.mark.parametrize(
    "keys",
    [{"engine__nodes": 3}, {"train__graph_rounds": 2, "train__rounds": 5}],
    ids=["three nodes", "blocks"],
)
def test_nodes_and_blocks_change_nothing(one_node: Any, keys: Keys) -> None:
    make, (_, wanted) = one_node
    found = run(make("-".join(keys), **keys))
    np.testing.assert_allclose(graph(found), graph(wanted), rtol=1e-6)
    if "engine__nodes" in keys:  # with one round more other negatives are drawn
        name = "shared/table.item"
        np.testing.assert_allclose(found[name], wanted[name], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("mode", ["semi-honest", "malicious-server"])
def test_masked_sums_leave_graph_and_gradient_as_they_are(one_node: Any, mode: str) -> None:
    make, (_, wanted) = one_node
    config = make(mode, secure__mode=mode)
    found = run(config)
    np.testing.assert_allclose(graph(found), graph(wanted), rtol=1e-6, atol=1e-9)
    name = "shared/table.item"
    assert np.abs(found[name] - wanted[name]).max() < 0.02 * np.abs(wanted[name]).max()
    system = json.loads(RunDirectory(Path(config.run.out)).system.read_text())
    assert "how often items were met together" in system["privacy"]["statement"]


@pytest.mark.parametrize("deliveries", [2, 6], ids=["within the graph", "after it"])
def test_a_run_goes_on_as_if_it_had_not_stopped(one_node: Any, deliveries: int) -> None:
    make, _ = one_node
    keys: Keys = {"train__graph_rounds": 2, "train__rounds": 5}
    wanted = run(make(f"whole-{deliveries}", **keys))
    config = make(f"halves-{deliveries}", **keys)
    assert run_until_killed(config, deliveries, after=True)
    found = run(config)
    assert wanted.keys() == found.keys()
    for name in wanted:
        np.testing.assert_array_equal(found[name], wanted[name])


def test_the_centralised_twin_has_the_same_graph_and_learns(one_node: Any) -> None:
    make, (_, wanted) = one_node
    config = make("both", compare__systems="federated centralised", compare__seeds="0",
                  central__epochs=6, central__batch=200, central__lr=0.05,
                  central__l2=0.0)  # fmt: skip
    matrix: Any = pooled_graph(prepare(config)).matrix
    dense = matrix if isinstance(matrix, np.ndarray) else matrix.toarray()
    np.testing.assert_allclose(dense, graph(wanted), rtol=1e-6)
    result = compare(config).result
    assert [s.name for s in result.systems] == ["federated-lightgcn", "centralised-lightgcn"]
    path = next(Path(config.run.out).glob("**/centralised*/**/rounds.jsonl"))
    told = [json.loads(line)["loss"] for line in path.read_text().splitlines()]
    assert told[-1] < 0.9 * told[0]
