"""Baselines that predict ratings."""

import numpy as np
import pytest
import scipy.sparse as sp

from fedrec.config import Config
from fedrec.errors import ConfigError
from fedrec.training.baselines import fit_baseline
from fedrec.training.rating_baselines import RATING_BASELINES, biases

EXPLICIT = Config().with_({"data.feedback": "explicit", "model.loss": "squared"})


def _ratings(num_users: int = 50, num_items: int = 30) -> tuple[sp.csr_matrix, np.ndarray]:
    """Half of the ratings of two groups of users who like opposite halves of the items."""
    rng = np.random.default_rng(0)
    agree = (np.arange(num_users)[:, None] % 2) == (np.arange(num_items) % 2)
    full = np.where(agree, 4.5, 1.5) + 0.2 * rng.standard_normal(agree.shape)
    known = rng.random(full.shape) < 0.5
    user, item = np.nonzero(known)
    return sp.csr_matrix((full[known], (user, item)), shape=full.shape), full


def test_biases_by_hand() -> None:
    ratings = sp.csr_matrix((np.array([5.0, 3.0, 1.0]), ([0, 1, 1], [0, 0, 1])), shape=(3, 2))
    mean, of_user, of_item = biases(ratings)
    assert mean == 3.0
    np.testing.assert_allclose(of_item, [2 / 27, -2 / 26])
    expected = [(2 - 2 / 27) / 11, (0 - 2 / 27 - 2 + 2 / 26) / 12, 0.0]
    np.testing.assert_allclose(of_user, expected)


def test_no_ratings_predict_zero() -> None:
    assert biases(sp.csr_matrix((2, 3)))[0] == 0.0


@pytest.mark.parametrize("name", list(RATING_BASELINES))
def test_predictions_are_finite_and_do_not_depend_on_the_block(name: str) -> None:
    ratings, _ = _ratings()
    score = fit_baseline(name, ratings, EXPLICIT, 0)
    whole = score(np.arange(50))
    assert whole.shape == (50, 30)
    assert whole.dtype == np.float32
    assert np.isfinite(whole).all()
    np.testing.assert_allclose(score(np.array([4, 1])), whole[[4, 1]], rtol=1e-5)


@pytest.mark.parametrize("name", [n for n in RATING_BASELINES if n != "bias"])
def test_neighbours_beat_the_biases_on_ratings_they_did_not_see(name: str) -> None:
    ratings, full = _ratings()
    unseen = ratings.toarray() == 0

    def rmse(which: str) -> float:
        config = EXPLICIT.with_({"baseline.rating_knn_k": 15})
        predicted = fit_baseline(which, ratings, config, 0)(np.arange(50))
        return float(np.sqrt(np.mean((predicted - full)[unseen] ** 2)))

    assert rmse("bias") > 1.3
    assert rmse(name) < 0.7 * rmse("bias")


def test_a_user_without_ratings_gets_the_biases() -> None:
    ratings, _ = _ratings()
    empty = sp.vstack([ratings, sp.csr_matrix((1, 30))], format="csr")
    base = fit_baseline("bias", empty, EXPLICIT, 0)(np.array([50]))
    for name in RATING_BASELINES:
        found = fit_baseline(name, empty, EXPLICIT, 0)(np.array([50]))
        np.testing.assert_allclose(found, base, rtol=1e-6)


def test_baselines_that_only_rank_are_refused() -> None:
    with pytest.raises(ConfigError, match="'ease' ranks and predicts no ratings.*item-knn"):
        fit_baseline("ease", _ratings()[0], EXPLICIT, 0)
    with pytest.raises(ConfigError, match="unknown baseline 'baes'. Did you mean 'bias'"):
        fit_baseline("baes", _ratings()[0], EXPLICIT, 0)
