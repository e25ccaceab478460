"""The Gram matrix as a sum over clients, and what is solved from it."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from fedrec.config import Config
from fedrec.data.batches import Samples
from fedrec.params import Personal, Shared
from fedrec.privacy.policy import build_policy
from fedrec.training.aggregate import partial_sum
from fedrec.training.baselines import fit_baseline
from fedrec.training.cohort import CohortUpdate
from fedrec.training.ease import ease_weights, near_gram_matrix, nearest_positive
from fedrec.training.gram import GramSums, folded_width, gram_of
from fedrec.training.neighbours import similar_items, similarity
from fedrec.training.node import block_samples, train_block, train_node
from fedrec.training.scoring import make_scorer
from fedrec.training.statistics import SparseChanges
from tests.training.cohorts import random_population, setup_of

NOBODY = Personal({})
KEYS = {"model__name": "item-item", "train__rounds": 1, "server__weighting": "equal"}


def samples_of(met: NDArray, owner: NDArray | None = None) -> Samples:
    """Interactions of users [U, I], each a client unless `owner` (ascending) says otherwise."""
    user, item = np.nonzero(met)
    client, fields = user, {"item": item}
    if owner is not None:
        client, fields = owner[user], {"item": item, "user": user}
    ones = np.ones(len(user), np.float32)
    count = len(met) if owner is None else int(owner.max()) + 1
    return Samples(client, fields, ones, ones, np.zeros(len(user), np.uint64), count)


def nothing(num_items: int) -> Shared:
    return Shared({"item": np.zeros((num_items, 0), np.float32)})


def folded(sums: GramSums, samples: Samples, num_items: int) -> NDArray[np.float64]:
    told = sums.contribute(nothing(num_items), NOBODY, samples)
    total = np.zeros((num_items, folded_width(num_items)))
    np.add.at(total, told.index.ids, told.rows["item"])
    return total


def test_three_users_and_three_items_by_hand() -> None:
    """Users with items {0, 1}, {1, 2} and {0, 1, 2}.

    G = [[2, 2, 1], [2, 3, 2], [1, 2, 2]]; row i of the folded table holds (i, i) and
    (i, i + 1 mod 3).
    """
    met = np.array([[1, 1, 0], [0, 1, 1], [1, 1, 1]])
    told = GramSums("ease").contribute(nothing(3), NOBODY, samples_of(met))
    assert told.index.client.tolist() == [0, 0, 1, 1, 2, 2, 2]
    assert told.index.ids.tolist() == [0, 1, 1, 2, 0, 1, 2]
    own = [[1, 1], [1, 0], [1, 1], [1, 0], [1, 1], [1, 1], [1, 1]]
    assert told.rows["item"].tolist() == own
    # two rows of 8 bytes and three pairs of 8; likewise; three rows and six pairs
    assert told.sent is not None
    assert told.sent.tolist() == [40, 40, 72]
    total = folded(GramSums("ease"), samples_of(met), 3)
    assert total.tolist() == [[2, 2], [3, 2], [2, 1]]
    assert gram_of(total).tolist() == [[2, 2, 1], [2, 3, 2], [1, 2, 2]]


def test_near_pairs_count_more_by_hand() -> None:
    """One user who met 2, 0 and 1 in this order; with window 1 / ln 2 a pair halves a step.

    Pairs (2, 0) and (0, 1) count 1/2, (2, 1) counts 1/4.
    """
    ones, zeros = np.ones(3, np.float32), np.zeros(3, np.int64)
    items = {"item": np.array([2, 0, 1])}
    samples = Samples(zeros, items, ones, ones, zeros.astype(np.uint64), 1)
    total = folded(GramSums("ease", window=1 / np.log(2)), samples, 3)
    expected = [[1, 0.5, 0.5], [0.5, 1, 0.25], [0.5, 0.25, 1]]
    np.testing.assert_allclose(gram_of(total), expected, rtol=1e-6)


@given(st.integers(1, 10), st.integers(1, 6), st.integers(1, 3), st.integers(0, 2**32 - 1))
def test_near_sums_are_positive_and_add_up(items: int, users: int, blocks: int, seed: int) -> None:
    met = np.random.default_rng(seed).random((users, items)) < 0.6
    owner = np.arange(users) // 2
    sums = GramSums("ease", rounds=blocks, window=2.0)
    samples = samples_of(met, owner)
    gram = gram_of(np.sum([folded(sums.at(r + 1), samples, items) for r in range(blocks)], 0))
    direct = near_gram_matrix(sp.csr_matrix(met), 2.0)
    np.testing.assert_allclose(gram, direct, rtol=1e-6, atol=1e-7)
    assert np.linalg.eigvalsh(direct).min() > -1e-9
    assert (direct <= met.T.astype(int) @ met + 1e-9).all()


def test_near_sums_do_not_depend_on_the_block(monkeypatch: pytest.MonkeyPatch) -> None:
    met = sp.csr_matrix(np.random.default_rng(0).random((9, 7)) < 0.5)
    whole = near_gram_matrix(met, 2.0)
    monkeypatch.setattr("fedrec.training.ease._USERS", 2)
    np.testing.assert_allclose(near_gram_matrix(met, 2.0), whole, rtol=1e-12)


@given(st.integers(1, 12), st.integers(1, 9), st.integers(1, 4), st.integers(0, 2**32 - 1))
def test_blocks_add_up_to_the_gram_matrix(items: int, users: int, blocks: int, seed: int) -> None:
    met = np.random.default_rng(seed).random((users, items)) < 0.5
    sums = GramSums("ease", rounds=blocks)
    parts = [folded(sums.at(r + 1), samples_of(met), items) for r in range(blocks)]
    x = met.astype(float)
    np.testing.assert_array_equal(gram_of(np.sum(parts, axis=0)), x.T @ x)
    filled = np.sum([part.any(axis=1) for part in parts], axis=0)
    assert filled.max(initial=0) <= 1  # no row is in two blocks


@given(st.integers(1, 12), st.integers(0, 2**32 - 1))
def test_the_norm_of_a_contribution_is_known(items: int, seed: int) -> None:
    """What one client can change, by brute force over a whole sum with it and without it."""
    met = np.random.default_rng(seed).random((4, items)) < 0.6
    whole = folded(GramSums("ease"), samples_of(met), items)
    for user in range(4):
        rest = met.copy()
        rest[user] = False
        change = whole - folded(GramSums("ease"), samples_of(rest), items)
        number = int(met[user].sum())
        assert np.square(change).sum() == number * (number + 1) / 2


def test_a_merchant_adds_the_matrices_of_its_users() -> None:
    met = np.random.default_rng(3).random((7, 6)) < 0.5
    owner = np.array([0, 0, 0, 1, 1, 2, 2])
    told = GramSums("ease").contribute(nothing(6), NOBODY, samples_of(met, owner))
    for client in range(3):
        mine = told.index.client == client
        total = np.zeros((6, 4))
        total[told.index.ids[mine]] = told.rows["item"][mine]
        x = met[owner == client].astype(float)
        np.testing.assert_array_equal(gram_of(total), x.T @ x)


def test_an_item_met_twice_counts_once() -> None:
    samples = samples_of(np.array([[1, 0, 1]]))
    twice = Samples(
        np.repeat(samples.client, 2),
        {"item": np.repeat(samples.fields["item"], 2)},
        *(np.repeat(v, 2) for v in (samples.label, samples.weight, samples.order)),
        1,
    )
    sums = GramSums("ease")
    np.testing.assert_array_equal(folded(sums, twice, 3), folded(sums, samples, 3))


def test_sparse_and_written_out_rows_sum_alike() -> None:
    met = np.random.default_rng(0).random((9, 8)) < 0.5
    sums = GramSums("ease")
    told = sums.contribute(nothing(8), NOBODY, samples_of(met))
    assert isinstance(told.rows, SparseChanges)
    none, like = np.zeros(9), sums.zeros(nothing(8))

    def total(rows: object) -> NDArray:
        index = {"item": told.index}
        ones = np.ones(9)
        update = CohortUpdate(rows, index, {}, NOBODY, ones, none, (0, {}))  # type: ignore[arg-type]
        return partial_sum([update, update], like, 0.0).tables["item"].dense(8)

    np.testing.assert_array_equal(total(told.rows), total({"item": told.rows["item"]}))


NEAR = {"baseline__ease_window": 3.0, "baseline__ease_decay": 2.0}


@pytest.mark.parametrize(
    ("method", "keys"),
    [("ease", {}), ("item-knn", {}), ("ease", NEAR), ("ease", {"baseline__ease_decay": 2.0})],
)
def test_federated_scores_are_the_centralised_ones(method: str, keys: dict) -> None:
    population = random_population((1, 12, 7, 3, 9, 0, 4), 30)
    setup = setup_of(population, **KEYS, **keys, train__method=method, baseline__ease_l2=2.0)
    statistics, clients = setup.method.statistics, np.arange(7)
    assert statistics is not None
    start = setup.model.init_shared(population.split.dataset.items, 0)
    total, _ = train_node(setup, start, NOBODY, clients, 1)
    sums = Shared({"item": total.tables["item"].dense(30)})
    solved = statistics.solve(start, sums)
    ours = make_scorer(setup.model, solved, NOBODY, clients, population)(clients)
    shape = (7, 30)
    train = sp.csr_matrix((population.labels, population.items, population.indptr), shape)
    twin = np.asarray(fit_baseline(method, train, setup.config, 0)(clients))
    assert np.abs(twin).max() > 0.05
    assert np.abs(ours - twin).max() <= 1e-6 * np.abs(twin).max()


@given(st.integers(2, 20), st.integers(0, 2**32 - 1))
def test_what_is_solved_is_the_centralised_model(items: int, seed: int) -> None:
    met = (np.random.default_rng(seed).random((15, items)) < 0.4).astype(np.float32)
    total = Shared({"item": folded(GramSums("ease"), samples_of(met), items)})
    weights = GramSums("ease", l2=2.0).solve(nothing(items), total).tables["item"]
    np.testing.assert_array_equal(weights, ease_weights(met.T.astype(float) @ met, 2.0))
    alike = similarity(sp.csr_matrix(met.T), 3, 1.0, centred=False)
    table = GramSums("item-knn", k=3, shrink=1.0).solve(nothing(items), total).tables["item"]
    dense = np.zeros((items, items), np.float32)
    np.add.at(dense, (np.arange(items)[:, None], table[:, :3].astype(int)), table[:, 3:])
    np.testing.assert_array_equal(dense, alike.toarray())


def test_similar_items_do_not_depend_on_the_block(monkeypatch: pytest.MonkeyPatch) -> None:
    x = (np.random.default_rng(0).random((30, 17)) < 0.4).astype(float)
    whole = similar_items(x.T @ x, 5, 1.0)
    monkeypatch.setattr("fedrec.training.neighbours._BLOCK_BYTES", 8 * 17 * 3)
    assert (similar_items(x.T @ x, 5, 1.0) != whole).nnz == 0


def test_ease_does_not_depend_on_its_step(monkeypatch: pytest.MonkeyPatch) -> None:
    x = (np.random.default_rng(0).random((30, 17)) < 0.4).astype(float)
    whole = ease_weights(x.T @ x, 2.0)
    monkeypatch.setattr("fedrec.training.ease._STEP", 5)
    np.testing.assert_array_equal(ease_weights(x.T @ x, 2.0), whole)


def test_the_nearest_positive_matrix_by_hand() -> None:
    """[[0, 2], [2, 0]] has eigenvalues 2 and -2; without the second it is [[1, 1], [1, 1]]."""
    np.testing.assert_allclose(
        nearest_positive(np.array([[0.0, 2.0], [2.0, 0.0]])), np.ones((2, 2))
    )


def test_noise_does_not_stop_the_solution() -> None:
    generator = np.random.default_rng(0)
    noisy = Shared({"item": generator.normal(scale=50.0, size=(20, 11))})
    weights = GramSums("ease", l2=1.0, noisy=True).solve(nothing(20), noisy).tables["item"]
    assert np.isfinite(weights).all()


def test_a_private_contribution_keeps_within_the_clip_norm() -> None:
    population = random_population((2, 20, 7), 40)
    keys = {"privacy__mechanism": "central", "privacy__clip": 6.0}
    setup = setup_of(population, **KEYS, **keys, train__method="ease")
    clients = np.arange(3)
    start = setup.model.init_shared(population.split.dataset.items, 0)
    samples = block_samples(setup, clients, 1)
    update, _ = train_block(setup, start, NOBODY, clients, 1, samples=samples)
    policy = build_policy(setup.config, 3)
    bounded = policy.on_update(update, clients, policy.at(1))
    squares = np.square(bounded.rows["item"], dtype=np.float64).sum(1)
    norms = np.sqrt(np.bincount(bounded.index["item"].client, squares))
    # sqrt(n (n + 1) / 2) for 2 and 7 items is 1.73 and 5.29, for 20 it is 14.5
    assert norms == pytest.approx([np.sqrt(3), 6.0, np.sqrt(28)], rel=1e-5)
    assert norms.max() <= 6.0


def test_the_twin_reads_its_keys_from_the_same_place() -> None:
    config = Config().with_({"model.name": "item-item", "train.method": "item-knn",
                             "train.rounds": 1, "baseline.knn_k": 7, "baseline.knn_shrink": 3.0})  # fmt: skip
    setup = setup_of(random_population((3, 4), 9), **KEYS, train__method="item-knn",
                     baseline__knn_k=7, baseline__knn_shrink=3.0)  # fmt: skip
    assert setup.method.statistics == GramSums("item-knn", 1, config.baseline.ease_l2, 7, 3.0)
