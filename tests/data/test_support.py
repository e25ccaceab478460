from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fedrec.data.batches import Sampling, draw_samples
from fedrec.data.support import query_interactions
from tests.training.cohorts import random_population

COUNTS = st.lists(st.integers(0, 12), min_size=1, max_size=6)


@given(COUNTS, st.floats(0.05, 0.95), st.integers(1, 99))
def test_the_support_is_a_share_rounded_up(counts: list[int], share: float, number: int) -> None:
    sizes = np.array(counts)
    query = query_interactions(0, number, np.arange(len(sizes)), sizes, share)
    owner = np.repeat(np.arange(len(sizes)), sizes)
    support = np.bincount(owner[~query], minlength=len(sizes))
    assert support.tolist() == np.ceil(share * sizes).tolist()


@given(COUNTS, st.integers(0, 5))
def test_a_split_is_each_users_own(counts: list[int], one: int) -> None:
    """It depends on no one else of the block: on every engine it is the same."""
    sizes, users = np.array(counts), np.arange(len(counts)) * 7
    one %= len(counts)
    together = query_interactions(3, 2, users, sizes, 0.5)
    alone = query_interactions(3, 2, users[one : one + 1], sizes[one : one + 1], 0.5)
    first = int(sizes[:one].sum())
    assert together[first : first + sizes[one]].tolist() == alone.tolist()


def test_every_round_splits_anew_and_evenly() -> None:
    users, counts = np.arange(40), np.full(40, 9)
    rounds = [query_interactions(0, n, users, counts, 0.5).reshape(40, 9) for n in range(200)]
    assert (rounds[1] != rounds[2]).any()
    assert np.abs(np.mean(rounds, axis=(0, 1)) - 4 / 9).max() < 0.02
    assert (query_interactions(1, 1, users, counts, 0.5) != rounds[1].ravel()).any()


def test_negatives_go_with_their_positive() -> None:
    population = random_population((6, 1, 9), 40)
    clients = np.array([0, 2])
    for pairwise in (False, True):
        spec = Sampling(negatives=3, support=0.5, pairwise=pairwise)
        samples = draw_samples(population, clients, 0, 4, spec)
        width = 3 if pairwise else 4
        assert samples.query is not None
        mask = samples.query.reshape(-1, width)
        assert (mask == mask[:, :1]).all()
        items = samples.fields["item"].reshape(-1, width)[:, 0]
        owner = samples.client.reshape(-1, width)[:, 0]
        for c in (0, 1):
            mine = owner == c
            query, support = set(items[mine & mask[:, 0]]), set(items[mine & ~mask[:, 0]])
            assert not query & support
            assert query | support == set(population.items[population.indptr[clients[c]] :][
                : population.indptr[clients[c] + 1] - population.indptr[clients[c]]].tolist())  # fmt: skip


def test_without_a_share_nothing_is_split() -> None:
    assert draw_samples(random_population((6,), 40), np.array([0]), 0, 1, Sampling()).query is None


def test_samples_that_are_drawn_once_are_still_split_anew() -> None:
    population = random_population((8, 8), 40)
    spec = Sampling(negatives=2, support=0.5, fixed=True)
    first, second = (draw_samples(population, np.arange(2), 0, n, spec) for n in (1, 2))
    assert (first.fields["item"] == second.fields["item"]).all()
    assert first.query is not None
    assert (first.query != second.query).any()
