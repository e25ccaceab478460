import numpy as np
import pytest

from fedrec.errors import ConfigError
from fedrec.secure import graph
from fedrec.secure.graph import GraphSize

KNOWN = [
    (100, 0.45, 0.45, False, 92, 46),
    (1000, 0.45, 0.45, False, 822, 417),
    (10, 0.33, 0.33, False, 8, 4),
    (100, 0.33, 0.33, False, 68, 34),
    (1000, 0.33, 0.33, False, 286, 150),
    (100, 0.05, 0.05, False, 12, 6),
    (1000, 0.05, 0.05, False, 30, 17),
    (100, 0.05, 0.05, True, 16, 11),
    (1000, 0.05, 0.05, True, 52, 37),
    (100, 0.1, 0.1, True, 32, 22),
    (1000, 0.1, 0.1, True, 96, 67),
]


@pytest.mark.parametrize(("n", "adversarial", "dropout", "malicious", "k", "t"), KNOWN)
def test_known_sizes(
    n: int, adversarial: float, dropout: float, malicious: bool, k: int, t: int
) -> None:
    assert graph.regular_graph(n, adversarial, dropout, malicious) == GraphSize(k, t)


def test_the_bounds_hold_by_simulation() -> None:
    """With 200 of 1,000 clients adversarial, 40 neighbours: P[at least t] is small."""
    draw = np.random.default_rng(0)
    t = graph.least_threshold(1000, 40, 0.2, malicious_server=False)
    hits = draw.hypergeometric(200, 800, 40, size=200_000)
    assert (hits >= t).mean() == 0
    assert (hits >= t - 15).mean() > 0


@pytest.mark.parametrize(("n", "size"), [(3, (2, 3)), (6, (5, 5)), (10, (9, 7)), (49, (48, 33))])
def test_small_groups_are_complete(n: int, size: tuple[int, int]) -> None:
    for mode in ("semi-honest", "malicious-server"):
        assert graph.choose(n, mode) == GraphSize(*size)
        assert n - size[1] == -(-n // 3) - 1


def test_larger_groups_are_sparse() -> None:
    assert graph.choose(100, "semi-honest") == GraphSize(22, 11)
    assert graph.choose(100, "malicious-server") == GraphSize(32, 22)
    assert graph.choose(1000, "semi-honest") == GraphSize(48, 27)
    assert graph.choose(1000, "semi-honest", neighbours=30) == GraphSize(
        30, graph.least_threshold(1000, 30, 0.1, False)
    )
    assert graph.choose(100, "semi-honest", neighbours=99) == GraphSize(99, 67)
    assert graph.choose(60, "semi-honest", neighbours=5).neighbours == 6
    assert graph.choose(50, "malicious-server", adversarial=0.45, dropout=0.45) == GraphSize(49, 34)


def test_small_groups_with_few_neighbours_tolerate_what_complete_ones_do() -> None:
    assert graph.choose(12, "semi-honest", neighbours=6) == GraphSize(6, 3)
    assert graph.choose(12, "malicious-server", neighbours=4) == GraphSize(4, 3)


@pytest.mark.parametrize(("n", "k"), [(8, 4), (9, 4), (100, 32), (50, 2)])
def test_every_client_has_k_neighbours_and_neighbours_are_mutual(n: int, k: int) -> None:
    ring = graph.order(b"\7" * 32, np.arange(n) * 3)
    holders = graph.neighbourhoods(ring, k)
    assert holders.shape == (n, k + 1)
    assert (np.diff(holders, axis=1) > 0).all()
    linked = np.zeros((n, n), bool)
    linked[np.arange(n)[:, None], holders] = True
    assert (linked == linked.T).all()
    assert linked.diagonal().all()
    place = np.empty(n, int)
    place[ring] = np.arange(n)
    gap = np.abs(place[:, None] - place[None])
    assert (linked == (np.minimum(gap, n - gap) <= k // 2)).all()


def test_a_graph_of_fewer_clients_than_planned_is_complete() -> None:
    holders = graph.neighbourhoods(np.array([2, 0, 1]), 8)
    assert holders.tolist() == [[0, 1, 2]] * 3


def test_the_ring_follows_from_the_session_alone() -> None:
    numbers = np.arange(200)
    first, again, other = (graph.order(s * 32, numbers) for s in (b"a", b"a", b"b"))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert sorted(other.tolist()) == numbers.tolist()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_clients": 2}, "at least 3 clients, got 2"),
        ({"neighbours": 1}, "between 2 and 9"),
        ({"neighbours": 10}, "between 2 and 9"),
        ({"neighbours": 4, "threshold": 5}, "above secure.neighbours = 4"),
        ({"threshold": 11}, "between 2 and 10"),
        ({"threshold": 1}, "between 2 and 10"),
        ({"threshold": 5, "mode": "malicious-server"}, "above 5, half of the holders"),
    ],
)
def test_what_cannot_work_is_refused(options: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        graph.choose(**{"num_clients": 10, "mode": "semi-honest", **options})
