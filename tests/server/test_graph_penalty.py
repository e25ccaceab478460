"""The penalty along a graph of items: the Laplacian by hand, its two forms, one step."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedrec.config import from_flat
from fedrec.data.attributes import to_category, to_number, to_tags
from fedrec.data.interactions import Catalogue
from fedrec.data.item_graph import Edges
from fedrec.errors import ModelError
from fedrec.models.recommender import RowInput
from fedrec.params import Shared, SparseRows
from server.aggregation import MeanUpdate
from server.graph_penalty import (
    GraphPenalty,
    build_penalty,
    from_edges,
    from_groups,
    memberships,
)
from server.optimizers import ServerOptimizer
from server.row_optimizers import works_on_rows


def catalogue(number: int = 3, **attributes: Any) -> Catalogue:
    return Catalogue(np.array([f"i{n}" for n in range(number)], object), attributes)


def edges(*triples: tuple[int, int, float]) -> Edges:
    first, second, weight = zip(*triples, strict=True)
    return Edges(np.array(first), np.array(second), np.array(weight, float), "")


def dense(weights: np.ndarray) -> np.ndarray:
    """The symmetric normalised Laplacian of a dense graph without loops."""
    degree = weights.sum(1)
    shrink = np.where(degree > 1e-9, 1 / np.sqrt(np.where(degree > 1e-9, degree, 1)), 0)
    return shrink[:, None] * (np.diag(degree) - weights) * shrink


def test_a_path_of_three_items_by_hand() -> None:
    # 0 - 1 of weight 1, 1 - 2 of weight 3: degrees 1, 4, 3
    found = from_edges(edges((0, 1, 1.0), (1, 2, 3.0)), 3)(np.eye(3, dtype=np.float32))
    a, b = 1 / 2, 3 / np.sqrt(12)
    assert found == pytest.approx(np.array([[1, -a, 0], [-a, 1, -b], [0, -b, 1]]), abs=1e-6)
    assert found.dtype == np.float32


def test_items_without_neighbours_feel_nothing() -> None:
    table = np.arange(8, dtype=np.float32).reshape(4, 2)
    assert not from_edges(edges((0, 1, 2.0)), 4)(table)[2:].any()
    kinds = memberships(catalogue(4, kind=to_category(["a", "a", "b", ""])), "all")
    found = from_groups(kinds)(table)
    assert found[:2] == pytest.approx(table[:2] - table[1::-1])  # a pair: degrees 1/2 and 1/2
    assert not found[2:].any()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 9), st.integers(1, 5))
def test_groups_are_their_pairs_of_weight_one_over_the_size(
    seed: int, number: int, groups: int
) -> None:
    draw = np.random.default_rng(seed)
    members = draw.random((number, groups)) < 0.4
    weights = np.zeros((number, number))
    for group in members.T:
        inside = np.outer(group, group).astype(float)
        weights += inside / max(group.sum(), 1)
    np.fill_diagonal(weights, 0)
    table = draw.normal(size=(number, 3)).astype(np.float32)
    found = from_groups(members)(table)
    assert found == pytest.approx(dense(weights) @ table, abs=1e-5)
    assert (table * found).sum() > -1e-4  # the penalty is a square


def test_levels_of_a_tree_and_tags_are_groups() -> None:
    items = catalogue(
        department=to_category(["x", "x", "y"]),
        tags=to_tags([["p", "q"], [], ["q"]]),
        price=to_number([1.0, 2.0, 3.0]),
    )
    both = memberships(items, "all").toarray()
    assert both.tolist() == [[1, 0, 1, 1], [1, 0, 0, 0], [0, 1, 0, 1]]
    assert memberships(items, "department").toarray().tolist() == [[1, 0], [1, 0], [0, 1]]
    with pytest.raises(ModelError, match="names 'price', and the categories and tags of the items "
                       "are department, tags"):  # fmt: skip
        memberships(items, "price")
    with pytest.raises(ModelError, match="have neither: name a file of edges"):
        memberships(catalogue(price=to_number([1.0, 2.0, 3.0])), "all")


def test_the_penalty_is_added_to_the_mean_gradient_of_all_rows() -> None:
    section = from_flat({"server.table_optimizer": "sgd", "server.table_lr": 0.5, "server.l2": 0.2,
                         "server.graph_l2": 0.1}).server  # fmt: skip
    laplacian = from_edges(edges((0, 1, 1.0)), 3)
    tables = {"item": np.array([[1.0], [3.0], [5.0]], np.float32),
              "user": np.array([[1.0], [2.0]], np.float32)}  # fmt: skip
    penalty = GraphPenalty(0.1, frozenset({"item"}), laplacian)
    one = SparseRows(np.array([0]), np.array([[1.0]]))
    none = SparseRows(np.zeros(0, np.int64), np.zeros((0, 1)))
    after = ServerOptimizer(section, Shared(tables), penalty).apply(
        Shared(tables), MeanUpdate({"item": one, "user": none}, {}, 1.0)
    )
    # gradients: -1 + .2 * 1 + .1 * (1 - 3), .2 * 3 + .1 * (3 - 1), .2 * 5
    assert after.tables["item"] == pytest.approx(np.array([[1.5], [2.6], [4.5]]))
    assert after.tables["user"] == pytest.approx(np.array([[0.9], [1.8]]))


def test_a_penalty_is_dense_even_for_rules_on_rows() -> None:
    plain, pulled = ({"server.table_optimizer": "sgd", "server.graph_l2": w} for w in (0.0, 0.1))
    assert works_on_rows(from_flat(plain).server)
    assert not works_on_rows(from_flat(pulled).server)


def test_a_model_without_trained_item_rows_is_refused() -> None:
    config = from_flat({"server.graph_l2": 0.1})
    dataset = SimpleNamespace(items=catalogue(kind=to_category(["a", "a", "b"])))
    population = SimpleNamespace(split=SimpleNamespace(dataset=dataset))
    inputs = (RowInput("item", "item", fixed=True),)
    setup: Any = SimpleNamespace(
        config=config, population=population, model=SimpleNamespace(row_inputs=inputs)
    )
    with pytest.raises(ModelError, match="model.name = 'mf' trains none as it is set up"):
        build_penalty(setup, Shared({}))
    setup.model.row_inputs = (RowInput("item", "item"), RowInput("u", "u", "user"))
    tables = {"item": np.zeros((3, 1), np.float32), "u": np.zeros((9, 1), np.float32)}
    found = build_penalty(setup, Shared(tables))
    assert found is not None
    assert found.tables == {"item"}
    assert found.gradient("u", tables["u"]) is None
