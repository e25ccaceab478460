"""The graph of users, against tables that are written out in full."""

from __future__ import annotations

import numpy as np
import pytest

from fedrec.params import Shared
from fedrec.robust.updates import Updates
from fedrec.training.user_graph import guides_of, neighbours, similarities

SHARED = Shared(
    {
        "item": np.array([[1, 0], [0, 2], [1, 1]], np.float32),
        "bias": np.array([[0.5], [0], [-1]], np.float32),
    }
)


def updates(changes: list[dict[int, list[float]]]) -> Updates:
    told = [(c, i, row) for c, rows in enumerate(changes) for i, row in sorted(rows.items())]
    owner, ids, rows = zip(*told, strict=True)
    return Updates(
        np.arange(len(changes)) * 2,
        np.array(owner),
        np.array(ids),
        np.array(rows, np.float32),
        {},
        np.ones(len(changes)),
        3,
        {"item": 2, "bias": 1},
    )


def tables(some: Updates) -> np.ndarray:
    """The tables of the clients, side by side, [C, I, D]."""
    received = np.concatenate([SHARED.tables["item"], SHARED.tables["bias"]], 1)
    return received + some.dense(0, len(some.clients)).astype(np.float64)


def drawn(seed: int, clients: int = 6) -> Updates:
    draw = np.random.default_rng(seed)
    return updates(
        [{int(i): draw.normal(size=3).tolist() for i in draw.permutation(3)[: 1 + c % 3]}
         for c in range(clients)]
    )  # fmt: skip


def test_similarities_are_those_of_whole_tables() -> None:
    for seed in range(3):
        some = drawn(seed)
        flat = tables(some).reshape(len(some.clients), -1)
        norm = np.linalg.norm(flat, axis=1)
        expected = flat @ flat.T / np.outer(norm, norm)
        assert similarities(some, SHARED) == pytest.approx(expected, abs=1e-5)


def test_neighbours_are_more_alike_than_the_mean_of_their_row() -> None:
    similarity = np.array([[1, 0.8, 0.0], [0.8, 1, 0.9], [0.0, 0.9, 1]], np.float32)
    weights = neighbours(similarity, 1.0)  # the means are 0.6, 0.9, 0.63
    assert weights.tolist() == [[0.5, 0.5, 0], [0, 1, 0], [0, 0.5, 0.5]]
    assert neighbours(similarity, 0.5)[1] == pytest.approx([1 / 3] * 3)
    alone = neighbours(similarity, 5.0)
    assert alone.tolist() == np.eye(3).tolist()


def test_the_most_alike_are_joined_not_the_least() -> None:
    """With cosine distances for similarities, as published, it would be the others."""
    some = updates([{0: [9, 0, 0]}, {0: [8, 1, 0]}, {1: [0, 9, 0]}])
    weights = neighbours(similarities(some, SHARED), 1.0)
    assert weights[0, 1] == weights[0, 0] == 0.5
    assert weights[0, 2] == 0


def test_guides_are_the_neighbours_tables_where_a_client_changed_rows() -> None:
    some = drawn(4)
    weights = neighbours(similarities(some, SHARED), 0.9)
    assert ((weights > 0).sum(1) > 1).any()
    expected = np.einsum("uv,vid->uid", weights, tables(some))
    guides = guides_of(some, SHARED, weights)
    assert guides.clients.tolist() == some.clients.tolist()
    found = np.concatenate([guides.rows["item"], guides.rows["bias"]], 1)
    assert found == pytest.approx(expected[some.client, some.ids], abs=1e-5)
    assert guides.rows["bias"].shape == (len(some.ids), 1)
