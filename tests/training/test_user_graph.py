"""The graph of users, against tables that are written out in full."""

from __future__ import annotations

import numpy as np
import pytest

from fedrec.params import Shared
from fedrec.robust.updates import Updates
from fedrec.training.user_graph import by_item, guides_of, neighbours, similarities

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


def uneven(seed: int, clients: int = 600) -> Updates:
    """Of more clients than a strip holds: items that all, a third and few of them changed."""
    draw = np.random.default_rng(seed)
    items = [[0] + [1] * (c % 3 == 0) + [2] * (c % 10 == 0) for c in range(clients)]
    return updates([{i: draw.normal(size=3).tolist() for i in own} for own in items])


def test_similarities_are_those_of_whole_tables() -> None:
    for some in (*(drawn(seed) for seed in range(3)), uneven(3)):
        flat = tables(some).reshape(len(some.clients), -1)
        norm = np.linalg.norm(flat, axis=1)
        expected = flat @ flat.T / np.outer(norm, norm)
        assert similarities(some, SHARED) == pytest.approx(expected, abs=1e-5)


def test_items_are_common_by_the_share_of_clients() -> None:
    common, others = by_item(uneven(0, 60), 0.25)
    assert [len(places) for group in common for _, places in group] == [60, 20]
    assert [len(places) for _, places in others] == [6]
    common, others = by_item(uneven(0, 60), 0.5)
    assert (sum(map(len, common)), len(others)) == (1, 2)


def test_neighbours_are_more_alike_than_the_mean_of_their_row() -> None:
    similarity = np.array([[1, 0.8, 0.0], [0.8, 1, 0.9], [0.0, 0.9, 1]], np.float32)
    joined = neighbours(similarity, 1.0)  # the means are 0.6, 0.9, 0.63
    assert joined.tolist() == [[True, True, False], [False, True, False], [False, True, True]]
    assert neighbours(similarity, 0.5)[1].tolist() == [True, True, True]
    alone = neighbours(similarity, 5.0)
    assert alone.tolist() == np.eye(3).tolist()


def test_the_most_alike_are_joined_not_the_least() -> None:
    """With cosine distances for similarities, as published, it would be the others."""
    some = updates([{0: [9, 0, 0]}, {0: [8, 1, 0]}, {1: [0, 9, 0]}])
    assert neighbours(similarities(some, SHARED), 1.0)[0].tolist() == [True, True, False]


@pytest.mark.parametrize("some", [drawn(4), uneven(5)], ids=["few", "many"])
def test_guides_are_the_neighbours_tables_where_a_client_changed_rows(some: Updates) -> None:
    joined = neighbours(similarities(some, SHARED), 0.9)
    assert (joined.sum(1) > 1).any()
    weights = joined / joined.sum(1, keepdims=True)
    expected = np.einsum("uv,vid->uid", weights, tables(some))
    guides = guides_of(some, SHARED, joined)
    assert guides.clients.tolist() == some.clients.tolist()
    found = np.concatenate([guides.rows["item"], guides.rows["bias"]], 1)
    assert found == pytest.approx(expected[some.client, some.ids], abs=1e-5)
    assert guides.rows["bias"].shape == (len(some.ids), 1)
