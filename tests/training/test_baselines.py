"""Baselines: by hand, against definitions, and what they must not look at."""

import builtins
from collections.abc import Callable

import numpy as np
import pytest
import scipy.sparse as sp

from fedrec.config import Config
from fedrec.errors import ConfigError, MissingExtraError
from fedrec.training.baselines import BASELINES, fit_baseline
from fedrec.training.ease import ease_weights, gram_matrix
from fedrec.training.neighbours import similarity


def _taste(num_users: int = 60, num_items: int = 40, seed: int = 0) -> sp.csr_matrix:
    """Two groups of users, each with its half of the items."""
    rng = np.random.default_rng(seed)
    group = np.arange(num_users)[:, None] % 2
    chance = np.where(np.arange(num_items) % 2 == group, 0.4, 0.03)
    return sp.csr_matrix((rng.random(chance.shape) < chance).astype(np.float32))


def _fit(name: str, train: sp.csr_matrix, seed: int = 0, **options) -> np.ndarray:
    config = Config().with_({f"baseline.{key}": value for key, value in options.items()})
    return fit_baseline(name, train, config, seed)(np.arange(train.shape[0]))


@pytest.mark.parametrize("name", list(BASELINES))
def test_scores_are_a_finite_matrix_and_do_not_depend_on_the_block(name: str) -> None:
    train = _taste()
    score = fit_baseline(name, train, Config(), 0)
    whole = np.asarray(score(np.arange(60)))
    assert whole.shape == (60, 40)
    assert whole.dtype == np.float32
    assert np.isfinite(whole).all()
    some = np.array([7, 3, 59])
    np.testing.assert_allclose(score(some), whole[some], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", list(BASELINES))
def test_ratings_and_duplicates_do_not_change_a_ranking_baseline(name: str) -> None:
    train = _taste()
    rated = train.copy()
    rated.data = np.random.default_rng(1).integers(1, 6, len(rated.data)).astype(np.float32)
    np.testing.assert_array_equal(_fit(name, rated), _fit(name, train))
    user, item = train.nonzero()
    twice = sp.csr_matrix(
        (np.ones(2 * len(user)), (np.tile(user, 2), np.tile(item, 2))), shape=train.shape
    )
    np.testing.assert_array_equal(_fit(name, twice), _fit(name, train))


@pytest.mark.parametrize("name", [n for n in BASELINES if n not in ("random", "popularity")])
def test_personal_baselines_find_the_users_taste(name: str) -> None:
    train = _taste()
    scores = np.where(train.toarray() > 0, -np.inf, _fit(name, train, ials_dim=4, ials_l2=1.0))
    best = scores.argmax(axis=1)
    assert np.mean(best % 2 == np.arange(60) % 2) > 0.9


def test_popularity_counts_training_users() -> None:
    train = sp.csr_matrix(np.array([[1, 0, 1], [1, 0, 0]], np.float32))
    assert _fit("popularity", train).tolist() == [[2, 0, 1], [2, 0, 1]]


def test_random_is_addressed_by_seed_and_user() -> None:
    train = _taste()
    first = _fit("random", train)
    np.testing.assert_array_equal(first, _fit("random", train))
    assert not np.array_equal(first, _fit("random", train, seed=1))
    assert abs(first.mean() - 0.5) < 0.03


def test_ease_by_hand() -> None:
    """With two items, B_01 minimises |x_0 - x_1 b|^2 + l2 b^2 for itself alone."""
    train = sp.csr_matrix(np.array([[1, 1], [1, 0], [0, 1], [1, 1]], np.float32))
    weights = ease_weights(gram_matrix(train), 2.0)
    np.testing.assert_allclose(weights, [[0, 2 / 5], [2 / 5, 0]], rtol=1e-6)


def test_ease_solves_its_own_ridge_regressions() -> None:
    train = _taste()
    gram, l2 = gram_matrix(train), 3.0
    weights = ease_weights(gram, l2)
    assert np.abs(np.diag(weights)).max() == 0
    for item in (0, 17):  # regress the item on all others
        others = np.delete(np.arange(40), item)
        inner = gram[np.ix_(others, others)] + l2 * np.eye(39)
        expected = np.linalg.solve(inner, gram[others, item])
        np.testing.assert_allclose(weights[others, item], expected, atol=1e-6)


def test_ease_needs_only_a_sum_over_users() -> None:
    train = _taste()
    parts = gram_matrix(train[:20]) + gram_matrix(train[20:])
    np.testing.assert_array_equal(parts, gram_matrix(train))


def test_ease_refuses_a_catalogue_that_does_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fedrec.training.ease._MAX_ITEMS", 3)
    with pytest.raises(ConfigError, match="dense matrix of all 4 items"):
        ease_weights(np.eye(4), 1.0)


def test_ease_refuses_a_matrix_that_is_not_positive() -> None:
    with pytest.raises(ConfigError, match=r"singular with baseline\.ease_l2 = 1"):
        ease_weights(-5.0 * np.eye(4), 1.0)


def test_similarities_by_hand() -> None:
    rows = sp.csr_matrix(np.array([[1, 1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 1]], np.float32))
    found = similarity(rows, 2, 0.0, centred=False).toarray()
    half = 1 / np.sqrt(2)
    np.testing.assert_allclose(found, [[0, half, 0], [half, 0, 0], [0, 0, 0]], rtol=1e-6)
    shrunk = similarity(rows, 2, 1.0, centred=False).toarray()
    assert shrunk[0, 1] == pytest.approx(1 / (np.sqrt(2) + 1))


def test_centred_similarity_is_pearsons_correlation() -> None:
    train = _taste()
    found = similarity(train, 60, 0.0, centred=True).toarray()
    expected = np.corrcoef(train.toarray())
    np.fill_diagonal(expected, 0.0)
    np.testing.assert_allclose(found, np.maximum(expected, 0.0), atol=1e-6)


def test_neighbours_are_the_k_best_whatever_the_block(monkeypatch: pytest.MonkeyPatch) -> None:
    train = _taste()
    whole = similarity(train, 60, 1.0, centred=False).toarray()
    monkeypatch.setattr("fedrec.training.neighbours._BLOCK_BYTES", 8 * 60 * 7)
    some = similarity(train, 5, 1.0, centred=False).toarray()
    for row, best in zip(whole, some, strict=True):
        assert (best > 0).sum() <= 5
        np.testing.assert_allclose(np.sort(best)[-5:], np.sort(row)[-5:])


def test_rows_without_entries_have_no_neighbours() -> None:
    rows = sp.csr_matrix(np.array([[0, 0], [1, 1], [1, 1]], np.float32))
    for centred in (False, True):
        found = similarity(rows, 2, 0.0, centred=centred).toarray()
        assert np.isfinite(found).all()
        assert not found[0].any()


def test_knn_scores_by_hand() -> None:
    train = sp.csr_matrix(np.array([[1, 1, 0], [1, 0, 1], [0, 1, 0]], np.float32))
    items = similarity(train.T.tocsr(), 2, 0.0, centred=False).toarray()
    scores = _fit("item-knn", train, knn_k=2, knn_shrink=0.0)
    np.testing.assert_allclose(scores, train.toarray() @ items.T, rtol=1e-6)
    users = similarity(train, 1, 0.0, centred=False).toarray()
    scores = _fit("user-knn-cosine", train, user_knn_k=1, user_knn_shrink=0.0)
    np.testing.assert_allclose(scores, users @ train.toarray(), rtol=1e-6)


def test_ials_minimises_the_objective_of_hu_et_al() -> None:
    """Ridge solutions: each user vector solves its normal equations with confidence 1 + alpha."""
    train, alpha, l2 = _taste(), 2.0, 3.0
    scores = _fit("ials", train, ials_dim=4, ials_alpha=alpha, ials_l2=l2, ials_epochs=60)
    left, singular, right = np.linalg.svd(scores)
    assert singular[4] < 1e-4 * singular[0]
    confidence = 1 + alpha * train.toarray()

    def objective(p: np.ndarray, q: np.ndarray) -> float:
        error = confidence * (train.toarray() - p @ q.T) ** 2
        return float(error.sum() + l2 * ((p**2).sum() + (q**2).sum()))

    root = np.sqrt(singular[:4])
    p, q = left[:, :4] * root, right[:4].T * root
    for _ in range(100):
        for rows, cols, conf, like in (
            (p, q, confidence, train.toarray()),
            (q, p, confidence.T, train.toarray().T),
        ):
            for i in range(len(rows)):
                weighted = cols * conf[i][:, None]
                rows[i] = np.linalg.solve(cols.T @ weighted + l2 * np.eye(4), weighted.T @ like[i])
    reached = objective(left[:, :4] * root, right[:4].T * root)
    assert reached < 1.02 * objective(p, q)


def test_ials_is_reproducible() -> None:
    train = _taste()
    np.testing.assert_array_equal(_fit("ials", train), _fit("ials", train))
    assert not np.array_equal(_fit("ials", train), _fit("ials", train, seed=1))


def test_ials_without_its_package_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    original: Callable = builtins.__import__

    def refuse(name: str, *args, **kwargs):
        if name.startswith("implicit"):
            raise ImportError(name)
        return original(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(MissingExtraError, match=r"fedrec\[baselines\]"):
        fit_baseline("ials", _taste(), Config(), 0)


def test_an_unknown_baseline_is_refused() -> None:
    with pytest.raises(ConfigError, match="unknown baseline 'eaze'. Did you mean 'ease'"):
        fit_baseline("eaze", _taste(), Config(), 0)
